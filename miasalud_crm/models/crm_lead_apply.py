"""How events land on opportunities: :meth:`crm.lead.manychat_apply`, which the bridge calls, and all it takes."""

import json
import logging
import traceback
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime, timezone

import psycopg2
from markupsafe import Markup, escape

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from bridge.contract.event import ContractError, EventType, format_datetime, from_envelope

from .manychat_advisor import COMMERCIAL, MEDICAL
from .manychat_event import naive_utc
from .manychat_identity import APPLYING
from .manychat_stage_history import CHAT

_logger = logging.getLogger(__name__)

#: Parts of a name as events carry them: remembered in ``manychat_values``, together the contact's name.
NAME_PARTS = {"first_name", "last_name"}
#: Another transaction was in the way. In Odoo's REPEATABLE READ only a new transaction can see what it did, so the
#: caller has to call again.
CONFLICTS = (
    psycopg2.errors.SerializationFailure,
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.LockNotAvailable,
)
#: What two transactions may create at the same moment. A duplicate elsewhere is a rule of somebody else's, which the
#: next try would break again.
CREATED_BY_EVENTS = ("manychat_", "utm_source")
#: The id of the team of new opportunities whose stage names none.
DEFAULT_TEAM_PARAMETER = "miasalud_crm.default_team_id"


