"""The names of unknown fields that arrive: counted by a job, a page of events at a time, and never on a bot's way."""

from odoo import api, fields, models
from odoo.tools import SQL

from bridge.contract.event import from_envelope
from bridge.contract.names import MANYCHAT

from ..apply.custom_fields import CustomFields
from ..apply.unknown_fields import flat, key_of
from .manychat_field_map import UsedField, shown

#: Events that one look takes: some hundredths of a second.
PAGE = 1000
#: Events that the first look on a database in use goes back.
FIRST_LOOK = 20_000
#: Most suggestions: a bot may put a new name into each request.
MOST_NAMES = 1000
#: Events among which the dialog looks for examples, and most examples.
EXAMPLES_FROM, MOST_EXAMPLES = 500, 5
#: What *Full Contact Data* always has and salespeople rarely need. It is in the list as ignored.
USEFUL = frozenset(
    ("email", "phone", "gender", "locale", "language", "timezone", "tags", "last_growth_tool", "ig_username")
)
#: How people come, as bots and advertising call it: name, field of the opportunity. The order is that of precedence.
#: https://support.google.com/analytics/answer/1033863 (utm_*); ref: ManyChat's ref URLs; referral.source_id: the ad in
#: WhatsApp's own messages, https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components
ATTRIBUTION = (
    ("utm_source", "source_id"),
    ("utm_medium", "medium_id"),
    ("last_growth_tool", "medium_id"),
    ("utm_campaign", "campaign_id"),
    ("ref", "campaign_id"),
    ("ad_id", "campaign_id"),
    ("fb_ad_id", "campaign_id"),
    ("referral.source_id", "campaign_id"),
)


class ManychatFieldMap(models.Model):
    _inherit = "manychat.field.map"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _make_attribution(self):
        """Make the rows that fill Odoo's UTM fields; the installation and the upgrade call it."""
        known = set(self.search([("name", "!=", False)]).mapped("key"))
        self.create(
            [
                {
                    "name": name,
                    "field_name": field_name,
                    "state": "used",
                    "sequence": 10 * (position + 1),
                    "keep_first": True,
                    "create_missing": True,
                }
                for position, (name, field_name) in enumerate(ATTRIBUTION)
                if key_of(name) not in known
            ]
        )

    @api.model
    def _collect(self):
        """Count the unknown fields of the next page of events.

        :return bool: whether there may be more
        """
        self.env.cr.execute("SELECT pg_try_advisory_xact_lock(hashtext('manychat_field_map'))")
        if not self.env.cr.fetchone()[0]:
            return False  # the job, or another manager, is looking at this moment
        events = self._events_after(self._looked_to(), PAGE)
        found = {}
        for event_id, extra, received_at in events:
            for key, (name, _value) in flat(extra).items():
                count = found[key][1] if key in found else 0
                found[key] = (name, count + 1, received_at, event_id)
        rows = {row.key: row for row in self.search([("key", "in", list(found))])}
        for key, (_name, count, received_at, event_id) in found.items():
            if row := rows.get(key):
                row.write({"seen_count": row.seen_count + count, "seen_at": received_at, "example_event": event_id})
        self.create(
            [
                {
                    "name": name,
                    "state": "ignored" if key in MANYCHAT - USEFUL else "new",
                    "seen_count": count,
                    "seen_at": received_at,
                    "example_event": event_id,
                }
                for key, (name, count, received_at, event_id) in self._new_names(found, rows)
            ]
        )
        if events:
            self.env["manychat.field.look"]._look_to(events[-1][0])
        return len(events) == PAGE

    def _new_names(self, found, rows):
        """Those of ``found`` that have no row yet, as far as there is room for suggestions."""
        new = [(key, each) for key, each in found.items() if key not in rows]
        return new[: max(0, MOST_NAMES - self.search_count([("state", "=", "new")]))] if new else []

    def _looked_to(self):
        """The id of the last event that was looked at."""
        last = self.env["manychat.field.look"].search([], limit=1).looked_to
        if not last:
            self.env.cr.execute(
                "SELECT id FROM manychat_event WHERE extra IS NOT NULL AND type = 'opportunity' "
                "ORDER BY id DESC OFFSET %s LIMIT 1",
                [FIRST_LOOK],
            )
            last = (self.env.cr.fetchone() or [0])[0]
        return last

    def _events_after(self, event_id, size, newest_first=False):
        """The next events with unknown fields: list of (id, unknown fields, received at)."""
        self.env["manychat.event"].flush_model(["extra", "type", "received_at"])
        return self.env.execute_query(
            SQL(
                "SELECT id, extra, received_at FROM manychat_event "
                "WHERE extra IS NOT NULL AND type = 'opportunity' AND id > %s ORDER BY %s LIMIT %s",
                event_id,
                SQL("id DESC" if newest_first else "id"),
                size,
            )
        )

    def _preview(self):
        """Lines with the last values that arrived, and what they would become or why not."""
        self.ensure_one()
        sample, lines, seen = [], [], set()
        for event_id, extra, _received_at in self._events_after(0, EXAMPLES_FROM, newest_first=True):
            value = flat(extra).get(self.key, (None, None))[1]
            if value is not None and shown(value) not in seen and len(seen) < MOST_EXAMPLES:
                seen.add(shown(value))
                sample.append((event_id, value))
        for event_id, value in sample:
            event = self.env["manychat.event"].sudo().browse(event_id)
            lines.append(f"{shown(value)} → {self._previewed(event)}")
        return "\n".join(lines) or False

    def _previewed(self, row):
        event = from_envelope(row._envelope())
        # Nothing may be created for a preview.
        field_map = UsedField(0, self.name, self.key, self.field_name, False, False)
        converted = CustomFields(self.env(su=True), [event], {event.id: row}, [field_map])
        value = converted.said(event, self.env["crm.lead"].sudo()).get(self.field_name)
        if value is not None:
            return self._value_text(value[0])
        reasons = [each["reason"] for each in converted.warnings.get(event.id, ())]
        if reasons == ["not_found"] and self.create_missing:
            return self.env._("will be created")
        return ", ".join(self.env["manychat.event"]._field_reasons().get(reason, reason) for reason in reasons)

    def _value_text(self, value):
        field = self.env["crm.lead"]._fields[self.field_name]
        if field.type in ("many2one", "many2many"):
            return ", ".join(self.env[field.comodel_name].sudo().browse(value).mapped("display_name"))
        if field.type == "boolean":
            return self.env._("yes") if value else self.env._("no")
        if field.type == "selection":
            return dict(field._description_selection(self.env)).get(value, value)
        if field.type == "datetime":
            return fields.Datetime.to_string(fields.Datetime.context_timestamp(self, value))
        return shown(str(value))

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_fields(self):
        """Count the unknown fields that arrived, and fill opportunities from kept events, page by page."""
        while self._collect():
            self.env.cr.commit()  # pylint: disable=invalid-commit
        self.env.cr.commit()  # pylint: disable=invalid-commit
        self._fill_some()
