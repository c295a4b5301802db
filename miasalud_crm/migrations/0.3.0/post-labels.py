"""Labels of stages no longer differ in invisible characters: aliases that look like a stage become that stage."""

from odoo import SUPERUSER_ID, api

from bridge.contract.fields import normalize_label


def migrate(cr, version):
    env = api.Environment(cr, SUPERUSER_ID, {"active_test": False})
    rows = env["manychat.stage.map"].search([])
    for row in rows.filtered(_is_out_of_date):
        # Two rows that look the same are for a user to sort out. Until then both work, by their numbers.
        if not rows.filtered(lambda other, row=row: other.label_key == normalize_label(row.name)):
            row._compute_label_key()
    env.flush_all()
    active = rows.filtered("active")
    for alias in env["manychat.stage.alias"].search([]).filtered(_is_out_of_date):
        key = normalize_label(alias.name or "")
        twin = alias.search([("label_key", "=", key), ("manychat_stage_id", "=", 0)], limit=1)
        if alias.manychat_stage_id or not (twin or key in active.mapped("label_key")):
            alias._compute_label_key()
            continue
        if twin:
            env["manychat.event"].search([("alias_id", "=", alias.id)]).alias_id = twin
        else:
            alias._release_events()
        env.flush_all()
        alias.unlink()
    env.flush_all()


def _is_out_of_date(record):
    return record.label_key != normalize_label(record.name or "")
