"""What happens in a chat moves one opportunity through Odoo's pipeline, whatever the order, and only once."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import OPPORTUNITY, System, eventually, minutes_ago

# The user's table: number and label in ManyChat, stage in Odoo.
STAGES = [
    (16, "Recién Suscrito (Sin Asignar)", "Recién Suscrito Sin Asignar"),
    (17, "Recién suscrito Pendiente de AC", "Recién Suscrito Pendiente AC"),
    (18, "Retornó en AC", "Retornó en AC"),
    (19, "Comienza Atención Comercial", "Comienza AC"),
    (20, "Retornó a Asesoría especializada", "Retorno a AE"),
    (21, "Derivado Asesoría Médica", "Derivado a AE"),
    (22, "Comienza Asesoría Médica", "Comienza AE"),
    (23, "Terminó Asesoría Médica", "Terminó AE"),
    (24, "No terminó Asesoría especializada", "No Termino AE Derivado AC"),
    (25, "Comienza Cotización", "Comienza Cotización"),
    (26, "Orden de venta Confirmada", "Orden de Venta Confirmada"),
]


@pytest.mark.parametrize("position", range(len(STAGES)), ids=[str(number) for number, _, _ in STAGES])
def test_each_stage_is_created_by_number_and_left_by_label(system: System, manychat_id: str, position: int) -> None:
    number, _, first = STAGES[position]
    _, label, second = STAGES[(position + 1) % len(STAGES)]
    assert system.settle(system.move(manychat_id, number, minutes_ago(10), first_name="Ana")) == ["created"]
    assert system.stage(manychat_id) == first
    assert system.settle(system.move(manychat_id, label, minutes_ago(5))) == ["moved"]
    assert system.stage(manychat_id) == second


def test_sql_knows_what_became_of_an_opportunity(system: System, manychat_id: str) -> None:
    created, moved = minutes_ago(10), minutes_ago(5)
    system.settle(system.move(manychat_id, 17, created))
    event_id = system.move(manychat_id, 19, moved)
    system.settle(event_id)
    (lead,) = system.leads(manychat_id)
    (opportunity,) = system.rows("opportunities", manychat_id=manychat_id)
    assert (opportunity.lead_id, opportunity.odoo_sync_status) == (lead["id"], "success")
    assert opportunity.stage == "Comienza AC"
    (audit,) = system.rows("audit", event_id=event_id)
    assert (audit.stage_before, audit.stage_after) == ("Recién Suscrito Pendiente AC", "Comienza AC")
    assert audit.received_at <= audit.started_at <= audit.finished_at
    (event,) = system.stack.rpc("manychat.event", "search_read", [["event_id", "=", event_id]], fields=["state"])
    assert event["state"] == "done"


def test_the_same_event_again_changes_nothing(system: System, manychat_id: str) -> None:
    system.settle(system.move(manychat_id, 17, minutes_ago(10)))
    date = minutes_ago(5)
    event_id = system.move(manychat_id, 19, date)
    system.settle(event_id)
    before = _history(system, manychat_id)
    assert system.move(manychat_id, 19, date) == event_id  # ManyChat calls again
    for _ in range(10):  # the queue delivers again
        system.put(system.envelope(event_id))
    system.settle(system.move(manychat_id, 19, minutes_ago(4)))  # one more, to see the others through
    eventually(lambda: _queue_is_empty(system), "the queue is empty")
    assert _history(system, manychat_id) == before
    assert len(system.rows("audit", event_id=event_id)) == 1


def test_an_older_event_does_not_move_the_opportunity_back(system: System, manychat_id: str) -> None:
    system.settle(system.move(manychat_id, 23, minutes_ago(5)))
    assert system.settle(system.move(manychat_id, 19, minutes_ago(10))) == ["stale"]
    assert system.stage(manychat_id) == "Terminó AE"


def test_a_persons_move_stands_against_older_events_and_gives_way_to_newer_ones(
    system: System, manychat_id: str
) -> None:
    system.settle(system.move(manychat_id, 17, minutes_ago(30)))
    (lead,) = system.leads(manychat_id)
    system.stack.rpc("crm.lead", "write", [lead["id"]], {"stage_id": system.stage_id("Comienza Cotización")})
    assert system.settle(system.move(manychat_id, 21, minutes_ago(10))) == ["stale"]
    assert system.stage(manychat_id) == "Comienza Cotización"
    assert system.settle(system.move(manychat_id, 26, minutes_ago(-1))) == ["moved"]
    assert system.stage(manychat_id) == "Orden de Venta Confirmada"


def test_after_merging_events_of_both_chats_go_to_the_survivor(system: System) -> None:
    ids = ["E2E-MERGE-1", "E2E-MERGE-2"]
    system.settle(*(system.move(manychat_id, 17, minutes_ago(10)) for manychat_id in ids))
    leads = [lead["id"] for manychat_id in ids for lead in system.leads(manychat_id)]
    context = {"active_model": "crm.lead", "active_ids": leads}
    wizard = system.stack.rpc("crm.merge.opportunity", "create", {"opportunity_ids": [[6, 0, leads]]}, context=context)
    system.stack.rpc("crm.merge.opportunity", "action_merge", [wizard], context=context)
    for manychat_id, stage, name in zip(ids, (19, 21), ("Comienza AC", "Derivado a AE"), strict=True):
        assert system.settle(system.move(manychat_id, stage, minutes_ago(-stage / 10))) == ["moved"]
        assert system.stage(manychat_id) == name
    survivors = {lead["id"] for manychat_id in ids for lead in system.leads(manychat_id)}
    assert len(survivors) == 1


def test_two_bridges_and_many_events_at_once_in_any_order(system: System) -> None:
    bridges = [process for process in system.stack.programs.processes() if process["group"] == "bridge"]
    assert [bridge["statename"] for bridge in bridges] == ["RUNNING", "RUNNING"]
    ids = [f"E2E-MANY-{number}" for number in range(8)]
    steps = [(manychat_id, stage, minutes_ago(100 - stage)) for manychat_id in ids for stage in range(16, 26)]
    random.Random(20250611).shuffle(steps)
    with ThreadPoolExecutor(8) as clients:
        event_ids = list(clients.map(lambda step: system.move(*step), steps))
    outcomes = system.settle(*event_ids)
    assert set(outcomes) <= {"created", "moved", "updated", "unchanged", "stale"}
    assert outcomes.count("created") == len(ids)
    assert {manychat_id: system.stage(manychat_id) for manychat_id in ids} == dict.fromkeys(ids, "Comienza Cotización")


def test_bad_messages_do_not_harm_their_neighbours(system: System) -> None:
    letters = len(system.rows("dead_letters"))
    system.stack.programs.stop_program("bridge")  # so that all are delivered together
    try:
        before = system.move("E2E-GOOD-1", 17, minutes_ago(5))
        system.put("this is neither Base64 nor JSON")
        bad = system.move("E2E-BAD", "Una etapa que nadie conoce", minutes_ago(5))
        system.put("////")
        after = system.move("E2E-GOOD-2", 18, minutes_ago(5))
    finally:
        system.stack.programs.start_program("bridge")
    assert system.settle(before, bad, after) == ["created", "dead_lettered", "created"]
    assert system.leads("E2E-BAD") == []
    eventually(lambda: len(system.rows("dead_letters")) == letters + 3, "three dead letters")


def test_an_unmapped_stage_waits_for_somebody_to_say_what_it_means(system: System, manychat_id: str) -> None:
    event_id = system.move(manychat_id, "Cotización enviada", minutes_ago(5))
    assert system.settle(event_id) == ["dead_lettered"]
    (letter,) = system.rows("dead_letters", event_id=event_id)
    assert letter.code == "unmapped_stage"
    (alias,) = system.stack.rpc("manychat.stage.alias", "search", [["name", "=", "Cotización enviada"]])
    (row,) = system.stack.rpc("manychat.stage.map", "search", [["manychat_stage_id", "=", 25]])
    system.stack.rpc("manychat.stage.alias", "write", [alias], {"map_id": row})
    eventually(lambda: system.leads(manychat_id), "the waiting event creates its opportunity")
    assert system.stage(manychat_id) == "Comienza Cotización"
    eventually(lambda: system.outcome(event_id) == "created", "SQL knows")


def test_a_request_without_the_key_gets_nowhere(system: System, manychat_id: str) -> None:
    payload = {"manychat_id": manychat_id, "state": {"stage_id": 17, "date": minutes_ago(1)}}
    answer = system.call(OPPORTUNITY, payload, X_API_KEY="wrong")
    assert answer.status_code == 401
    assert answer.json()["status"] == "error"


def _history(system: System, manychat_id: str) -> tuple[int, int]:
    """The number of chatter lines and of stage changes in them."""
    (lead,) = system.leads(manychat_id)
    messages = [["model", "=", "crm.lead"], ["res_id", "=", lead["id"]]]
    changes = [["mail_message_id.model", "=", "crm.lead"], ["mail_message_id.res_id", "=", lead["id"]]]
    return (
        system.stack.rpc("mail.message", "search_count", messages),
        system.stack.rpc("mail.tracking.value", "search_count", changes),
    )


def _queue_is_empty(system: System) -> bool:
    from azure.storage.queue import QueueClient

    from bridge.events import OPPORTUNITY_QUEUE

    with QueueClient.from_connection_string(system.stack.connection_string, OPPORTUNITY_QUEUE) as client:
        return client.get_queue_properties().approximate_message_count == 0
