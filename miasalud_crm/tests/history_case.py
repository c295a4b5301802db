"""What a batch of events leaves behind, written in Odoo's own way and together: for tests that compare the two."""

import re
from contextlib import ExitStack, suppress
from unittest.mock import patch

from freezegun import freeze_time

from odoo.tests import new_test_user

from ..apply import history, history_overrides
from .common import ManychatCase, at

#: Tables whose rows are no part of a lead or a message, and what in them tells two runs apart.
KEYS = {"id", "message_id", "res_id", "parent_id", "lead_id", "mail_message_id", "mail_mail_id"}

#: Columns whose text holds ids.
WITH_IDS = {"body", "body_html", "headers", "references"}


class _Undo(Exception):
    pass


class HistoryCase(ManychatCase):
    """Cases are methods that apply events; :meth:`assert_same` runs each in both ways from the same state."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        salesperson = "sales_team.group_sale_salesman_all_leads"
        cls.inbox = new_test_user(cls.env, "hist-bandeja", salesperson, notification_type="inbox")
        cls.mailed = new_test_user(cls.env, "hist-correo", salesperson, email="correo@ejemplo.test")
        cls.seller = new_test_user(cls.env, "hist-vende", salesperson, notification_type="inbox")
        cls.portal = new_test_user(cls.env, "hist-portal", "base.group_portal", email="portal@ejemplo.test")
        cls.partner = cls.env["res.partner"].create({"name": "Cliente", "email": "cliente@ejemplo.test"})
        cls.env["manychat.advisor"].create(
            [{"external_id": 700, "user_id": cls.seller.id}, {"external_id": 701}, {"external_id": 702}]
        ).filtered(lambda advisor: advisor.external_id == "702").user_id = cls.mailed
        cls.team = cls.env["crm.team"].create({"name": "Equipo de la historia"})
        cls.env.flush_all()

    # --- Both ways

    def assert_same(self, case, *, together=True):
        """Check that ``case`` leaves the same behind in both ways.

        :param bool together: whether the messages are written together when nobody asks for Odoo's own way
        """
        own, counted = self._run(case, own_way=True)
        self.assertEqual(counted, 0)
        ours, counted = self._run(case, own_way=False)
        self.assertEqual(bool(counted), together)
        self.assertEqual(own.keys(), ours.keys())
        for part, left in own.items():
            self.assertEqual(ours[part], left, part)
        return ours

    def _run(self, case, *, own_way):
        written = []
        asked = history.parent_ids

        def parent_ids(leads):
            written.append(leads)
            return asked(leads)

        self.env.flush_all()
        self.env.cr.precommit.run()
        before = {table: self._newest(table) for table in ("mail_message", "bus_bus")}
        left = {}
        ways = [patch.object(history, "parent_ids", parent_ids)]
        if own_way:
            ways.append(patch.object(history_overrides, "overrides", lambda env: ["test"]))
        with ExitStack() as stack:
            for way in ways:
                stack.enter_context(way)
            stack.enter_context(suppress(_Undo))
            stack.enter_context(self.env.cr.savepoint())
            stack.enter_context(freeze_time(at(5).replace(tzinfo=None)))
            left["results"] = [_without_numbers(each) for each in case()]
            self.env.flush_all()
            self.env.cr.precommit.run()
            left |= self._left(before)
            raise _Undo
        self.env.invalidate_all()
        return left, len(written)

    def _newest(self, table):
        self.env.cr.execute(f"SELECT COALESCE(max(id), 0) FROM {table}")  # pylint: disable=sql-injection
        return self.env.cr.fetchone()[0]

    # --- What is left

    def _left(self, before):
        leads = {row["id"]: row for row in self._rows("crm_lead", "x_manychat_id LIKE 'MC-%%'", "id")}
        names = {row["id"]: row["x_manychat_id"] for row in leads.values()}
        messages = self._rows("mail_message", "id > %s", "id", before["mail_message"])
        labels, counts = {}, {}
        for row in messages:
            name = names.get(row["res_id"], row["model"])
            counts[name] = counts.get(name, 0) + 1
            labels[row["id"]] = f"{name} / {counts[name]}"
        left = {"message ids": len({row["message_id"] for row in messages}) == len(messages)}
        for lead_id, name in names.items():
            left[name] = self._values(leads[lead_id])
            for table, where in (
                ("mail_activity", "res_model = 'crm.lead' AND res_id = %s"),
                ("manychat_stage_history", "lead_id = %s"),
                ("manychat_event", "lead_id = %s"),
            ):
                left[f"{name} / {table}"] = [self._values(row) for row in self._rows(table, where, "id", lead_id)]
            left[f"{name} / followers"] = self._followers(lead_id)
            left[f"{name} / seen"] = self._seen(self.env["crm.lead"].browse(lead_id))
        for row in messages:
            left[labels[row["id"]]] = self._values(row) | {
                "form": re.sub(r"<[\d.]+", "<0", row["message_id"].replace(f"-{row['res_id']}-", "-ID-")),
                "parent": labels.get(row["parent_id"], row["parent_id"] and "earlier"),
            }
            left[f"{labels[row['id']]} / with"] = self._with(row["id"])
        bus = self._rows("bus_bus", "id > %s", "id", before["bus_bus"])
        left["bus"] = sorted(f"{self._text(row['channel'])} {self._text(row['message'])}" for row in bus)
        return left

    def _with(self, message_id):
        """The rows that belong to a message."""
        found = {}
        for table, where in (
            ("mail_tracking_value", "mail_message_id = %s"),
            ("mail_notification", "mail_message_id = %s"),
            ("mail_mail", "mail_message_id = %s"),
            ("mail_message_res_partner_rel", "mail_message_id = %s"),
            ("mail_message_schedule", "mail_message_id = %s"),
            ("message_attachment_rel", "message_id = %s"),
        ):
            rows = [self._values(row) for row in self._rows(table, where, "1", message_id)]
            found[table] = rows if table == "mail_tracking_value" else sorted(rows, key=str)
        self.env.cr.execute(
            "SELECT res_partner_id FROM mail_mail_res_partner_rel JOIN mail_mail ON mail_mail.id = mail_mail_id "
            "WHERE mail_message_id = %s ORDER BY 1",
            [message_id],
        )
        return found | {"mailed": self.env.cr.fetchall()}

    def _followers(self, lead_id):
        self.env.cr.execute(
            """
            SELECT partner_id, array_agg(mail_message_subtype_id ORDER BY mail_message_subtype_id)
              FROM mail_followers
              LEFT JOIN mail_followers_mail_message_subtype_rel ON mail_followers_id = mail_followers.id
             WHERE res_model = 'crm.lead' AND res_id = %s
             GROUP BY partner_id
             ORDER BY partner_id
            """,
            [lead_id],
        )
        return self.env.cr.fetchall()

    def _seen(self, lead):
        names = ("message_needaction", "message_needaction_counter", "message_has_error", "message_is_follower")
        names += ("activity_state", "won_status")
        return [
            {name: lead.with_user(user)[name] for name in names if name in lead}
            | {"messages": len(lead.with_user(user).message_ids)}
            for user in (self.inbox, self.mailed, self.seller)
            if lead.with_user(user).has_access("read")
        ]

    def _rows(self, table, where, order, *parameters):
        self.env.cr.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", parameters)  # pylint: disable=sql-injection
        return self.env.cr.dictfetchall()

    def _values(self, row):
        return {
            name: self._text(value) if isinstance(value, str) and name in WITH_IDS else value
            for name, value in row.items()
            if name not in KEYS
        }

    def _text(self, text):
        """``text`` without ids, and without what is signed with them."""
        return re.sub(r"[\d.]*\d", "0", re.sub(r"\b[0-9a-f]{20,}\b", "signed", text))


def _without_numbers(result):
    """A result without the number of the opportunity, and the moment of its state."""
    state = result.get("state") and {**result["state"], "lead_id": True, "as_of": True}
    return {**result, "lead_id": bool(result["lead_id"]), "state": state}
