"""How events reach opportunities: :meth:`crm.lead.manychat_apply`, which the bridge calls, and its steps."""

import logging
from contextlib import contextmanager
from datetime import datetime, timezone

import psycopg2

from odoo import api, models
from odoo.exceptions import UserError

from bridge.contract.errors import ContractError
from bridge.contract.event import from_envelope
from bridge.contract.opportunity_state import Actor
from bridge.contract.outcomes import ErrorCode
from bridge.contract.payloads import EventType
from bridge.contract.sentences import sentence

from ..actor import acting
from ..apply import refusal
from ..apply.batch import EventBatch, lock_rows
from ..apply.hooks import Hooks
from ..apply.state import read_answer
from ..apply.transaction import undivided
from ..moments import naive_utc
from ..private_sql import failure
from ..rights import bridge_only
from ..sentences import menu_path, say
from .ir_default import DEFAULTS, Defaults
from .manychat_identity import APPLYING

_logger = logging.getLogger(__name__)

#: Another transaction was in the way. In Odoo's REPEATABLE READ only a new transaction can see what it did, so the
#: caller has to call again.
CONFLICTS = (
    psycopg2.errors.SerializationFailure,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.LockNotAvailable,
)

#: The keys of a result that name a stage. Until the batch is at its end, they hold its id.
STAGE_ENDS = ("stage_before", "stage_after")


