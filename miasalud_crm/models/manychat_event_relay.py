"""How events get from the webhook into the outbox, and from there onto their queues."""

import logging
import time
from datetime import datetime, timedelta, timezone

import psycopg2
from psycopg2.extras import Json

from odoo import api, models

from bridge import spans
from bridge.contract.errors import ContractError
from bridge.contract.event import from_envelope
from bridge.contract.sentences import sentence
from bridge.errors import BadQueueAccount, MessageRefused, QueueMissing, QueueRightMissing, QueueUnavailable

from .. import configuration, private_sql, relay_thread
from ..moments import naive_utc
from ..queues import is_neutralized, kept_queues, queue_account
from .ir_cron import RELAY_JOB
from .manychat_event_attempts import RETRIED, now
from .manychat_event_trace import trace_id_of

_logger = logging.getLogger(__name__)

#: Rows per round of the relay: few enough that they are marked soon after they are sent.
RELAY_BATCH = 64
#: How long a relay owns the rows that it has claimed, while its connection to the database lives. Then another relay
#: sends them, perhaps again, which does no harm.
CLAIM = timedelta(minutes=2)
#: How long events wait whose queue alone cannot be used. Meanwhile they are no relay's, or they would stand before all
#: others for ever.
SHUT = timedelta(seconds=30)
#: Seconds that one run lasts at most: well within Odoo's limits for a job.
RELAY_SECONDS = 30
#: What the envelope has of the row, besides the date.
_CARRIED = ("event_id", "type", "source", "payload", "retries", "warnings", "extra", "traceparent")


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business: the outbox
    # ------------------------------------------------------------

    @api.model
    def _enqueue(self, event, key, sent=None):
        """Put ``event`` into the outbox. The commit of the request's transaction wakes the relay.

        :param bridge.contract.event.Event event: a valid event
        :param key: the :class:`.valid_key.ValidKey` of the caller
        :param dict sent: the request, see :func:`.sent_request.of`
        :return bool: False if the event is already there
        :raises psycopg2.errors.SerializationFailure: another request is inserting the same event; roll back and try
            again
        """
        self.check_access("create")
        inserted = self._insert(event, "pending", key, sent)
        if inserted:
            self._wake_relay()
        return inserted

    @api.model
    def _is_known(self, event_id):
        return bool(self.search_count([("event_id", "=", event_id)], limit=1))

    @api.model
    def _insert(self, event, state, key=None, sent=None):
        """Create the row of ``event``, unless there is one.

        One INSERT instead of ``create()``: it takes half the time, and raises no exception for a known event.

        :return bool: False if the row is already there
        """
        rows = private_sql.fetch(
            self.env.cr,
            """
            INSERT INTO manychat_event (event_id, type, manychat_id, state, payload, warnings, extra, source,
                                        received_at, occurred_at, key_name, key_prefix, request, retries, traceparent,
                                        create_uid, create_date, write_uid, write_date)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
                    now() AT TIME ZONE 'UTC', %s, now() AT TIME ZONE 'UTC')
            ON CONFLICT (event_id) DO NOTHING
            RETURNING id
            """,
            [
                event.id,
                event.type.value,
                event.manychat_id,
                state,
                Json(event.payload.canonical()),
                Json(list(event.warnings)) if event.warnings else None,
                Json(dict(event.extra)) if event.extra else None,
                event.source,
                naive_utc(event.received_at),
                naive_utc(event.occurred_at),
                (key and key.name) or None,
                (key and key.prefix) or None,
                Json(sent) if sent else None,
                event.retries,
                event.traceparent,
                self.env.uid,
                self.env.uid,
            ],
        )
        return bool(rows)

    @api.model
    def _wake_relay(self):
        """Start the relay in this process, as soon as this transaction has committed."""
        relay_thread.wake_after_commit(self.env.cr)

    def _requeue(self, why=RETRIED):
        """Send these events again. Applied and erased events stay as they are.

        :param str why: the code of the entry among the attempts
        """
        events = self.filtered(lambda event: event.state != "done" and event.payload)
        events.write(
            {
                "state": "pending",
                "claimed_until": False,
                "code": False,
                "message": False,
                "outcome": False,
                "applied_at": False,
                "discard_to_report": False,
                "attempt_count": 0,
                "resends": 0,
            }
        )
        for event in events:
            attempts = event._with_attempt(why, by_user=why == RETRIED)
            event.write({"retries": event.retries + 1, "attempts": attempts})
        if events:
            events._wake_relay()

    def _envelope(self):
        """The event as the queue carries it: the JSON object of the contract."""
        self.ensure_one()
        received_at = self.received_at or self.create_date
        return _envelope(
            {**{name: self[name] for name in _CARRIED}, "received_at": received_at and received_at.isoformat()}
        )

    # ------------------------------------------------------------
    # Business: one round of the relay
    # ------------------------------------------------------------

    def _claim(self, size):
        """Claim up to ``size`` waiting events, oldest first, so that no other relay sends them.

        Commits at once: the bridge may receive an event before its row says “queued”, and must be able to complete the
        row while this relay waits for the network.

        :return list: their rows, as dicts; values as JSON has them
        """
        rows = self._commit_statement(
            """
            UPDATE manychat_event
               SET claimed_until = (clock_timestamp() AT TIME ZONE 'UTC') + %(claim)s, claimed_by = pg_backend_pid()
             WHERE id IN (
                   SELECT id FROM manychat_event
                    WHERE state = 'pending'
                      AND (claimed_until IS NULL OR claimed_until < clock_timestamp() AT TIME ZONE 'UTC'
                           OR NOT EXISTS (SELECT FROM pg_stat_get_activity(claimed_by)))
                    ORDER BY id LIMIT %(size)s FOR UPDATE SKIP LOCKED)
            RETURNING id, event_id, type, COALESCE(received_at, create_date) AS received_at, source, payload, retries,
                      warnings, extra, traceparent
            """,
            {"claim": CLAIM, "size": size},
        )
        return sorted(rows, key=lambda row: row["id"])

    def _send(self, queues, rows):
        """Put the events of ``rows`` on their queues and mark those that arrived.

        A queue that does not exist and may not be created, or for which a right is missing, holds up its own events
        only: a release with a new queue must not stop the chat's events.

        :return bool: whether the queue service works; if not, the remaining events wait
        """
        failures, shut, undeliverable, messages = [], {}, {}, []
        for row in rows:
            try:
                event = from_envelope(_envelope(row))
                # An event that is sent again was not in the outbox all the time.
                since = datetime.now(timezone.utc) if event.retries else event.received_at
                step = spans.begin("outbox", event, since, kind="producer", service=spans.ODOO, queue=event.type.queue)
                messages.append((row["id"], event.type.queue, spans.passing_on(event, step).encode(), step))
            except Exception as error:
                # Whatever is wrong with one row, it is no fault of the others.
                undeliverable[row["id"]] = _damage(error)

        def put(message):
            row_id, queue, content, step = message
            if failures or queue in shut:
                return None  # it would only wait for the same time-out, or get the same answer
            try:
                queues.put(queue, content)
                step.end()
                return row_id
            except MessageRefused as error:
                step.end(failed=True)
                undeliverable[row_id] = sentence("The queue refuses this event: %(what)s.", what=error)
            except (QueueMissing, QueueRightMissing) as error:
                shut[queue] = error
            except QueueUnavailable as error:
                failures.append(error)
            return None

        each = queues.pool.map if len(messages) > 1 else map
        sent = [row_id for row_id in each(put, messages) if row_id]
        for row in rows:
            if row["id"] in undeliverable:
                self._fail_undeliverable(row, undeliverable[row["id"]])
        self._commit_statement(
            """
            UPDATE manychat_event SET state = 'queued', queued_at = clock_timestamp() AT TIME ZONE 'UTC'
             WHERE id = ANY(%(sent)s) AND state = 'pending' RETURNING id
            """,
            {"sent": sent},
        )
        unsent = {row_id: queue for row_id, queue, *_ in messages if row_id not in {*sent, *undeliverable}}
        self._release(unsent, shut)
        for queue, error in shut.items():
            _logger.error("ManyChat events wait, because %s cannot be used: %s", queue, error)
        if failures:
            _logger.warning(
                "ManyChat events wait, because the queue does not take them (%s). They go as soon as it does.",
                failures[0],
            )
        return not failures

    def _release(self, unsent, shut):
        """Give back the claim of these events; those of a queue in ``shut`` let all others go first for a while.

        :param dict unsent: id of the row → its queue
        """
        if not unsent:
            return
        # Without a process, because none needs to live on for them: `pg_stat_get_activity(NULL)` is of all processes.
        self._commit_statement(
            """
            UPDATE manychat_event
               SET claimed_by = NULL,
                   claimed_until = CASE WHEN id = ANY(%(held)s) THEN clock_timestamp() AT TIME ZONE 'UTC' + %(shut)s END
             WHERE id = ANY(%(unsent)s) AND state = 'pending' RETURNING id
            """,
            {"unsent": list(unsent), "held": [each for each in unsent if unsent[each] in shut], "shut": SHUT},
        )

    def _fail_undeliverable(self, row, message):
        """Fail an event that the queue would refuse for ever: all later events would wait behind it."""
        self._commit_statement(
            """
            UPDATE manychat_event
               SET state = 'failed', outcome = 'error', code = 'undeliverable', message = %(text)s,
                   attempts = COALESCE(attempts, '[]') || jsonb_build_array(jsonb_build_object(
                       'at', %(at)s::text, 'code', 'undeliverable', 'message', %(text)s::text))
             WHERE id = %(id)s AND state = 'pending' RETURNING id
            """,
            {"id": row["id"], "text": message, "at": now()},
        )
        trace = trace_id_of(row["event_id"], row["traceparent"])
        _logger.error(
            "The queue cannot take a ManyChat event, which has now failed: row %s (trace %s).", row["id"], trace
        )

    def _commit_statement(self, statement, parameters):
        """Run and commit one statement on rows that the bridge may be completing at the same moment.

        :return list: what it returns of the rows that it changed, as dicts
        """
        while True:
            try:
                rows = private_sql.fetch(self.env.cr, statement, parameters)
                # A sent message cannot be rolled back.
                self.env.cr.commit()  # pylint: disable=invalid-commit
                self.invalidate_model()
                return rows
            except psycopg2.errors.SerializationFailure:
                self.env.cr.rollback()  # a new snapshot sees what the other transaction did

    @api.model
    def _relay(self):
        """Send waiting events to their queues, for some seconds at most.

        :return bool: whether that worked: if not, they wait for the queue
        :raises BadQueueAccount: no queue is configured, or the setting is wrong
        """
        if is_neutralized(self.env):
            return True
        account = queue_account(self.env)
        if not account:
            raise BadQueueAccount("")
        queues = kept_queues(account)
        deadline = time.monotonic() + RELAY_SECONDS
        while time.monotonic() < deadline:
            # After a failure one event goes alone, as a probe: only one put times out.
            size = RELAY_BATCH if queues.work else 1
            rows = self._claim(size)
            if rows:
                queues.work = self._send(queues, rows)
            if not queues.work:
                return not rows
            if len(rows) < size:
                return True
        self._wake_relay()  # more than fits into one run
        return True

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_relay(self):
        """Send waiting events to their queues.

        A process sends what it commits itself; this is for what it left when it was killed, and for what waits for the
        queue. Never raises: Odoo deactivates a job that keeps failing, and the job is not at fault when Azure is down.
        """
        if is_neutralized(self.env):
            _logger.info("ManyChat events wait: this database is a neutralized copy, which uses no queue.")
            return
        try:
            if not queue_account(self.env):
                self._warn_of_no_queue()
                return
            self._relay()
        except BadQueueAccount as error:
            _logger.error("ManyChat events wait, because the queue's setting is wrong: %s", error)
        except Exception as error:
            self.env.cr.rollback()
            _logger.error(
                "The ManyChat relay failed; it will run again within a minute: %s", private_sql.failure(error)
            )

    @api.model
    def _leave_to_job(self):
        """Have the scheduled action send what waits, at once."""
        if self._is_any_waiting() and (job := self.env.ref(RELAY_JOB, raise_if_not_found=False)):
            job._trigger()

    @api.model
    def _is_any_waiting(self):
        return bool(self.search_count([("state", "=", "pending")], limit=1))

    @api.model
    def _warn_of_no_queue(self):
        if self._is_any_waiting():
            _logger.warning(
                "ManyChat events wait, because no queue is configured: set queue_connection_string or "
                "queue_account_url in section [%s] of odoo.conf, or %sQUEUE_CONNECTION_STRING or "
                "%sQUEUE_ACCOUNT_URL.",
                configuration.SECTION,
                configuration.ENVIRONMENT_PREFIX,
                configuration.ENVIRONMENT_PREFIX,
            )


def _envelope(row):
    """The envelope of the event whose fields ``row`` has, as a dict."""
    return {
        "v": 1,
        "id": row["event_id"],
        "type": row["type"],
        "received_at": row["received_at"],
        "source": row["source"],
        "payload": row["payload"],
        "retries": row["retries"],
        "warnings": row["warnings"] or [],
        "extra": row["extra"] or {},
        "traceparent": row["traceparent"] or "",
    }


def _damage(error):
    """What is wrong with the row of an event that cannot be put on a queue, without its values."""
    if not isinstance(error, ContractError):
        return sentence("The event's row is damaged (%(kind)s).", kind=type(error).__name__)
    fields = "; ".join(f"{problem['field']}: {problem['message']}" for problem in error.errors)
    return sentence("The event's row is damaged. %(what)s", what=fields or error.message)
