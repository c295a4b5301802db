from collections import defaultdict
from datetime import datetime, timedelta, timezone

from markupsafe import Markup, escape

from odoo import fields, models
from odoo.tools import format_datetime

from bridge.contract.newest import order_of

from ..apply import merge
from ..moments import naive_utc
from ..rights import installed_language
from .manychat_identity import is_applying
from .manychat_setup import is_test_person
from .manychat_stage_history import CHAT, PERSON

#: The id of the team of new opportunities whose stage names none.
DEFAULT_TEAM_PARAMETER = "miasalud_crm.default_team_id"
#: The chatter's own date tells when an event happened, unless it came later than this.
LATE = timedelta(minutes=10)


class CrmLead(models.Model):
    """What the events of a conversation do to opportunities: create, move, update, and leave a trace."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _creation_subtype(self):
        subtype = super()._creation_subtype()
        return subtype._manychat_by_chat() if subtype and is_applying(self.env) else subtype

    def _track_subtype(self, init_values):
        subtype = super()._track_subtype(init_values)
        return subtype._manychat_by_chat() if subtype and is_applying(self.env) else subtype

    # ------------------------------------------------------------
    # Business: creating opportunities
    # ------------------------------------------------------------

    def _manychat_create(self, new_contacts, batch):
        """Create the opportunities of people who have none.

        :param list new_contacts: pairs of event and ``manychat.stage.map``
        :return dict: event id → (status, stage before)
        """
        defaults = (self._manychat_default_team(), self._manychat_default_user()) if new_contacts else ()
        by_company = defaultdict(list)
        for event, stage_map in new_contacts:
            values = self._manychat_create_values(event, stage_map, batch, *defaults)
            by_company[self._manychat_user(values).company_id].append((event, values))
        events_and_leads = []
        for company, group in by_company.items():
            apart = [self._manychat_pop_of_company(values) for _event, values in group]
            created = self._manychat_within(company).create([values for _event, values in group])
            created._manychat_settle()
            for lead, values in zip(created, apart, strict=True):
                lead._manychat_write_of_company(values)
            events_and_leads += zip((event for event, _values in group), created.with_env(self.env), strict=True)
        batch.leads |= {event.manychat_id: lead for event, lead in events_and_leads}
        self._manychat_record_stages(events_and_leads)
        self._manychat_log_lines(events_and_leads)
        return {event.id: ("created", self.env["crm.stage"]) for event, _stage_map in new_contacts}

    def _manychat_create_values(self, event, stage_map, batch, default_team, default_user):
        team = stage_map.team_id
        references = batch.references(event, team.company_id)
        if not team:
            salesperson = self._manychat_user(references) or default_user
            team = self._manychat_team(stage_map.stage_id, salesperson, default_team)
            references = batch.references(event, team.company_id)
        said = merge.event_values(event.payload, references)
        custom = batch.custom.said(event, self._manychat_within(self._manychat_user(references).company_id).browse())
        said, _earlier = merge.with_custom(said, custom, order_of(event), {})
        values = {"name": event.manychat_id, **said, **merge.names(said)}
        is_test = is_test_person(event.manychat_id)
        if not (is_test or values.get("user_id")) and self._manychat_falls_to(default_user, team):
            values["user_id"] = default_user.id  # the chat chose this user, so an adviser may follow
        vals = {
            "type": "opportunity",
            "user_id": False,  # not the bridge's own user, which would be the default
            "stage_id": stage_map.stage_id.id,
            "manychat_identity_ids": [fields.Command.create({"manychat_id": event.manychat_id})],
            **self._manychat_as_commands(
                {name: value for name, value in values.items() if name not in merge.NAME_PARTS}
            ),
            **_order_values(event),
            "manychat_last_event_date": naive_utc(event.occurred_at),
            "manychat_values": merge.jsonable(values),
            "manychat_versions": dict.fromkeys([*said, *map(merge.mark, custom)], order_of(event)),
            **self._manychat_customer_values(event, team, batch),
        }
        if team:  # without one, Odoo finds the salesperson's own
            vals["team_id"] = team.id
        return vals

    def _manychat_default_team(self):
        """The team that the settings name for opportunities whose stage names none, or an empty one."""
        team_id = self.env["ir.config_parameter"].get_param(DEFAULT_TEAM_PARAMETER)
        # A search does not find a team that has been archived since.
        return self.env["crm.team"].search([("id", "=", int(team_id))]) if team_id else self.env["crm.team"]

    # ------------------------------------------------------------
    # Business: moving opportunities
    # ------------------------------------------------------------

    def _manychat_move(self, moves, batch):
        """Move opportunities to the stages of newer events, and write what the events say.

        :param list moves: pairs of event and ``manychat.stage.map``
        :return dict: event id → (status, stage before)
        """
        outcomes, stage_moves, changed, notes = {}, defaultdict(self.browse), [], []
        for event, stage_map in moves:
            lead = batch.leads[event.manychat_id]
            stage_before = lead.stage_id
            # An echo only says what was written to ManyChat: whatever came since is newer, whatever its own date.
            is_echo = event.echo_of or (event.may_echo and lead._manychat_is_placed_by_user(stage_map))
            is_newer = not is_echo and order_of(event) > (lead.manychat_order or "")
            is_restored = is_newer and not lead.active
            if is_restored:
                lead.action_unarchive()  # like Odoo's own button, which also clears the lost reason
            is_converted = lead.type == "lead"
            if is_converted:
                lead._manychat_make_opportunity(stage_map)
            is_moved = is_newer and stage_before != stage_map.stage_id
            entered = stage_map if is_moved or is_restored else stage_map.browse()
            stage = stage_map.stage_id if is_newer else stage_before
            is_updated = lead._manychat_update(event, batch, is_newer, entered, stage) or is_restored or is_converted
            if is_moved:
                stage_moves[stage_map.stage_id] |= lead
                if line := lead._manychat_line(event):
                    lead._track_set_log_message(line)
            elif event.payload.state.summary:
                notes.append((event, lead))
            if is_moved or is_restored:
                changed.append((event, lead))
            is_repeated = is_echo and lead.active and stage_before == stage_map.stage_id
            # A lost one is in no stage: SQL counts another stay from here, also in the stage where it was lost.
            is_entering = is_moved or is_restored
            status = "unchanged" if is_repeated else _move_status(is_newer, is_entering, is_updated)
            outcomes[event.id] = status, stage_before.browse() if is_restored else stage_before
        # Together, and only leads that are elsewhere: Odoo resets the dates of a lead that is “moved” to its own stage.
        # Won ones first: they are counted with their probability, and those of the others are computed at the end.
        in_order = sorted(stage_moves.items(), key=lambda move: not move[0].is_won)
        with self._manychat_scored_together() as leads:
            for stage, group in in_order:
                group.with_env(leads.env).write({"stage_id": stage.id})
        self._manychat_record_stages(changed)
        self._manychat_log_lines(notes)
        return outcomes

    def _manychat_is_placed_by_user(self, stage_map):
        """Whether a user lost the opportunity, or moved it out of the stage that was written to ManyChat.

        No clock is asked: the opportunity was in the stage that was written, so the user has moved it after that.

        :param stage_map: ``manychat.stage.map`` of the written stage
        """
        self.ensure_one()
        if not self.active:
            return True
        last = self.env["manychat.stage.history"]._last_periods(self.ids).get(self.id)
        return bool(last) and last["moved_by"] == PERSON and self.stage_id != stage_map.stage_id

    def _manychat_update(self, event, batch, is_newer, entered, stage):
        """Write what an event says to its opportunity, except for the stage.

        :param bool is_newer: whether the event is newer than all that is known, users' moves included
        :param entered: ``manychat.stage.map`` of the stage that the opportunity moves into, or an empty one
        :param stage: ``crm.stage`` after the event
        :return bool: whether the event said something new
        """
        self.ensure_one()
        values = merge.event_values(event.payload, batch.references(event, self.company_id))
        vals = self._manychat_merged(event, values, batch.custom)
        is_updated = bool(vals.keys() - {*merge.MEMORY} or event.payload.state.summary)
        salesperson = self._manychat_user(vals)
        if "user_id" in vals and self._manychat_keeps_team(salesperson):
            vals["team_id"] = self.team_id.id
        if is_newer:
            vals |= _order_values(event)
        occurred_at = naive_utc(event.occurred_at)
        if not self.manychat_last_event_date or occurred_at > self.manychat_last_event_date:
            vals["manychat_last_event_date"] = occurred_at
        versions = vals.get("manychat_versions") or self._manychat_memory()[1]
        is_newest = versions.get("manychat_summary") == order_of(event)
        vals |= self._manychat_waiting_values(event, entered, stage, is_newest=is_newest)
        if vals:
            lead = self._manychat_within(salesperson.company_id)
            lead._manychat_write_custom(vals)
            lead._manychat_settle()
        return is_updated

    def _manychat_memory(self):
        """What the chat said of each field, and the order of the event that said it.

        Values from before the field *Versions of the Values* count as said by the newest event or move.
        """
        known, versions = self.manychat_values or {}, self.manychat_versions or {}
        if self.manychat_summary:
            known = {"manychat_summary": self.manychat_summary, **known}
        return known, dict.fromkeys(known, self.manychat_order or "") | versions

    # ------------------------------------------------------------
    # Business: history and chatter
    # ------------------------------------------------------------

    def _manychat_record_stages(self, events_and_leads):
        """Write the stages to which events have moved opportunities into the stage history.

        :param list events_and_leads: pairs of event and lead; those of test events count in no funnel
        """
        events_and_leads = [pair for pair in events_and_leads if not is_test_person(pair[0].manychat_id)]
        if events_and_leads:
            self.env["manychat.stage.history"]._record(
                [
                    {
                        "lead_id": lead.id,
                        "stage_id": lead.stage_id.id,
                        "moment": naive_utc(event.occurred_at),
                        "moved_by": CHAT,
                        "event_id": event.id,
                    }
                    for event, lead in events_and_leads
                ]
            )

    def _manychat_log_lines(self, events_and_leads):
        """Write what the events of pairs of event and lead say into the chatter."""
        lines = {lead.id: lead._manychat_line(event) for event, lead in events_and_leads}
        bodies = {lead_id: line for lead_id, line in lines.items() if line}
        if bodies:
            self.browse(bodies)._message_log_batch(bodies=bodies)

    def _manychat_line(self, event):
        """What the chatter says of an event: its summary as text, and its own date if it comes late. May be empty."""
        parts = [_as_html(event.payload.state.summary)] if event.payload.state.summary else []
        if datetime.now(timezone.utc) - event.occurred_at > LATE:
            company = self.company_id or self.env.company
            zone = company.partner_id.tz or company.resource_calendar_id.tz or "UTC"
            # The line is written once, by the bridge: in the language of the salesperson, who reads it.
            lang = installed_language(self.env, self.user_id.lang or company.partner_id.lang)
            env = self.with_context(lang=lang).env
            moment = format_datetime(env, naive_utc(event.occurred_at), tz=zone, dt_format="d MMM y, HH:mm")
            date = env._("This happened on %(moment)s (%(zone)s).", moment=moment, zone=zone)
            parts.append(Markup("<em>%s</em>") % date)
        return Markup("<br/>").join(parts)


def _order_values(event):
    """Values of the lead fields that depend on which event is the newest."""
    return {"manychat_order": order_of(event), "manychat_last_date": naive_utc(event.occurred_at)}


def _move_status(is_newer, is_entering, is_updated):
    if not is_newer:
        return "stale"
    if is_entering:
        return "moved"
    return "updated" if is_updated else "unchanged"


def _as_html(text):
    """``text`` for the chatter: lines kept, markup shown and not obeyed."""
    return Markup("<br/>").join(escape(line) for line in text.splitlines())
