"""Three months of invented conversations, for databases with demo data. No person in them is real."""

import random
from collections import namedtuple
from datetime import timedelta, timezone

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from ..apply.merge import manual_order_key
from ..moments import naive_utc

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
#: Ways through the funnel, as ManyChat stage numbers. A number in a list of its own: an Odoo user moved it there.
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
    # Conversations that have stopped, each in another stage
    *([16], [16, 17], [17, 18], [16, 17, 19], [17, 19, 21, 20], [19, 21], [17, 19, 21, 22], [19, 21, 22, 23]),
    *([21, 22, 24], [16, 17, 19, 25]),
]
Step = namedtuple("Step", "moment number by_user")


def load(env):
    """Let the conversations take place: apply the chat's events, and do what Odoo users do."""
    _create_advisors(env)
    chance = random.Random(SEED)  # noqa: S311 - no secret
    now = env.cr.now().replace(tzinfo=timezone.utc)
    conversations = [_conversation(chance, number, now) for number in range(OPPORTUNITIES)]
    lead_ids = {}
    for position in range(max(len(steps) for _person, steps in conversations)):
        due = [(person, steps[position]) for person, steps in conversations if position < len(steps)]
        by_chat = [(person, step) for person, step in due if not step.by_user]
        events = [_envelope(person, step) for person, step in by_chat]
        results = env["crm.lead"].with_user(env.ref("miasalud_crm.user_bridge")).manychat_apply(events)
        for (person, _step), result in zip(by_chat, results, strict=True):
            lead_ids[person["manychat_id"]] = result["lead_id"]
        for person, step in due:
            if step.by_user:
                _move_as_user(env["crm.lead"].browse(lead_ids[person["manychat_id"]]), step)
    leads = env["crm.lead"].with_context(active_test=False, tracking_disable=True)
    _backdate(leads.browse(sorted(set(lead_ids.values()))), chance)


def _create_advisors(env):
    advisors = [
        {"role": role, "external_id": number, "name": name}
        for role, people in (("commercial", COMMERCIAL), ("medical", MEDICAL))
        for number, name in people.items()
    ]
    advisors[0]["user_id"] = env.ref("base.user_admin").id
    env["manychat.advisor"].create(advisors)


def _conversation(chance, number, now):
    """The person, and the steps of their way that have happened by ``now``."""
    person = {
        "manychat_id": f"DEMO-{number + 1:03}",
        "first_name": FIRST_NAMES[number % len(FIRST_NAMES)],
        "last_name": LAST_NAMES[number % len(LAST_NAMES)],
        "phone": f"+52000{number:07}",
        "channel": chance.choice(CHANNELS),
        "commercial_advisor_id": chance.choice([*COMMERCIAL, 0]),
        "medical_advisor_id": chance.choice([*MEDICAL, 0]),
    }
    way = WAYS[number % len(WAYS)]
    moment = now - timedelta(days=chance.uniform(len(way) * 1.5, DAYS))
    person["entry_date"] = moment.isoformat()
    steps = []
    for stage in way:
        by_user = stage == LOST or (isinstance(stage, list) and bool(steps))
        steps.append(Step(moment, stage[0] if isinstance(stage, list) else stage, by_user))
        moment += timedelta(hours=chance.lognormvariate(2, 1.2))
        if moment > now:
            break
    return person, steps


def _envelope(person, step):
    state = {"stage_id": step.number, "date": step.moment.isoformat()}
    if step.number in (17, 21, 25):
        state["summary"] = SUMMARIES[step.number % len(SUMMARIES)]
    payload = {**person, "state": state}
    return accept(EventType.OPPORTUNITY, payload, received_at=step.moment, source="odoo").envelope()


def _move_as_user(lead, step):
    """Move or lose the opportunity as an Odoo user does, at the step's moment."""
    env = lead.env
    history = env["manychat.stage.history"]
    before = history._last_periods(lead.ids)[lead.id]
    if step.number == LOST:
        lead.action_set_lost()
    else:
        lead.stage_id = env["manychat.stage.map"].search([("manychat_stage_id", "=", step.number)]).stage_id
    env.flush_all()
    env.cr.precommit.run()  # a line of its own in the chatter
    moment = naive_utc(step.moment)
    lead.write({"manychat_order": manual_order_key(step.moment), "manychat_last_date": moment})
    history.browse(before["id"]).left_at = moment
    history.search([("lead_id", "=", lead.id), ("id", ">", before["id"])]).entered_at = moment


def _backdate(leads, chance):
    """Make everything else that carries a time agree with the stage history."""
    env = leads.env
    env.flush_all()
    for lead in leads:
        lead.expected_revenue = chance.randrange(10, 80) * 50
        periods = env["manychat.stage.history"].search([("lead_id", "=", lead.id)], order="id")
        moments = [*periods.mapped("entered_at"), *periods[-1:].filtered("left_at").mapped("left_at")]
        messages = lead.message_ids.sorted("id")
        changes = messages[:1] | messages.filtered("tracking_value_ids")
        for message, moment in zip(changes, moments, strict=False):
            message.date = moment
        values = {"date_last_stage_update": periods[-1:].entered_at}
        if not lead.active or lead.stage_id.is_won:
            values["date_closed"] = moments[-1]
        lead.write(values)
    env.flush_all()
    env.cr.execute(
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
    env.invalidate_all()
