"""What the installation does besides creating tables: users without a login, stages, ids of an earlier field, demo."""

import logging
from collections import defaultdict

from odoo import fields
from odoo.tools import SQL

from bridge.contract.fields import normalize_label

from . import earlier_field, private_sql
from .apply import known_people
from .models.crm_lead_past import SINCE_PARAMETER
from .pipeline_order import make_room

_logger = logging.getLogger(__name__)

#: The customer's own table: ManyChat stage, its number there, and its pipeline stage, in order.
STAGES = [
    ("Recién Suscrito (Sin Asignar)", 16, "Recién Suscrito Sin Asignar"),
    ("Recién suscrito Pendiente de AC", 17, "Recién Suscrito Pendiente AC"),
    ("Retornó en AC", 18, "Retornó en AC"),
    ("Comienza Atención Comercial", 19, "Comienza AC"),
    ("Retornó a Asesoría especializada", 20, "Retorno a AE"),
    ("Derivado Asesoría Médica", 21, "Derivado a AE"),
    ("Comienza Asesoría Médica", 22, "Comienza AE"),
    ("Terminó Asesoría Médica", 23, "Terminó AE"),
    ("No terminó Asesoría especializada", 24, "No Termino AE Derivado AC"),
    ("Comienza Cotización", 25, "Comienza Cotización"),
    ("Orden de venta Confirmada", 26, "Orden de Venta Confirmada"),
]
WON_STAGE = 26


def post_init_hook(env):
    create_users(env)
    map_stages(env)
    env["manychat.field.map"]._make_attribution()
    adopt_manychat_ids(env)
    load_demo(env)


def pre_init_hook(env):
    earlier_field.take_over(env)


def uninstall_hook(env):
    earlier_field.give_back(env)
    known_people.drop_index(env.cr)
    # Odoo deletes no activity type that activities still have.
    env["manychat.waiting"]._delete_activities()
    # Another installation records decisions from its own beginning on.
    env["ir.config_parameter"].search([("key", "=", SINCE_PARAMETER)]).unlink()
    private_sql.drop_functions(env.cr)


def create_users(env):
    """Create two technical users: no password, no user type, one group each.

    Not in a data file, because the field for a user's groups has another name in Odoo 19.
    """
    groups_field = "group_ids" if "group_ids" in env["res.users"]._fields else "groups_id"
    for name, login, xml_name, group in (
        ("ManyChat", "manychat_bridge", "user_bridge", "group_bridge"),
        ("ManyChat Webhook", "manychat_webhook", "user_webhook", "group_webhook"),
    ):
        values = {
            "name": name,
            "login": login,
            "notification_type": "email",
            groups_field: [fields.Command.set(env.ref(f"miasalud_crm.{group}").ids)],
        }
        record = {"xml_id": f"miasalud_crm.{xml_name}", "values": values, "noupdate": True}
        env["res.users"].with_context(no_reset_password=True)._load_records([record])


def map_stages(env):
    """Map the eleven ManyChat stages to the existing stages of those names, or to new ones.

    New open stages come before the first won stage, and a new won stage comes last. The order of the existing stages
    and the first stage of the pipeline stay the same. New stages have no XML id: with one, Odoo would delete them when
    the app is uninstalled.
    """
    found = _stages_by_name(env)
    named = {number: found.get(normalize_label(name)) for _label, number, name in STAGES}
    adopted = {number: _choose(stages, number) for number, stages in named.items() if stages}
    pipeline = env["crm.stage"].with_context(active_test=False).search([])
    new = [number for _label, number, _name in STAGES if number not in adopted and number != WON_STAGE]
    sequence = make_room(pipeline, len(new), env["crm.stage"].union(*adopted.values())) if new else 0
    for position, (label, number, name) in enumerate(STAGES):
        stage = adopted.get(number)
        if not stage:
            if number == WON_STAGE:
                stages = env["crm.stage"].with_context(active_test=False).search([])
                sequence = max(stages.mapped("sequence"), default=0) + 1
            stage = env["crm.stage"].create({"name": name, "sequence": sequence, "is_won": number == WON_STAGE})
            sequence += 1
        env["manychat.stage.map"].create(
            {"name": label, "manychat_stage_id": number, "stage_id": stage.id, "sequence": 10 * (position + 1)}
        )


def _choose(stages, number):
    """If several stages have the name: the one whose id is the number in the customer's table."""
    return next((stage for stage in stages if stage.id == number), stages[0])


def _stages_by_name(env):
    """Stages by normalised name, in every installed language."""
    found = defaultdict(env["crm.stage"].browse)
    for lang, _name in env["res.lang"].get_installed():
        for stage in env["crm.stage"].with_context(lang=lang).search([]):
            found[normalize_label(stage.name)] |= env["crm.stage"].browse(stage.id)
    return found


def load_demo(env):
    """Create the demo conversations, in a database with demo data.

    Not in a demo file: its ``<function>`` would need a model of our own in every production registry.
    """
    if env["ir.module.module"].search_count([("name", "=", "miasalud_crm"), ("demo", "=", True)]):
        from .demo import conversations

        conversations.load(env)


def adopt_manychat_ids(env):
    """Take over the values of a field ``x_manychat_id`` that the database already has.

    If several records have the same id, one keeps it: an open one before a closed one, an opportunity before a lead, a
    newer one before an older one. Its ``manychat.identity`` lists the others, for a user to merge.
    """
    env.cr.execute(
        SQL(
            """
            SELECT btrim(lead.x_manychat_id), array_agg(lead.id ORDER BY
                       (lead.active AND COALESCE(lead.probability, 0) < 100) DESC,
                       (lead.type = 'opportunity') DESC, lead.create_date DESC, lead.id DESC)
              FROM crm_lead lead
             WHERE btrim(lead.x_manychat_id) != ''
             GROUP BY 1 ORDER BY 1
            """
        )
    )
    found = env.cr.fetchall()
    env["manychat.identity"].create(
        [
            {
                "manychat_id": manychat_id,
                "lead_id": lead_ids[0],
                "duplicate_lead_ids": [fields.Command.set(lead_ids[1:])],
            }
            for manychat_id, lead_ids in found
        ]
    )
    env.flush_all()
    earlier_field.fill(env.cr)  # the others had the same id, which is no longer theirs
    # An opportunity that is not in its first stage was moved by a user, at the time of its last move.
    env.cr.execute(
        SQL(
            """
            UPDATE crm_lead
               SET manychat_last_date = date_last_stage_update,
                   manychat_order = to_char(date_last_stage_update, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|'
                                    || to_char(date_last_stage_update, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|'
             WHERE id IN (SELECT lead_id FROM manychat_identity)
               AND date_last_stage_update > create_date + interval '1 second'
            """
        )
    )
    env["crm.lead"].invalidate_model()
    duplicates = [manychat_id for manychat_id, lead_ids in found if len(lead_ids) > 1]
    _logger.info("Adopted %s ManyChat ids; several opportunities have %s of them.", len(found), len(duplicates))
