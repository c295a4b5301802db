from odoo import models

from .manychat_migration import CREATED, FOLLOWED, TAKEN_OVER, migrating

#: What Odoo itself leaves out: mails about an assignment, and activities that an automation makes.
QUIET = {"mail_auto_subscribe_no_notify": True, "mail_activity_automation_skip": True, "mail_notify_force_send": False}


class CrmLead(models.Model):
    """Events of a migration: the same rules as for any other event, without telling people, and with a way back."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _creation_subtype(self):
        # Without a subtype it is a note in the chatter: no follower is notified.
        return self.env["mail.message.subtype"] if migrating(self.env) else super()._creation_subtype()

    def _track_subtype(self, init_values):
        return self.env["mail.message.subtype"] if migrating(self.env) else super()._track_subtype(init_values)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_create_values(self, *args):
        values = super()._manychat_create_values(*args)
        if migrating(self.env) and "iap_enrich_done" in self._fields:
            # Odoo would look up the customer's company at a service, and post what it finds.
            values["iap_enrich_done"] = True
        return values

    def _manychat_reassigned(self, values, event):
        # What was agreed with salespeople since then counts more than an adviser whom the old system had on file.
        return False if migrating(self.env) else super()._manychat_reassigned(values, event)

    def _manychat_link(self, chosen):
        if token := migrating(self.env):
            token.before |= self.browse(lead.id for _manychat_id, lead, _others in chosen)._manychat_snapshot()
        return super()._manychat_link(chosen)

    def _manychat_apply_round(self, pairs, batch):
        token = migrating(self.env)
        if not token:
            return super()._manychat_apply_round(pairs, batch)
        known = self.browse(batch.leads[event.manychat_id].id for event, _ in pairs if event.manychat_id in batch.leads)
        token.before |= known._manychat_snapshot()
        results = super()._manychat_apply_round(pairs, batch)
        self._manychat_flush()
        after = self.browse(batch.leads[event.manychat_id].id for event, _ in pairs)._manychat_snapshot()
        lines = []
        for event, _stage_map in pairs:
            lead_id, outcome = batch.leads[event.manychat_id].id, results[event.id]["status"]
            made = (
                TAKEN_OVER if event.manychat_id in batch.taken_over else CREATED if outcome == "created" else FOLLOWED
            )
            lines.append(
                {
                    "migration_id": token.migration_id,
                    "manychat_id": event.manychat_id,
                    "event_id": event.id,
                    "lead_id": lead_id,
                    "made": made,
                    "outcome": outcome,
                    "before": {} if made == CREATED else _changed(token.before[lead_id], after[lead_id]),
                    "after": {name: after[lead_id][name] for name in ("write_date", "messages", "followers")},
                }
            )
            batch.rows[event.id].migration_id = token.migration_id
        self.env["manychat.migration.line"].create(lines)
        return results

    def _manychat_snapshot(self):
        """What undoing a change must bring back: dict of lead id → dict.

        The columns under ``columns``, ``write_date`` among them; under ``messages`` the id of the newest message; the
        ids of the ``followers``; and the last ``period`` of the stage history.
        """
        self.env.flush_all()
        self.env.cr.execute(
            """
            SELECT lead.id, to_jsonb(lead),
                   (SELECT COALESCE(max(id), 0) FROM mail_message WHERE model = 'crm.lead' AND res_id = lead.id),
                   (SELECT COALESCE(jsonb_agg(id ORDER BY id), '[]') FROM mail_followers
                     WHERE res_model = 'crm.lead' AND res_id = lead.id),
                   (SELECT to_jsonb(stage_period) FROM manychat_stage_history stage_period
                     WHERE lead_id = lead.id ORDER BY id DESC LIMIT 1)
              FROM crm_lead lead WHERE lead.id = ANY(%s)
            """,
            [self.ids],
        )
        return {
            lead_id: {
                "columns": columns,
                "write_date": columns["write_date"],
                "messages": message_id,
                "followers": followers,
                "period": period,
            }
            for lead_id, columns, message_id, followers, period in self.env.cr.fetchall()
        }


def _changed(before, after):
    """``before`` with those columns only that are different now."""
    columns = {name: value for name, value in before["columns"].items() if after["columns"].get(name) != value}
    return {**before, "columns": columns}
