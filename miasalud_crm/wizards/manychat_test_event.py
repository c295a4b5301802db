import secrets
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..deliveries import ACCEPTED, FROM_CHAT
from ..models.manychat_setup import TEST_ID, TEST_ID_PATTERN
from ..rights import managers_only

#: How long the key of a test is valid.
KEY_LIFETIME = timedelta(minutes=10)
#: How long an opportunity stays that a user keeps to look at, or that a closed browser has left.
LEFTOVER_LIFETIME = timedelta(days=1)
#: A hop takes less than a second if all works. After this time the test shows what delays the event.
PATIENCE = timedelta(seconds=12)


class ManychatTestEvent(models.TransientModel):
    """An end-to-end test: the browser sends two real events to the real webhook, as a bot does.

    The first event creates an opportunity of an invented person. The second event moves it.
    """

    _name = "manychat.test.event"
    _description = "ManyChat Test Event"

    manychat_id = fields.Char("ManyChat ID", readonly=True)
    first_map_id = fields.Many2one("manychat.stage.map", "Begins In", readonly=True, ondelete="cascade")
    second_map_id = fields.Many2one("manychat.stage.map", "Moves To", readonly=True, ondelete="cascade")
    key_id = fields.Many2one("manychat.api.key", readonly=True, ondelete="set null")

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _body(self, row):
        # Without a date: it counts as of its receipt, so that the browser's clock does not matter.
        state = {"stage_id": row.manychat_stage_id} if row.manychat_stage_id else {"stage": row.name}
        return {
            "manychat_id": self.manychat_id,
            "first_name": "ManyChat",
            "last_name": "Test",
            "state": state | {"summary": self.env._("A test event, sent from Getting Started.")},
        }

    def _own(self):
        """This test, as superuser; it must be the user's own.

        :raises UserError: Odoo has deleted the test, as it does after an hour
        """
        test = self.sudo().exists().filtered(lambda test: test.create_uid == self.env.user)
        if len(test) != 1:
            raise UserError(self.env._("This test is over. Start a new one."))
        return test

    def _lead(self):
        return self.env["manychat.identity"].search([("manychat_id", "=", self.manychat_id)]).lead_id

    @api.model
    def _leftovers(self):
        """The test persons, as superuser: their opportunities may belong to any team or company."""
        identities = self.env["manychat.identity"].sudo().search([("manychat_id", "=like", TEST_ID_PATTERN)])
        return identities.filtered(lambda identity: TEST_ID.fullmatch(identity.manychat_id))

    @api.model
    def _delete_leftovers(self, person=("manychat_id", "=like", TEST_ID_PATTERN)):
        """Delete the opportunities of test persons. Their waiting events are discarded.

        :param tuple person: condition on the ManyChat ID
        """
        identities = self._leftovers().filtered_domain([person])
        # Keep an opportunity that a user merged with a real person's.
        leads = identities.lead_id.filtered(lambda lead: lead.manychat_identity_ids <= identities)
        # The pattern is that of the index.
        domain = [*ACCEPTED, ("manychat_id", "=like", TEST_ID_PATTERN), person]
        events = self.env["manychat.event"].sudo().search(domain)
        events.filtered(lambda event: event.state != "done").write({"state": "discarded", "alias_id": False})
        leads.unlink()

    # ------------------------------------------------------------
    # Business: the hops
    # ------------------------------------------------------------

    def _hops(self, event, is_second):
        """The hops of one event, as :meth:`progress` returns them.

        :param event: its ``manychat.event``, or an empty one until the webhook has received it
        """
        row = self.second_map_id if is_second else self.first_map_id
        applied = event.state == "done"
        failed = event.state in ("failed", "discarded")
        taken = bool(event.applied_at or event.attempt_count)
        queued = bool(event.queued_at) or taken
        # The title says what has happened when the hop is done.
        moved = self.env._("Opportunity moved to “%s”", row.stage_id.name)
        created = self.env._("Opportunity created in “%s”", row.stage_id.name)
        hops = [
            ("accepted", bool(event), self.env._("Accepted by the webhook"), event.received_at),
            ("queued", queued, self.env._("Put on the queue"), event.queued_at),
            ("taken", taken, self.env._("Taken by the bridge"), event.applied_at),
            ("moved" if is_second else "created", applied, moved if is_second else created, event.applied_at),
        ]
        shown, open_before = [], not event
        for name, done, title, moment in hops:
            state, text = "done" if done else "todo", ""
            if not done and not open_before:
                open_before = True
                state, text = "running", ""
                if failed:
                    state, text = "stopped", event.details or self.env._("The event was discarded.")
                elif event.attempt_count:
                    text = f"{event.reason} {event.details}"  # still running: the bridge tries again
                elif fields.Datetime.now() - (event.queued_at or event.received_at) > PATIENCE:
                    state, text = "stopped", self._why_it_waits(name, event)
            at = done and moment and self._time_of_day(moment)
            shown.append({"name": name, "state": state, "title": title, "at": at or "", "text": text})
        return shown

    def _why_it_waits(self, hop, event):
        """Why ``event`` waits at ``hop``, and what to do."""
        setup = self.env["manychat.setup"]
        if hop == "queued":
            for step in (setup._jobs_step(), setup._queue_step()):
                if step["state"] != "done":
                    return step["text"]
            job = self.env.ref("miasalud_crm.cron_relay")
            return self.env._(
                "The queue answers, but the scheduled action “%s” has not put the event there. The server's "
                "administrator checks that Odoo runs scheduled actions (max_cron_threads is not 0).",
                job.name,
            )
        bridge = setup._bridge_step()
        if bridge["state"] != "done":
            return bridge["text"]
        return self.env._(
            "The bridge has not taken the event off the queue. %s The bridge may have just stopped, be paused, or read "
            "another storage account. Run “python -m bridge check” where the bridge is installed to find out.",
            bridge["text"],
        )

    def _time_of_day(self, moment):
        return fields.Datetime.context_timestamp(self, moment).strftime("%H:%M:%S")

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @managers_only
    def stages(self):
        """The stages that a test can use, in order: dicts of ``id`` and ``name``. For sales managers."""
        return [
            {"id": row.id, "name": f"{row.name} → {row.stage_id.name}"}
            for row in self.env["manychat.stage.map"].search([])
        ]

    @api.model
    @managers_only
    def start(self, first_map_id, second_map_id):
        """Prepare a test.

        :param int first_map_id: the stage, as ``manychat.stage.map``, in which the opportunity is created
        :param int second_map_id: the one to which it is moved
        :return dict: ``id`` of the test; ``key``, valid for a few minutes and for the test's person only; ``bodies`` of
            the two requests
        :raises AccessError: the user is no sales manager
        :raises UserError: the two stages are the same, or one of them is no longer mapped
        """
        rows = self.env["manychat.stage.map"].search([("id", "in", [first_map_id, second_map_id])])
        if len(rows) != 2:
            raise UserError(self.env._("Choose two different stages that are mapped."))
        first, second = (rows.browse(map_id) for map_id in (first_map_id, second_map_id))
        manychat_id = f"TEST-{secrets.token_hex(6)}"
        keys = self.env["manychat.api.key"].sudo()
        key = keys._generate(self.env._("Test event"), fields.Datetime.now() + KEY_LIFETIME, manychat_id)
        test = self.sudo().create(
            {
                "manychat_id": manychat_id,
                "first_map_id": first.id,
                "second_map_id": second.id,
                "key_id": keys._authenticate(key).id,
            }
        )
        return {"id": test.id, "key": key, "bodies": [test._body(first), test._body(second)]}

    @managers_only
    def progress(self):
        """Progress of the test.

        :return dict: ``events``: for each of the two a list of hops, dicts of ``name``, ``state`` (``todo``,
            ``running``, ``done``, ``stopped``), ``title``, ``at`` (time of day), ``text``; ``received``: how many
            events the webhook has received; ``applied``: how many are done; ``lead_id`` of the opportunity, or False
        """
        test = self._own()
        domain = [*FROM_CHAT, ("manychat_id", "=", test.manychat_id)]
        events = self.env["manychat.event"].sudo().search(domain, order="id", limit=2)
        rows = [*events, *[events.browse()] * (2 - len(events))]
        lead = test._lead()
        return {
            "events": [test._hops(rows[0], False), test._hops(rows[1], True)],
            "received": len(events),
            "applied": len(events.filtered(lambda event: event.state == "done")),
            "lead_id": lead.id,
        }

    @managers_only
    def finish(self, keep=False):
        """End the test: delete its key and its opportunity.

        :param bool keep: whether the opportunity stays, for the user to look at
        """
        test = self._own()
        test.key_id.unlink()
        if not keep:
            test._delete_leftovers(("manychat_id", "=", test.manychat_id))

    @managers_only
    def delete_opportunity(self):
        """Delete what this test left in Odoo. Its waiting events are discarded."""
        test = self._own()
        test._delete_leftovers(("manychat_id", "=", test.manychat_id))

    @api.model
    @managers_only
    def leftovers(self):
        """How many opportunities of tests there are: kept ones, and those of tests that were broken off.

        :return int: their number
        :raises AccessError: the user is not a sales manager
        """
        return len(self._leftovers().lead_id)

    @api.model
    @managers_only
    def delete_leftovers(self):
        """Delete what all tests left in Odoo. For sales managers.

        :raises AccessError: the user is not a sales manager
        """
        self._delete_leftovers()

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _gc_leftovers(self):
        """Delete what tests of earlier days left, as when the browser was closed."""
        limit = fields.Datetime.now() - LEFTOVER_LIFETIME
        for identity in self._leftovers().filtered(lambda identity: identity.create_date < limit):
            self._delete_leftovers(("manychat_id", "=", identity.manychat_id))
