"""Three months of invented conversations, for databases with demo data. Nobody in them is real."""

import random
from collections import namedtuple
from datetime import timedelta, timezone

from odoo import api, models

from bridge.contract.event import EventType, accept, format_datetime

from ..hooks import create_users, map_stages
from ..models.manychat_event import naive_utc

OPPORTUNITIES = 60
DAYS = 90
#: Always the same conversations, each time relative to the day of the installation.
SEED = 2026
FIRST_NAMES = ["Ana", "Beto", "Clara", "Dora", "Elías", "Flora", "Gael", "Hilda", "Iván", "Julia", "Karla", "Leo"]
LAST_NAMES = ["Inventada", "Ficticia", "Ejemplo", "De Muestra", "Imaginaria"]
CHANNELS = ["Facebook", "Facebook", "Instagram", "WhatsApp"]
COMMERCIAL, MEDICAL = {700: "Adriana Ejemplo", 701: "Bruno Ejemplo"}, {101: "Dra. Ficticia", 102: "Dr. De Muestra"}
SUMMARIES = [
    "Pregunta por el precio de la consulta.",
    "Quiere una cita esta semana.",
    "Pide que la llamen por la tarde.",
]
LOST = "lost"
#: Ways through the funnel, as ManyChat stage numbers. A number in a list of its own: a person moved it there.
WAYS = [
    [16, 17, 19, 21, 22, 23, [25], 26],
    [16, 17, 19, 25, 26],
    [17, 19, 21, 22, 23, 25, [26]],
    [16, 17, 18, [19], 25, LOST],
    [16, 17, LOST],
    [17, 19, 21, 20, 22, 24, 19, 25, 26],
    [16, 17, 19, 21, 22, 24, 19, LOST],
    [16, [19], 21, 22, 23, 25],
    [17, 18, 17, 19, 21, LOST],
    # Those that have stopped somewhere, each in another stage
    *([16], [16, 17], [17, 18], [16, 17, 19], [17, 19, 21, 20], [19, 21], [17, 19, 21, 22], [19, 21, 22, 23]),
    *([21, 22, 24], [16, 17, 19, 25]),
]
Step = namedtuple("Step", "moment number by_person")


class ManychatDemo(models.AbstractModel):
    _name = "manychat.demo"
    _description = "ManyChat Demo Data"

    @api.model
    def _load(self):
        """Have the conversations take place: the chat's part by applying events, people's by doing what they do."""
        # Demo data is loaded before the installation's hook.
        create_users(self.env)
        map_stages(self.env)
        advisors = [
            {"role": role, "external_id": number, "name": name}
            for role, people in (("commercial", COMMERCIAL), ("medical", MEDICAL))
            for number, name in people.items()
        ]
        advisors[0]["user_id"] = self.env.ref("base.user_admin").id
        self.env["manychat.advisor"].create(advisors)
        chance = random.Random(SEED)  # noqa: S311 - no secret
        conversations = [self._conversation(chance, n) for n in range(OPPORTUNITIES)]
        leads = {}
        for turn in range(max(len(steps) for _person, steps in conversations)):
            due = [(person, steps[turn]) for person, steps in conversations if turn < len(steps)]
            events = [_envelope(person, step) for person, step in due if not step.by_person]
            results = self.env["crm.lead"].with_user(self.env.ref("miasalud_crm.user_bridge")).manychat_apply(events)
            chats = (person["manychat_id"] for person, step in due if not step.by_person)
            leads |= {name: result["lead_id"] for name, result in zip(chats, results, strict=True)}
            for person, step in due:
                if step.by_person:
                    self._decide(self.env["crm.lead"].browse(leads[person["manychat_id"]]), step)
        self._backdate(
            self.env["crm.lead"]
            .with_context(active_test=False, tracking_disable=True)
            .browse(sorted(set(leads.values()))),
            chance,
        )

    def _conversation(self, chance, number):
        """Who, and the steps of their way that have happened by now."""
        person = {
            "manychat_id": f"DEMO-{number + 1:03}",
            "first_name": FIRST_NAMES[number % len(FIRST_NAMES)],
            "last_name": LAST_NAMES[number % len(LAST_NAMES)],
            "phone": f"+52000{number:07}",
            "channel": chance.choice(CHANNELS),
            "commercial_advisor_id": chance.choice([*COMMERCIAL, 0]),
            "medical_advisor_id": chance.choice([*MEDICAL, 0]),
        }
        now = self.env.cr.now().replace(tzinfo=timezone.utc)
        way = WAYS[number % len(WAYS)]
        moment = now - timedelta(days=chance.uniform(len(way) * 1.5, DAYS))
        person["entry_date"] = moment.isoformat()
        steps = []
        for stage in way:
            by_person = stage == LOST or (isinstance(stage, list) and bool(steps))
            steps.append(Step(moment, stage[0] if isinstance(stage, list) else stage, by_person))
            moment += timedelta(hours=chance.lognormvariate(2, 1.2))
            if moment > now:
                break
        return person, steps

    def _decide(self, lead, step):
        """A person moves or loses the opportunity, as of the step's moment."""
        before = self.env["manychat.stage.history"]._last_stays(lead.ids)[lead.id]
        if step.number == LOST:
            lead.action_set_lost()
        else:
            lead.stage_id = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", step.number)]).stage_id
        self.env.flush_all()
        self.env.cr.precommit.run()  # a line of its own in the chatter
        stamp, moment = f"{format_datetime(step.moment)}|{format_datetime(step.moment)}|", naive_utc(step.moment)
        lead.write({"manychat_order": stamp, "manychat_last_date": moment})
        history = self.env["manychat.stage.history"]
        history.browse(before["id"]).left_at = moment
        history.search([("lead_id", "=", lead.id), ("id", ">", before["id"])]).entered_at = moment

    def _backdate(self, leads, chance):
        """Have everything else that carries a time agree with the history."""
        self.env.flush_all()
        for lead in leads:
            lead.expected_revenue = chance.randrange(10, 80) * 50
            stays = self.env["manychat.stage.history"].search([("lead_id", "=", lead.id)], order="id")
            moments = [*stays.mapped("entered_at"), *stays[-1:].filtered("left_at").mapped("left_at")]
            messages = lead.message_ids.sorted("id")
            told = messages[:1] | messages.filtered("tracking_value_ids")
            for message, moment in zip(told, moments, strict=False):
                message.date = moment
            values = {"date_last_stage_update": stays[-1:].entered_at}
            if not lead.active or lead.stage_id.is_won:
                values["date_closed"] = moments[-1]
            lead.write(values)
        self.env.flush_all()
        self.env.cr.execute(
            """
            UPDATE crm_lead lead
               SET create_date = first.entered_at,
                   date_open = CASE WHEN lead.user_id IS NOT NULL THEN first.entered_at END
              FROM (SELECT lead_id, min(entered_at) AS entered_at FROM manychat_stage_history GROUP BY lead_id) first
             WHERE first.lead_id = lead.id AND lead.id = ANY(%(leads)s);
            UPDATE manychat_event SET applied_at = received_at + interval '1 second' WHERE lead_id = ANY(%(leads)s)
            """,
            {"leads": leads.ids},
        )
        self.env.invalidate_all()


def _envelope(person, step):
    state = {"stage_id": step.number, "date": step.moment.isoformat()}
    if step.number in (17, 21, 25):
        state["summary"] = SUMMARIES[step.number % len(SUMMARIES)]
    payload = {**person, "state": state}
    return accept(EventType.OPPORTUNITY, payload, received_at=step.moment, source="odoo").envelope()
