"""What must be the case once everything has settled, and whether it is.

The expected stages are computed from what was sent: see :mod:`.order`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from azure.core.exceptions import AzureError
from azure.storage.queue import QueueServiceClient

from bridge.contract.payloads import DEAD_LETTER_QUEUE
from bridge.store.schema import manychat_echoes
from tests.manychat_stand_in import LIMIT

from . import decided, shown, story
from .agreement import disagreements
from .decided import Decisions
from .order import Decided, Happened, Heard, Moves, unmatched
from .people import Act
from .system import QUEUES, System
from .traffic import Ledger

ADMIN = 2  # base.user_admin
APPLIED = {"created", "moved", "updated", "unchanged", "stale"}
#: How long Odoo may go on with a call that nobody waits for any more.
_UNANSWERED = timedelta(seconds=30)


@dataclass
class Verdict:
    """What was found. Everything but the counts must be empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    not_in_sql: list[str] = field(default_factory=list)
    not_in_manychat: list[str] = field(default_factory=list)
    flows_twice: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    mistaken: int = 0  # a customer's event of the stage that an echo was expected of
    standby: int = 0  # taken by the standby
    missed: int = 0  # lost by the queue, and sent again by Odoo
    unheard: int = 0  # committed, though the bot was cut off before it heard so
    moves: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    manychat: Counter[str] = field(default_factory=Counter)
    most_calls: int = 0  # to ManyChat in any second
    opportunities: int = 0
    stories: list[str] = field(default_factory=list)  # of the opportunities that problems name

    @property
    def problems(self) -> list[str]:
        return [f"{name}: {line}" for name, lines in self.named.items() for line in lines]

    @property
    def named(self) -> dict[str, list[str]]:
        """The lists that must be empty, by what they are called."""
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "out of order": self.out_of_order,
            "SQL ≠ Odoo": self.not_in_sql,
            "ManyChat ≠ Odoo": self.not_in_manychat,
            "flows started twice": self.flows_twice,
            "other disagreements": self.other,
        }


