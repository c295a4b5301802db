from datetime import datetime, timedelta, timezone
from unittest.mock import patch

import requests

from odoo import fields, sql_db
from odoo.tests import TransactionCase
from odoo.tools import SQL

from bridge.contract.event import accept
from bridge.contract.payloads import EventType
from bridge.contract.webhook import WebhookError

from .. import decisions, private_sql
from ..deliveries import REFUSALS
from ..models.ir_cron import JOBS

#: The day on which the conversations of the tests take place.
DAY = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)

#: Before any test replaces it.
REAL_SEND = requests.Session.send


def at(minutes):
    """A moment, that many minutes into the conversation."""
    return DAY + timedelta(minutes=minutes)


def opportunity(manychat_id="MC-TEST-1", stage=17, minutes=0, *, received=None, key=None, label=None, **fields):
    """The envelope of an opportunity event.

    :param stage: ManyChat stage number; ``None`` if ``label`` is given
    :param minutes: when it happened, see :func:`at`
    :param received: when it was received, in minutes; as it happened by default
    :param fields: further payload fields; ``summary`` goes into ``state``
    """
    state = {"stage_id": stage, "stage": label, "summary": fields.pop("summary", None), "date": at(minutes).isoformat()}
    payload = {"manychat_id": manychat_id, **fields, "state": state}
    received_at = at(minutes if received is None else received)
    event = accept(EventType.OPPORTUNITY, payload, received_at=received_at, source="odoo", idempotency_key=key)
    return event.envelope()


def refuse(env, body, key=None, *, code="invalid", message="It is wrong.", errors=(), event_type=EventType.CONTACT):
    """A refused request with this body, as the webhook keeps it."""
    sent = {"method": event_type.spec.method, "path": event_type.spec.path, "headers": [], "body": body}
    error = WebhookError(400 if code == "not_json" else 422, code, message, errors)
    events = env["manychat.event"]
    before = set(events.search(REFUSALS).ids)
    events._record_refusal(event_type, error, sent, key or env["manychat.api.key"])
    return events.search(REFUSALS).filtered(lambda event: event.id not in before)


def let_jobs_run(env):
    """Have the scheduled actions look as if Odoo ran them, which it does not during tests."""
    for name in JOBS:
        env.ref(name).write({"active": True, "nextcall": fields.Datetime.now()})


def expire(keys):
    """Let webhook keys expire, which takes time outside of tests: no user may choose a date that has passed."""
    keys.env.flush_all()
    keys.env.cr.execute(
        "UPDATE manychat_api_key SET expiration_date = now() AT TIME ZONE 'UTC' - interval '1 second' "
        "WHERE id = ANY(%s)",
        [keys.ids],
    )
    keys.invalidate_recordset()


def menu_paths(env):
    """How people reach each menu, in the language of ``env``: dict of ``ir.ui.menu`` → “CRM ▸ Configuration ▸ …”."""
    found = {}
    for menu in env["ir.ui.menu"].sudo().with_context(**{"ir.ui.menu.full_list": True}).search([]):
        names, each = [], menu
        while each:
            names.insert(0, each.name)
            each = each.parent_id
        found[menu.with_env(env)] = " ▸ ".join(names)
    return found


class Statements(list):
    """The statements that run while it is open, of all threads. What tests add to those of the code is left out."""

    def __enter__(self):
        execute, send = sql_db.Cursor.execute, private_sql._send

        def see_plain(cr, query, params=None, log_exceptions=True):
            self._see(query)
            return execute(cr, query, params, log_exceptions)

        def see_private(cr, query, params):
            self._see(query)
            return send(cr, query, params)

        self._patches = [
            patch.object(sql_db.Cursor, "execute", see_plain),
            patch.object(private_sql, "_send", see_private),
        ]
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_error):
        for each in self._patches:
            each.stop()

    def _see(self, query):
        code = " ".join(str(query.code if isinstance(query, SQL) else query).split())
        if not code.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")):
            self.append(code)


class Unclosed:
    """A test's cursor where the code opens one of its own."""

    def __init__(self, cr):
        self.cr = cr

    def __enter__(self):
        return self.cr

    def __exit__(self, *_error):
        self.cr.flush()


class QueueCase:
    """Mixed into tests that use the real queue service which odoo.conf names (Azurite)."""

    @classmethod
    def _request_handler(cls, session, request, /, **kwargs):
        # Odoo's tests refuse to call out; the queue on this machine is not "out".
        return REAL_SEND(session, request, **kwargs)


class ManychatCase(TransactionCase):
    """:cvar decides: whether changes of opportunities make decisions, as on a system with a queue"""

    decides = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.decides:
            cls.startClassPatcher(patch.object(decisions, "queue_account", return_value=""))
        cls.bridge_user = cls.env.ref("miasalud_crm.user_bridge")
        cls.stages = {row.manychat_stage_id: row.stage_id for row in cls.env["manychat.stage.map"].search([])}

    def apply(self, *envelopes):
        """Apply ``envelopes`` in one batch, as the bridge does: as its own user, over the public method."""
        results = self.env["crm.lead"].with_user(self.bridge_user).manychat_apply(list(envelopes))
        self.env.invalidate_all()
        return results

    def lead(self, manychat_id="MC-TEST-1"):
        return (
            self.env["crm.lead"]
            .with_context(active_test=False)
            .search([("x_manychat_id", "=", manychat_id)])
            .ensure_one()
        )

    def stage_messages(self, lead):
        """The chatter lines about changes of stage, oldest first."""
        field = self.env["ir.model.fields"]._get("crm.lead", "stage_id")
        values = (
            self.env["mail.tracking.value"]
            .sudo()
            .search(
                [
                    ("mail_message_id.model", "=", "crm.lead"),
                    ("mail_message_id.res_id", "=", lead.id),
                    ("field_id", "=", field.id),
                ],
                order="id",
            )
        )
        return [(value.old_value_char, value.new_value_char) for value in values]