class CrmLead(models.Model):
    """Applying a batch of events: the RPC, the isolation of events at fault, and the savepoint."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business: a batch, all or none
    # ------------------------------------------------------------

    def _manychat_apply_isolating(self, events):
        """Apply ``events`` (oldest first), so that no event at fault takes its neighbours along.

        An event that Odoo has refused before is applied alone from then on: each failure of a batch makes Odoo run the
        automations of all its events again.

        :return dict: event id → result
        """
        # With what the batch asks of its rows.
        domain = [("event_id", "in", [event.id for event in events])]
        rows = self.env["manychat.event"].search_fetch(domain, ["event_id", "state", "attempt_count"])
        known = {row.event_id: bool(row.attempt_count) for row in rows}
        results, together = {}, []
        for event in events:
            if known.get(event.id):
                results |= self._manychat_apply_some(together, known) | self._manychat_apply_some([event], known)
                together = []
            else:
                together.append(event)
        return results | self._manychat_apply_some(together, known)

    def _manychat_apply_some(self, events, known):
        """Apply ``events`` together. If that fails, apply each on its own; after a conflict, each half.

        :param known: ids of the events that had a ``manychat.event`` when the transaction began
        :return dict: event id → result
        """
        if not events:
            return {}
        try:
            with self._manychat_savepoint():
                return self._manychat_apply_batch(events, known)
        except Exception as error:
            is_conflict = _is_conflict(error)
            if not is_conflict and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
                raise  # a problem of the database, not of an event
            if len(events) == 1:
                event = events[0]
                refused = _result(event.id, "retry") if is_conflict else self._manychat_refuse(event, error, known)
                return {event.id: refused}
        # One by one runs the automations of each neighbour once more; halving, several times. A conflict is short, and
        # the fewer statements the better.
        size, results = (len(events) + 1) // 2 if is_conflict else 1, {}
        for start in range(0, len(events), size):
            results |= self._manychat_apply_some(events[start : start + size], known)
        return results

    @contextmanager
    def _manychat_savepoint(self):
        """Open a savepoint that includes the tracking values of what happens in it.

        Odoo writes tracking values before the commit, outside any savepoint: there, one bad event would take all others
        down. And Odoo's own savepoints flush as the calling user, who has no access to what they flush.
        """
        cr = self.env.cr
        hooks = [(callbacks, Hooks(callbacks)) for callbacks in (cr.postcommit, cr.prerollback, cr.postrollback)]
        try:
            with cr.savepoint(flush=False):
                yield
                self._manychat_flush()
        except Exception:
            cr.clear()  # what was cached or pending belongs to what has been rolled back
            for callbacks, before in hooks:
                before.restore(callbacks)
            raise

    def _manychat_flush(self):
        self.env.flush_all()
        self.env.cr.precommit.run()

    def _manychat_refuse(self, event, error, known):
        """Record why Odoo refused an event, and return its result.

        The event stays on its queue: the bridge tries it again, and reports if it gives up.
        """
        _logger.warning("ManyChat event %s (trace %s) was refused: %s", event.id, event.trace_id, failure(error))
        message = refusal.reason(self.env, error)
        try:
            with self._manychat_savepoint():
                rows, _busy_event_ids = lock_rows(self.env, [event], known)
                if row := rows.get(event.id):
                    values = {"code": ErrorCode.REFUSED.value, "message": message, "alias_id": False}
                    attempts = row._with_attempt(ErrorCode.REFUSED.value, message)
                    row.write({**values, "attempt_count": row.attempt_count + 1, "attempts": attempts})
        except psycopg2.Error as log_error:
            if not _is_conflict(log_error):
                raise
            return _result(event.id, "retry")
        return _result(event.id, "error", code=ErrorCode.REFUSED.value, message=message)

    def _manychat_apply_batch(self, events, known):
        """Apply ``events`` (oldest first), all or none.

        :return dict: event id → result
        """
        batch = EventBatch(self.env, events, known)
        resolve = self.env["manychat.stage.map"]._resolver()
        results, pending = {}, []
        for event in events:
            if batch.is_busy(event):
                results[event.id] = _result(event.id, "retry")
            elif batch.rows[event.id].state == "done":
                results[event.id] = _known_result(batch.rows[event.id])
            elif batch.rows[event.id].state == "discarded":
                message = self.env._("A user discarded this event in Odoo. Press Retry in Odoo to apply it.")
                results[event.id] = _result(event.id, "error", code=ErrorCode.DISCARDED.value, message=message)
            elif (event.echo_of or event.may_echo) and event.manychat_id not in batch.leads:
                # A user has deleted the opportunity since. What was written to its bot before does not bring it back.
                results[event.id] = _result(event.id, "stale")
                _complete_row(batch.rows[event.id], results[event.id])
            elif stage_map := resolve(event.payload.state.stage_id, event.payload.state.stage):
                pending.append((event, stage_map))
            else:
                results[event.id] = self._manychat_fail_unmapped(event, batch.rows[event.id])
        batch.load_references([event for event, _stage_map in pending])
        for pairs in batch.rounds(pending):
            results |= self._manychat_apply_round(pairs, batch)
            self._manychat_flush()
        return results

    def _manychat_apply_round(self, pairs, batch):
        """Apply at most one event of each opportunity.

        :param list pairs: pairs of event and ``manychat.stage.map``
        :param EventBatch batch: its ``leads`` are extended by the created ones
        :return dict: event id → result
        """
        # The same order everywhere: two bridges that create the same people would otherwise wait for each other.
        new_contacts = sorted(
            ((event, stage_map) for event, stage_map in pairs if event.manychat_id not in batch.leads),
            key=lambda pair: pair[0].manychat_id,
        )
        self._manychat_take_over(new_contacts, batch)
        new_contacts = [pair for pair in new_contacts if pair[0].manychat_id not in batch.leads]
        moves = [(event, stage_map) for event, stage_map in pairs if event.manychat_id in batch.leads]
        outcomes = self._manychat_create(new_contacts, batch)
        outcomes |= self._manychat_move(moves, batch)
        results = {}
        for event, _stage_map in pairs:
            lead = batch.leads[event.manychat_id]
            status, stage_before = outcomes[event.id]
            results[event.id] = _result(
                event.id, status, lead_id=lead.id, stage_before=stage_before.id, stage_after=lead.stage_id.id
            )
            warnings = batch.custom.warnings.get(event.id)
            _complete_row(batch.rows[event.id], results[event.id], lead, stage_before, warnings)
        return results

    def _manychat_fail_unmapped(self, event, row):
        """Fail an event whose stage is not mapped yet: it waits on an open alias until a user maps the stage.

        :return dict: the event's result
        """
        state = event.payload.state
        alias = self.env["manychat.stage.alias"]._open(state.stage_id, state.stage)
        message = say(
            self.env,
            "The ManyChat stage “%(stage)s” is not mapped to a pipeline stage. Map it under %(menu)s; the event then "
            "continues by itself.",
            stage=alias.display_name,
            menu=menu_path(self.env, "miasalud_crm.manychat_stage_alias_menu"),
        )
        result = _result(event.id, "error", code=ErrorCode.UNMAPPED_STAGE.value, message=message)
        _complete_row(row, result)
        row.write(
            {"alias_id": alias.id, "attempts": row._with_attempt(ErrorCode.UNMAPPED_STAGE.value, alias.display_name)}
        )
        return result

    def _manychat_complete(self, events, results):
        """Complete results with what SQL has to know: the opportunities' states, and the names of stages for their ids.

        :param list events: of the batch, oldest first
        :param dict results: of the batch, by event id
        """
        people = {event.id: event.manychat_id for event in events}
        known = {people[event_id] for event_id, result in results.items() if result["lead_id"]}
        stage_ids = {result[end] for result in results.values() for end in STAGE_ENDS if result[end]}
        states, names = read_answer(self.env, known, stage_ids)
        for event_id, result in results.items():
            result["state"] = result["lead_id"] and states.get(people[event_id], False)
            result.update({end: names.get(result[end], False) for end in STAGE_ENDS})
        self._manychat_record_for_others(events, results, states)

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def manychat_apply(self, events):
        """Create and move opportunities according to ``events``. For the group “ManyChat Bridge”, over RPC.

        The batch is applied as a whole. If that fails, each of its events is applied alone. An event that was applied
        before is not applied again: its result is that of the first time, with code ``duplicate``.

        :param list events: envelopes as on the queue (see ``bridge.contract.event``), in any order
        :return list: one dict per event, in the same order: ``event_id``; ``status`` (``created``, ``moved``,
            ``updated``, ``unchanged``, ``stale``, ``retry``, ``error``); ``lead_id``; ``stage_before`` and
            ``stage_after`` (names); ``code`` and ``message``; ``state`` of the opportunity after the batch, see
            ``bridge.contract.opportunity_state.OpportunityState``. Values that do not apply are ``False``.
            ``retry``: another transaction was in the way, call again in a moment.
        :raises AccessError: the caller is not in that group
        :raises UserError: ``events`` is no list
        """
        if not isinstance(events, list | tuple):
            raise UserError(self.env._("The events must be a list."))
        self = self.with_context(
            **{
                **APPLYING,
                DEFAULTS: Defaults(),
                "mail_create_nosubscribe": True,  # the bridge's user follows nothing
                "mail_notify_force_send": False,  # the batch does not wait for a mail server
            }
        )
        results, valid = {}, {}
        for position, envelope in enumerate(events):
            try:
                event = from_envelope(envelope)
                if event.type is not EventType.OPPORTUNITY:
                    message = sentence("An event of type “%(type)s” concerns no opportunity.", type=event.type.value)
                    raise ContractError(ErrorCode.INVALID, message)
                valid.setdefault(event.id, (event, []))[1].append(position)
            except ContractError as error:
                event_id = envelope.get("id") if isinstance(envelope, dict) else False
                results[position] = _result(event_id, "error", code=error.code, message=error.message)
        # Oldest first, so that the history reads as it happened.
        with undivided(self.env), acting(Actor.CHAT):
            in_order = sorted((event for event, _ in valid.values()), key=lambda event: event.order)
            applied = self._manychat_apply_isolating(in_order)
        self._manychat_complete(in_order, applied)
        for event_id, (_event, positions) in valid.items():
            results.update(dict.fromkeys(positions, applied[event_id]))
        if in_order:
            # Odoo's own line about the request cannot say which events it brought.
            outcomes = (f"{applied[event.id]['status']} (trace {event.trace_id})" for event in in_order)
            _logger.info("ManyChat events, before the commit: %s", ", ".join(outcomes))
        return [results[position] for position in range(len(events))]


def _result(event_id, status, *, lead_id=False, stage_before=False, stage_after=False, code=False, message=False):
    return {
        "event_id": event_id,
        "status": status,
        "lead_id": lead_id,
        "stage_before": stage_before,
        "stage_after": stage_after,
        "code": code,
        "message": message,
        "state": False,
    }


def _known_result(row):
    """The result of an event that was applied before: what it was then."""
    return _result(
        row.event_id,
        row.outcome,
        lead_id=row.lead_id.id,
        stage_before=row.stage_before_id.id,
        stage_after=row.stage_after_id.id,
        code="duplicate",
    )


def _complete_row(row, result, lead=None, stage_before=None, field_warnings=None):
    """Write the result of an event to its ``manychat.event`` row."""
    row.write(
        {
            "state": "failed" if result["status"] == "error" else "done",
            "outcome": result["status"],
            "code": result["code"],
            "message": result["message"],
            "applied_at": naive_utc(datetime.now(timezone.utc)),
            "lead_id": lead and lead.id,
            "stage_before_id": stage_before and stage_before.id,
            "stage_after_id": lead and lead.stage_id.id,
            "alias_id": False,
            "field_warnings": field_warnings or False,
        }
    )


def _is_conflict(error):
    """Whether another transaction was in the way, so that the same call may succeed in a moment."""
    return isinstance(error, CONFLICTS)