class CrmLead(models.Model):
    # A file of its own: what it takes to apply events is as long as all the rest together.
    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    def manychat_apply(self, events):
        """Create and move opportunities as ``events`` say. For the group “ManyChat Bridge”, over RPC.

        The batch is applied as a whole; only if that fails is it halved, until the event at fault stands alone. An
        event applied before is not applied again: its result then is that of the first time, with code ``duplicate``.

        :param list events: envelopes as on the queue (see ``bridge.contract.event``), in any order
        :return list: one dict per event, in the same order: ``event_id``; ``status`` (``created``, ``moved``,
            ``updated``, ``unchanged``, ``stale``, ``retry``, ``error``); ``lead_id``; ``stage_before`` and
            ``stage_after`` (names); ``code`` and ``message``. Values that do not apply are ``False``.
            ``retry``: another transaction was in the way, call again in a moment.
        :raises AccessError: the caller is not in that group
        :raises UserError: ``events`` is no list
        """
        if not self.env.user.has_group("miasalud_crm.group_bridge"):
            raise AccessError(self.env._("Only the ManyChat bridge may call this."))
        if not isinstance(events, list | tuple):
            raise UserError(self.env._("Events come as a list."))
        self = self.sudo().with_context(
            **{
                APPLYING: True,
                "lang": "en_US",
                "mail_create_nosubscribe": True,  # the bridge's user follows nothing
                "mail_notify_force_send": False,  # the batch does not wait for a mail server
            }
        )
        results, valid = {}, {}
        for position, envelope in enumerate(events):
            try:
                event = from_envelope(envelope)
                if event.type is not EventType.OPPORTUNITY:
                    raise ContractError("invalid", f"An event of type “{event.type.value}” concerns no opportunity.")
                valid.setdefault(event.id, (event, []))[1].append(position)
            except ContractError as error:
                event_id = envelope.get("id") if isinstance(envelope, dict) else False
                results[position] = _result(event_id, "error", code=error.code, message=error.message)
        # Oldest first, so that the history reads as it happened.
        applied = self._manychat_apply_or_halve(sorted((event for event, _ in valid.values()), key=lambda e: e.order))
        for event_id, (_event, positions) in valid.items():
            results.update(dict.fromkeys(positions, applied[event_id]))
        return [results[position] for position in range(len(events))]

    def _manychat_apply_or_halve(self, events):
        """Apply ``events`` together, or, if that fails, each half on its own.

        :return dict: event id → result
        """
        if not events:
            return {}
        try:
            with self._manychat_savepoint():
                return self._manychat_apply_batch(events)
        except Exception as error:
            if not _is_conflict(error) and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
                raise  # the database is in trouble, which is no event's fault
            if len(events) == 1:
                event = events[0]
                return {
                    event.id: _result(event.id, "retry") if _is_conflict(error) else self._manychat_refuse(event, error)
                }
        middle = len(events) // 2
        return self._manychat_apply_or_halve(events[:middle]) | self._manychat_apply_or_halve(events[middle:])

    @contextmanager
    def _manychat_savepoint(self):
        """A savepoint that includes the history of what happens in it.

        Odoo writes tracking values before the commit, outside any savepoint, where one bad event would take all down;
        and its own savepoints flush as the calling user, who has no access to what they flush.
        """
        cr = self.env.cr
        try:
            with cr.savepoint(flush=False):
                yield
                self._manychat_flush()
        except Exception:
            cr.clear()  # what was cached or pending belongs to what has been rolled back
            raise

    def _manychat_flush(self):
        self.env.flush_all()
        self.env.cr.precommit.run()

    def _manychat_refuse(self, event, error):
        """Note why Odoo refused an event. It stays on its queue: the bridge tries it again, and says if it gives up."""
        # Where it happened, without the error's own text: that may hold a person's data.
        where = "".join(traceback.format_tb(error.__traceback__))
        _logger.warning("ManyChat event %s was refused: %s\n%s", event.id, type(error).__name__, where)
        # An error's first argument is its message; a database error's would show the row.
        message = str(error.args[0]) if error.args and not isinstance(error, psycopg2.Error) else type(error).__name__
        result = _result(event.id, "error", code="refused", message=message)
        try:
            with self._manychat_savepoint():
                rows, _busy = self._manychat_event_rows([event])
                if row := rows.get(event.id):
                    row.write({"code": "refused", "message": message, "alias_id": False, "refusals": row.refusals + 1})
        except psycopg2.Error as log_error:
            if not _is_conflict(log_error):
                raise
            return _result(event.id, "retry")
        return result

    def _manychat_apply_batch(self, events):
        """Apply ``events`` (oldest first), all or none.

        :return dict: event id → result
        """
        results = {}
        rows, busy = self._manychat_event_rows(events)
        leads, locked = self._manychat_leads({event.manychat_id for event in events})
        resolve = self.env["manychat.stage.map"]._resolver()
        waves = []  # the first event of each opportunity, then the second of each, …: a line in history for each move
        turn = defaultdict(int)
        for event in events:
            if event.id in busy or event.manychat_id in locked:
                results[event.id] = _result(event.id, "retry")
            elif rows[event.id].state == "done":
                results[event.id] = self._manychat_known_result(rows[event.id])
            elif rows[event.id].state == "discarded":
                message = self.env._("Somebody discarded this event; Retry in Odoo takes that back.")
                results[event.id] = _result(event.id, "error", code="discarded", message=message)
            elif not (stage := resolve(event.payload.state.stage_id, event.payload.state.stage)):
                results[event.id] = self._manychat_unmapped(event, rows[event.id])
            else:
                # Merged opportunities follow several people, and also take one event a wave.
                whose = leads.get(event.manychat_id, event.manychat_id)
                position = turn[whose]
                turn[whose] += 1
                if position == len(waves):
                    waves.append([])
                waves[position].append((event, stage))
        for wave in waves:
            results |= self._manychat_apply_wave(wave, leads, rows)
            self._manychat_flush()
        return results

    def _manychat_apply_wave(self, wave, leads, rows):
        """Apply at most one event of each opportunity.

        :param list wave: pairs of event and ``manychat.stage.map``
        :param dict leads: ManyChat id → lead; extended by what is created
        :param dict rows: event id → ``manychat.event``
        :return dict: event id → result
        """
        advisors = self._manychat_advisors([event for event, _stage in wave])
        sources = self._manychat_sources([event for event, _stage in wave])
        # In one order everywhere: two bridges that create the same people would otherwise wait for each other.
        newcomers = sorted(
            ((event, stage) for event, stage in wave if event.manychat_id not in leads),
            key=lambda newcomer: newcomer[0].manychat_id,
        )
        moves = [(event, stage) for event, stage in wave if event.manychat_id in leads]
        outcomes = self._manychat_create(newcomers, leads, advisors, sources)
        outcomes |= self._manychat_move(moves, leads, advisors, sources)
        results = {}
        for event, _stage in wave:
            lead = leads[event.manychat_id]
            status, before = outcomes[event.id]
            results[event.id] = _result(
                event.id, status, lead_id=lead.id, stage_before=before.name, stage_after=lead.stage_id.name
            )
            self._manychat_log(rows[event.id], results[event.id], lead, before)
        return results

    # ------------------------------------------------------------
    # Finding and locking
    # ------------------------------------------------------------

    def _manychat_event_rows(self, events):
        """The locked ``manychat.event`` rows of ``events``, made where an event did not come through the webhook.

        :return tuple: dict of event id → row, and the set of event ids that another transaction is working on
        """
        Event = self.env["manychat.event"]
        by_id = {event.id: event for event in events}
        # In one order everywhere, so that two bridges cannot wait for each other.
        self.env.cr.execute(
            "SELECT id FROM manychat_event WHERE event_id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED",
            [list(by_id)],
            log_exceptions=False,
        )
        locked = Event.browse([row[0] for row in self.env.cr.fetchall()])
        locked.invalidate_recordset()
        rows = {row.event_id: row for row in locked}
        known = set(Event.search([("event_id", "in", list(by_id))]).mapped("event_id"))
        missing = [event for event in events if event.id not in known]
        created = Event.create(
            [
                {
                    "event_id": event.id,
                    "type": event.type.value,
                    "manychat_id": event.manychat_id,
                    "state": "queued",
                    "payload": event.payload.canonical(),
                    "source": event.source,
                    "received_at": naive_utc(event.received_at),
                    "occurred_at": naive_utc(event.occurred_at),
                }
                for event in missing
            ]
        )
        created.flush_recordset()  # another bridge may be making the same row: find out now
        rows.update({row.event_id: row for row in created})
        return rows, by_id.keys() - rows.keys()

    def _manychat_leads(self, manychat_ids):
        """The locked leads of ``manychat_ids``.

        An id without a lead is locked as well, so that of two bridges that meet a new person at the same moment one
        creates them, and the other need not fail to find out.

        :return tuple: dict of ManyChat id → lead, and the set of ids that another transaction is working on
        """
        identities = self.env["manychat.identity"].search([("manychat_id", "in", list(manychat_ids))])
        self.env.cr.execute(
            "SELECT id FROM crm_lead WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
            [identities.lead_id.ids],
            log_exceptions=False,
        )
        free = {row[0] for row in self.env.cr.fetchall()}
        leads = {identity.manychat_id: identity.lead_id for identity in identities if identity.lead_id.id in free}
        known = set(identities.mapped("manychat_id"))
        new = sorted(set(manychat_ids) - known)
        self.env.cr.execute(
            """
            SELECT id, pg_try_advisory_xact_lock(hashtextextended('manychat_id ' || id, 0))
              FROM unnest(%s::text[]) AS id
            """,
            [new],
        )
        return leads, (known - leads.keys()) | {manychat_id for manychat_id, got in self.env.cr.fetchall() if not got}

    def _manychat_advisors(self, events):
        """The advisers that ``events`` name: dict of (role, ManyChat id) → ``manychat.advisor``."""
        Advisor = self.env["manychat.advisor"]
        named = {
            COMMERCIAL: {event.payload.commercial_advisor_id for event in events} - {None},
            MEDICAL: {event.payload.medical_advisor_id for event in events} - {None},
        }
        return {
            (role, number): advisor
            for role, numbers in named.items()
            if numbers
            for number, advisor in Advisor._find_or_create(role, numbers).items()
        }

    # ------------------------------------------------------------
    # Creating and moving
    # ------------------------------------------------------------

    def _manychat_create(self, newcomers, leads, advisors, sources):
        """Create the opportunities of people who are new.

        :return dict: event id → (status, stage before)
        """
        vals_list = []
        default_team = self._manychat_default_team() if newcomers else None
        for event, stage in newcomers:
            team = stage.team_id or (default_team if _is_open_to(stage.stage_id, default_team) else stage.team_id)
            said = self._manychat_said(event, advisors, sources, team.company_id)
            said.setdefault("name", event.payload.phone or event.manychat_id)
            vals = {
                "type": "opportunity",
                "user_id": False,  # not the bridge's own user, which would be the default
                "stage_id": stage.stage_id.id,
                "manychat_identity_ids": [fields.Command.create({"manychat_id": event.manychat_id})],
                **{name: value for name, value in said.items() if name not in NAME_PARTS},
                **self._manychat_position(event),
                "manychat_last_event_date": naive_utc(event.occurred_at),
                "manychat_values": _jsonable(said),
            }
            if team:  # else Odoo finds the salesperson's own
                vals["team_id"] = team.id
            vals_list.append(vals)
        created = self.create(vals_list)
        for (event, _stage), lead in zip(newcomers, created, strict=True):
            leads[event.manychat_id] = lead
        self._manychat_record([(event, leads[event.manychat_id]) for event, _stage in newcomers])
        self._manychat_log_summaries([(event, leads[event.manychat_id]) for event, _stage in newcomers])
        nowhere = self.env["crm.stage"]
        return {event.id: ("created", nowhere) for event, _stage in newcomers}

    def _manychat_default_team(self):
        """The team that the settings name for opportunities whose stage names none, or an empty one."""
        team_id = self.env["ir.config_parameter"].get_param(DEFAULT_TEAM_PARAMETER)
        # A team that has been archived since is not found.
        return self.env["crm.team"].search([("id", "=", int(team_id or 0))])

    def _manychat_move(self, moves, leads, advisors, sources):
        """Move opportunities to the stages of newer events, and take over what the events say.

        :return dict: event id → (status, stage before)
        """
        outcomes, stage_moves, changed, notes = {}, defaultdict(self.browse), [], []
        for event, stage in moves:
            lead = leads[event.manychat_id]
            before = lead.stage_id
            newer = _order_key(event) > (lead.manychat_order or "")
            status = "unchanged" if newer else "stale"
            if newer and not lead.active:
                lead.action_unarchive()  # as Odoo's own button does, which also clears the lost reason
                status = "updated"
                changed.append((event, lead))
            said = self._manychat_said(event, advisors, sources, lead.company_id, lead.manychat_values or {}, newer)
            reassigned = newer and lead._manychat_reassigned(said, event)
            vals = lead._manychat_changes(said, newer, {"user_id"} if reassigned else ())
            if "user_id" in vals and lead.team_id:
                vals["team_id"] = lead.team_id.id  # Odoo would replace it by the salesperson's own
            if vals.keys() - {"manychat_values"} or event.payload.state.summary:
                status = status if status == "stale" else "updated"
            if newer:
                vals |= self._manychat_position(event)
            happened_at = naive_utc(event.occurred_at)
            if not lead.manychat_last_event_date or happened_at > lead.manychat_last_event_date:
                vals["manychat_last_event_date"] = happened_at
            if vals:
                lead.write(vals)
            if newer and before != stage.stage_id:
                status = "moved"
                stage_moves[stage.stage_id] |= lead
                changed.append((event, lead))
                if event.payload.state.summary:
                    lead._track_set_log_message(_as_html(event.payload.state.summary))
            else:
                notes.append((event, lead))
            outcomes[event.id] = (status, before)
        # Together, and only leads that are elsewhere: Odoo resets the dates of a lead that is “moved” to its own stage.
        for stage, group in stage_moves.items():
            group.write({"stage_id": stage.id})
        self._manychat_record(changed)
        self._manychat_log_summaries(notes)
        return outcomes

    def _manychat_record(self, changed):
        """Have the stage history tell where events have put opportunities.

        :param list changed: pairs of event and lead
        """
        if changed:
            self.env["manychat.stage.history"]._record(
                [
                    {
                        "lead_id": lead.id,
                        "stage_id": lead.stage_id.id,
                        "moment": naive_utc(event.occurred_at),
                        "moved_by": CHAT,
                        "event_id": event.id,
                    }
                    for event, lead in changed
                ]
            )

    def _manychat_said(self, event, advisors, sources, company, known=None, newer=True):
        """The values of lead fields that ``event`` carries; fields it does not mention are not in it.

        :param company: ``res.company`` of the opportunity, or an empty one
        :param dict known: what the chat has said of the person so far
        :param bool newer: whether the event is newer than that
        """
        payload = event.payload
        commercial = advisors.get((COMMERCIAL, payload.commercial_advisor_id))
        medical = advisors.get((MEDICAL, payload.medical_advisor_id))
        said = {
            "first_name": payload.first_name,
            "last_name": payload.last_name,
            "phone": payload.phone,
            "user_id": commercial and commercial._salesperson(company).id,
            "source_id": sources.get(payload.channel),
            "manychat_channel": payload.channel,
            "manychat_entry_date": payload.entry_date and naive_utc(payload.entry_date),
            "manychat_commercial_advisor_id": commercial and commercial.id,
            "manychat_medical_advisor_id": medical and medical.id,
        }
        said = {name: value for name, value in said.items() if value}
        if NAME_PARTS & said.keys():
            # An event may carry half a name; the other half is what was known.
            parts = (known or {}) | said if newer else said | (known or {})
            person = " ".join(parts[part] for part in ("first_name", "last_name") if parts.get(part))
            said |= {"name": person, "contact_name": person}
        return said

    def _manychat_changes(self, said, newer, overruled=()):
        """What of ``said`` to write: neither over what a person changed, nor over what newer events said.

        :param bool newer: whether the event is newer than all that is known; an older one only fills empty fields
        :param overruled: fields of which the event says something new, decided after what a person decided
        """
        self.ensure_one()
        known = self.manychat_values or {}
        fresh = _jsonable(said)
        completes_name = bool(NAME_PARTS & (said.keys() - known.keys()))
        changes, learnt = {}, {}
        for name, value in said.items():
            if name in NAME_PARTS:
                if newer or name not in known:
                    learnt[name] = fresh[name]
                continue
            now = self._manychat_value(name)
            by_person = now != known.get(name, False) and name not in overruled
            fills = not now and name not in known
            if name in ("name", "contact_name") and completes_name and not by_person:
                fills = True
            if fresh[name] != now and ((newer and not by_person) or fills):
                changes[name] = value
            if newer or name in changes:
                learnt[name] = fresh[name]
        if known | learnt != known:
            changes["manychat_values"] = known | learnt
        return changes

    def _manychat_value(self, name):
        """The field's present value in the form that ``manychat_values`` has."""
        value = self[name]
        return _jsonable({name: value.id if isinstance(value, models.BaseModel) else value})[name]

    def _manychat_position(self, event):
        """The fields that say how far an opportunity has got in the order of events."""
        vals = {"manychat_order": _order_key(event), "manychat_last_date": naive_utc(event.occurred_at)}
        if event.payload.state.summary:
            vals["manychat_summary"] = event.payload.state.summary
        return vals

    def _manychat_sources(self, events):
        """The ids of the UTM sources named as the channels of ``events``, made where they are new: dict by name."""
        names = {event.payload.channel for event in events} - {None}
        Source = self.env["utm.source"]
        found = Source.search([("name", "in", list(names))]) if names else Source
        found |= Source.create([{"name": name} for name in sorted(names - set(found.mapped("name")))])
        return {source.name: source.id for source in found}

    # ------------------------------------------------------------
    # Telling
    # ------------------------------------------------------------

    def _creation_subtype(self):
        subtype = super()._creation_subtype()
        return subtype._manychat_by_chat() if subtype and self.env.context.get(APPLYING) else subtype

    def _track_subtype(self, init_values):
        subtype = super()._track_subtype(init_values)
        return subtype._manychat_by_chat() if subtype and self.env.context.get(APPLYING) else subtype

    def _manychat_log_summaries(self, notes):
        """Write the summaries of pairs of event and lead into the chatter, as text."""
        bodies = {
            lead.id: _as_html(event.payload.state.summary) for event, lead in notes if event.payload.state.summary
        }
        if bodies:
            self.browse(bodies)._message_log_batch(bodies=bodies)

    def _manychat_unmapped(self, event, row):
        """An event whose stage nobody has mapped yet: it fails, and waits on an open alias for a person to decide."""
        state = event.payload.state
        alias = self.env["manychat.stage.alias"]._open(state.stage_id, state.stage)
        message = self.env._(
            "The ManyChat stage “%s” is not mapped to a pipeline stage. Map it under CRM ▸ Configuration ▸ ManyChat ▸ "
            "Stage Aliases; the event then goes through by itself.",
            alias.display_name,
        )
        result = _result(event.id, "error", code="unmapped_stage", message=message)
        self._manychat_log(row, result)
        row.alias_id = alias
        return result

    def _manychat_log(self, row, result, lead=None, before=None):
        """Complete the event's ``manychat.event`` row."""
        row.write(
            {
                "state": "failed" if result["status"] == "error" else "done",
                "outcome": result["status"],
                "code": result["code"],
                "message": result["message"],
                "applied_at": naive_utc(datetime.now(timezone.utc)),
                "lead_id": lead and lead.id,
                "stage_before_id": before and before.id,
                "stage_after_id": lead and lead.stage_id.id,
                "alias_id": False,
            }
        )

    def _manychat_known_result(self, row):
        """The result of an event that was applied before: what it was then."""
        return _result(
            row.event_id,
            row.outcome,
            lead_id=row.lead_id.id,
            stage_before=row.stage_before_id.name,
            stage_after=row.stage_after_id.name,
            code="duplicate",
        )