class Truth:
    """Looks at Odoo's database, at SQL and at the queues, past everything that is under test."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._store = sa.create_engine(system.database_url)
        self._partners = self._read_partners()
        self._people = {ADMIN, *system.users.values()}

    def close(self) -> None:
        self._store.dispose()

    def backlog_of(self, ledger: Ledger) -> int:
        """How many accepted events have no outcome yet."""
        finished = {row.event_id for row in self._sql("SELECT event_id FROM audit WHERE outcome IS NOT NULL")}
        with ledger.lock:
            return len(ledger.accepted - finished)

    def has_settled(self) -> bool:
        """Nothing is under way any more. Not whether it went well: a lost event would not show here."""
        # Also what is on its queue as far as Odoo knows: the queue may have lost it, and then it comes again.
        pending = "SELECT 1 FROM manychat_event WHERE state IN ('pending', 'queued') LIMIT 1"
        if self._system.database_rows(pending) or self._sql("SELECT 1 FROM audit WHERE outcome IS NULL LIMIT 1"):
            return False
        unwritten = "SELECT 1 FROM manychat_writes WHERE sent_as_of IS NULL OR sent_as_of < wanted_as_of LIMIT 1"
        if self._sql(unwritten):
            return False
        return not any(depth for name, depth in self.depths().items() if name != DEAD_LETTER_QUEUE)

    def depths(self) -> dict[str, int]:
        with QueueServiceClient.from_connection_string(self._system.connection_string, retry_total=0) as service:
            depths = {}
            for name in QUEUES:
                try:
                    properties = service.get_queue_client(name).get_queue_properties()
                except AzureError:
                    depths[name] = -1  # away: not settled
                else:
                    depths[name] = properties.approximate_message_count or 0
            return depths

    def examine(self, ledger: Ledger) -> Verdict:
        verdict = Verdict()
        events = {row.event_id: row for row in self._read_events()}
        audit = {row.event_id: row for row in self._sql("SELECT * FROM audit")}
        letters = self._sql("SELECT * FROM dead_letters WHERE status = 'open'")
        sent = {row.event_id for row in events.values() if row.source == "odoo" and row.type != "decision"}
        verdict.unheard = len(sent - ledger.accepted)
        verdict.standby = sum(row.source == "api" for row in audit.values())
        verdict.missed = sum(bool(row.resends) for row in events.values())
        verdict.outcomes.update(str(row.outcome) for row in audit.values())
        verdict.dead.update(letter.code for letter in letters)
        self._examine_accounts(verdict, ledger, events, audit, letters)
        decisions = Decisions(events.values())
        self._examine_agreement(verdict, events, audit, decisions)
        self._examine_decisions(verdict, decisions)
        self._examine_manychat(verdict, ledger, decisions, audit)
        self._examine_opportunities(verdict, ledger, events, decisions)
        self._examine_fields(verdict, audit, decisions)
        if self._read_partners() != self._partners:
            verdict.other.append("res.partner has changed")
        left_over = self._left_over(0 if ledger.queue_kills else len(letters))
        verdict.other += [f"{depth} messages left on {name}" for name, depth in left_over]
        verdict.stories += story.of_problems(self._system, self._store, verdict.problems)
        return verdict

    def _examine_accounts(
        self, verdict: Verdict, ledger: Ledger, events: dict[str, Any], audit: dict[str, Any], letters: list[Any]
    ) -> None:
        """Each accepted event, and each that Odoo committed though nobody heard so, has one end, and only these do."""
        of_event = Counter(letter.event_id for letter in letters if letter.event_id)
        for event_id in sorted(ledger.accepted | events.keys()):
            row = audit.get(event_id)
            if row is None or row.outcome is None:
                verdict.lost.append(f"{event_id}: {'never seen by a bridge' if row is None else 'no outcome'}")
            elif (row.outcome == "dead_lettered") != (of_event[event_id] == 1):
                verdict.other.append(f"{event_id}: {row.outcome}, with {of_event[event_id]} open dead letters")
            elif row.attempt_in_progress:
                verdict.other.append(f"{event_id}: {row.outcome}, and still in an attempt")
        for event_id in sorted(audit.keys() - events.keys() - ledger.accepted):
            verdict.other.append(f"{event_id} was never sent")
        bodies = Counter(letter.body for letter in letters if not letter.event_id)
        verdict.lost += [f"no event: {body}" for body in sorted(ledger.unreadable - bodies.keys())]
        verdict.doubled += [f"{count} letters: {body}" for body, count in bodies.items() if count > 1]
        verdict.other += [f"dead letter {letter.id} has no reason" for letter in letters if not letter.message]
        # The message whose notice comes next may be lost with the killed queue: no bridge sees it again.
        unnotified = [f"dead letter {letter.id} has no notice" for letter in letters if not letter.notified_at]
        verdict.other += unnotified[ledger.queue_kills :]
        verdict.other += [f"refused: {answer}" for answer in ledger.refused]

    def _examine_agreement(
        self, verdict: Verdict, events: dict[str, Any], audit: dict[str, Any], decisions: Decisions
    ) -> None:
        """SQL and Odoo tell the same story."""
        for event_id, row in audit.items():
            event = events.get(event_id)
            if row.type != "opportunity" or row.outcome is None:
                continue
            if event is None:
                verdict.lost.append(f"{event_id}: {row.outcome} in SQL, unknown to Odoo")
            elif row.outcome == "dead_lettered":
                if (event.state, event.code) != ("failed", row.error_code):
                    verdict.other.append(f"{event_id}: {row.error_code} in SQL, {event.state} {event.code} in Odoo")
            elif (row.outcome, "done") != (event.outcome, event.state) or event.lead_id not in (
                # A deleted opportunity is no event's any more, and those of a merged one are the survivor's. The
                # person's next event has created another one.
                ({row.lead_id, *decisions.merged} - decisions.gone)
                | ({None} if event.manychat_id in decisions.deleted else set())
            ):
                found = (event.outcome, event.lead_id, event.state)
                verdict.other.append(f"{event_id}: {row.outcome} {row.lead_id} in SQL, {found} in Odoo")
        changes = {event_id for event_id, row in audit.items() if row.outcome in ("created", "moved")}
        told = {row.event_id for row in self._sql("SELECT event_id FROM opportunity_stages WHERE moved_by = 'chat'")}
        told -= decisions.by_id.keys()  # those of the other conversations of the opportunity
        verdict.other += [f"{event_id}: stage history in SQL differs" for event_id in sorted(changes ^ told)]

    def _examine_decisions(self, verdict: Verdict, decisions: Decisions) -> None:
        """What users decided is in SQL once and in order, and SQL has each opportunity as it is in Odoo."""
        verdict.decisions = decided.counts(decisions)
        verdict.lost += decided.lost(decisions, self._store, self._system)
        verdict.out_of_order += decided.out_of_order(decisions, self._store, self._system)
        verdict.not_in_sql += decided.differing(decisions, self._store, self._system)

    def _examine_manychat(self, verdict: Verdict, ledger: Ledger, decisions: Decisions, audit: dict[str, Any]) -> None:
        """ManyChat shows each opportunity as it is in Odoo, and got no call too many."""
        people = {row.manychat_id for row in audit.values() if row.type in ("opportunity", "decision")}
        verdict.not_in_manychat += shown.differing(self._system, decisions, people, ledger.unsaid)
        verdict.flows_twice += shown.flows_twice(self._system, self._store, decisions)
        manychat = self._system.manychat
        verdict.manychat.update(path.rsplit("/", 1)[1] for _, path, _ in manychat.calls)
        verdict.manychat["flows started"] = len(manychat.started)
        verdict.manychat["calls into a stop"] = sum(manychat.stops)
        verdict.most_calls = manychat.most_in_a_second()
        if verdict.most_calls > LIMIT:
            verdict.other.append(f"{verdict.most_calls} calls to ManyChat in one second")

    def _examine_opportunities(
        self, verdict: Verdict, ledger: Ledger, events: dict[str, Any], decisions: Decisions
    ) -> None:
        """One opportunity for each person, in the right stage, with one line of history for each move."""
        leads = {row.id: row for row in self._system.database_rows("SELECT id, stage_id FROM crm_lead")}
        lead_of = {
            row.manychat_id: row.lead_id for row in self._system.database_rows("SELECT * FROM manychat_identity")
        }
        statement = "SELECT manychat_stage_id AS number, stage_id FROM manychat_stage_map"
        stages = {row.number: row.stage_id for row in self._system.database_rows(statement)}
        history = self._read_history()
        heard: dict[int, Heard] = defaultdict(Heard)
        written = self._read_written()
        taken_for_echoes = {row.event_id for rows in written.values() for row in rows}
        applied: dict[int, Moves] = defaultdict(Counter)
        for event in events.values():
            if event.outcome not in APPLIED:
                continue
            lead = lead_of.get(event.manychat_id)
            if event.lead_id != lead and event.manychat_id not in decisions.deleted:
                verdict.lost.append(f"{event.manychat_id}: {event.event_id} is of {event.lead_id}, not of {lead}")
            if event.outcome == "moved":
                applied[event.lead_id][(event.stage_before_id, event.stage_after_id)] += 1
            received = event.received_at.replace(tzinfo=timezone.utc)
            when = _occurred(event.payload["state"].get("date"), received)
            number = event.payload["state"]["stage_id"]
            one = Happened(when, received, event.event_id, stages[number])
            is_echo, is_taken = bool((event.extra or {}).get("is_echo")), event.event_id in taken_for_echoes
            verdict.mistaken += is_taken and not is_echo
            heard[event.lead_id].add(one, number, written[event.manychat_id], is_echo=is_echo, is_taken=is_taken)
        verdict.opportunities = len(leads)
        verdict.doubled += [f"opportunity {lead} is nobody's" for lead in sorted(leads.keys() - set(lead_of.values()))]
        for lead in sorted(heard.keys() & leads.keys()):
            by_people = [row for row in history.get(lead, []) if row.create_uid in self._people]
            verdict.moves += len(by_people)
            moves = [decided_by(row, ledger.acts, self._system.users) for row in by_people]
            moves += _fences(lead, decisions)
            allowed = heard[lead].may_rest_in(moves)
            if lead in decisions.merged:
                # The opportunity that stays keeps its stage, and takes over the newest moment of both.
                allowed |= {_fences(lead, decisions, "merged")[-1].stage}
            if allowed and leads[lead].stage_id not in allowed:
                verdict.out_of_order.append(
                    f"opportunity {lead} is in {leads[lead].stage_id}, not in {sorted(allowed)}"
                )
            told = Counter((row.before, row.after) for row in history.get(lead, []) if row not in by_people)
            extra, missing = unmatched(applied[lead], told)
            verdict.doubled += [f"opportunity {lead} moved once too often: {move}" for move in extra]
            verdict.lost += [f"opportunity {lead}: no history of {move}" for move in missing]

    def _examine_fields(self, verdict: Verdict, audit: dict[str, Any], decisions: Decisions) -> None:
        """SQL and Odoo hold the same values of everybody whose events are all applied."""
        of_opportunities = [row for row in audit.values() if row.type == "opportunity"]
        unfinished = {row.manychat_id for row in of_opportunities if row.outcome not in APPLIED}
        # After a deletion SQL knows more than the new opportunity.
        people = {row.manychat_id for row in of_opportunities} - unfinished - decisions.deleted
        verdict.not_in_sql += disagreements(self._system, self._store, people)

    # --- Reading

    def _sql(self, statement: str) -> list[Any]:
        with self._store.connect() as connection:
            return list(connection.execute(sa.text(statement)))

    def _read_events(self) -> list[Any]:
        return self._system.database_rows("SELECT * FROM manychat_event")

    def _read_history(self) -> dict[int, list[Any]]:
        rows = self._system.database_rows(
            """
            SELECT message.res_id, message.create_date, value.create_uid,
                   value.old_value_integer AS before, value.new_value_integer AS after
              FROM mail_tracking_value value
              JOIN mail_message message ON message.id = value.mail_message_id AND message.model = 'crm.lead'
              JOIN ir_model_fields field ON field.id = value.field_id AND field.name = 'stage_id'
            """
        )
        history: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            history[row.res_id].append(row)
        return history

    def _read_written(self) -> dict[str, list[Any]]:
        """The stages that were written to ManyChat, by person."""
        written: dict[str, list[Any]] = defaultdict(list)
        with self._store.connect() as connection:
            for row in connection.execute(sa.select(manychat_echoes)):
                written[row.manychat_id].append(row)
        return written

    def _read_partners(self) -> list[Any]:
        everything = "SELECT count(*), md5(string_agg(row::text, '' ORDER BY id)) FROM res_partner row"
        return self._system.database_rows(everything)

    def _left_over(self, notices: int) -> Iterator[tuple[str, int]]:
        """:param notices: that must be there; a killed queue may lose some, and the dead letters are in SQL"""
        for name, depth in self.depths().items():
            # A notice may come twice: a bridge is killed after sending it, before noting that. It may not be missing.
            if depth < notices if name == DEAD_LETTER_QUEUE else depth:
                yield name, depth


def _occurred(date: str | None, received: datetime) -> datetime:
    if date is None:
        return received
    moment = datetime.fromisoformat(date.replace("Z", "+00:00"))
    return received if moment > received + timedelta(hours=24) else moment


def _fences(lead: int, decisions: Decisions, *kinds: str) -> list[Decided]:
    """Decisions that let the opportunity stay where it is, and older events no longer move it; in order."""
    rows = [row for row in decisions.of(*(kinds or ("lost", "restored"))) if row.lead_id == lead]
    moments = ((row.occurred_at.replace(tzinfo=timezone.utc), row.payload["state"]["stage_id"]) for row in rows)
    # The user's request began before Odoo read the state.
    return sorted(Decided(moment - _UNANSWERED, moment, stage) for moment, stage in moments)


def decided_by(row: Any, acts: Iterable[Act], users: Mapping[str, int]) -> Decided:
    """When the move in a line of history was made: after its transaction began, before its answer came.

    :param users: ids in Odoo by login: two users may work on one opportunity at once
    """
    began = row.create_date.replace(tzinfo=timezone.utc)
    for act in acts:
        is_theirs = users[act.login] == row.create_uid and row.res_id in act.lead_ids
        if is_theirs and act.began <= began <= act.ended:
            return Decided(began, act.ended if act.answered else began + _UNANSWERED, row.after)
    return Decided(began, began + _UNANSWERED, row.after)
