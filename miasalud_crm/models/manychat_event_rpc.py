from datetime import timezone

from odoo import api, models
from odoo.exceptions import AccessError

#: Events told of in one answer; somebody reads them on a terminal.
MOST = 50


class ManychatEvent(models.Model):
    _inherit = "manychat.event"

    @api.model
    def story(self, event_id="", manychat_id=""):
        """What the log knows of an event, over RPC, for ``python -m bridge trace``. For the group “ManyChat Bridge”.

        Nothing that the person said and nothing of the opportunity but its number and stage: the bridge's key must open
        no more than it has to.

        :param str event_id: an event's id, or how it begins (hexadecimal)
        :param str manychat_id: instead, all events of this person
        :return list: of dicts, newest first, at most 50; moments as ISO 8601 in UTC or False
        :raises AccessError: the caller is not in that group
        """
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        if event_id:
            # A range and not a pattern, which an index would not serve; “g” comes after all hexadecimal digits.
            domain = [("event_id", ">=", str(event_id)), ("event_id", "<", f"{event_id}g")]
        elif manychat_id:
            domain = [("manychat_id", "=", str(manychat_id))]
        else:
            return []
        events = self.sudo().search(domain, limit=MOST, order="id desc")
        return [event._told() for event in events if event.event_id.startswith(event_id or "")]

    def _told(self):
        lead = self.lead_id.with_context(active_test=False)
        return {
            "event_id": self.event_id,
            "type": self.type,
            "manychat_id": self.manychat_id,
            "source": self.source,
            "state": self.state,
            **{name: _iso(self[name]) for name in ("received_at", "occurred_at", "queued_at", "applied_at")},
            "outcome": self.outcome,
            "code": self.code,
            "stage_before": self.stage_before_id.name or False,
            "stage_after": self.stage_after_id.name or False,
            "lead_id": lead.id,
            "lead_stage": lead.stage_id.name or False,
            "lead_active": lead.active,
        }


def _iso(moment):
    return moment.replace(tzinfo=timezone.utc).isoformat() if moment else False