def _is_open_to(stage, team):
    """Whether opportunities of ``team`` may be in ``stage``: Odoo hides a stage of other teams from them."""
    own_teams = stage["team_ids" if "team_ids" in stage._fields else "team_id"]  # 19 and 18
    return not own_teams or team in own_teams


def _result(event_id, status, *, lead_id=False, stage_before=False, stage_after=False, code=False, message=False):
    return {
        "event_id": event_id,
        "status": status,
        "lead_id": lead_id,
        "stage_before": stage_before,
        "stage_after": stage_after,
        "code": code,
        "message": message,
    }


def _is_conflict(error):
    """Whether another transaction was in the way, so that the same call may succeed in a moment."""
    if isinstance(error, psycopg2.errors.UniqueViolation | psycopg2.errors.ExclusionViolation):
        return (error.diag.table_name or "").startswith(CREATED_BY_EVENTS)
    return isinstance(error, CONFLICTS)


def _order_key(event):
    """``event.order`` as text that sorts the same way."""
    occurred_at, received_at, event_id = event.order
    return f"{format_datetime(occurred_at)}|{format_datetime(received_at)}|{event_id}"


def _jsonable(values):
    return json.loads(json.dumps(values, default=str))


def _as_html(text):
    """``text`` for the chatter: lines kept, markup shown and not obeyed."""
    return Markup("<br/>").join(escape(line) for line in text.splitlines())
