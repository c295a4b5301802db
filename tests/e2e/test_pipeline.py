"""From ManyChat's webhook to Odoo's pipeline, through everything between, with two bridges at work."""

import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE
from tests.world import Chat, World

STAGES = {
    16: "Recién Suscrito Sin Asignar",
    17: "Recién Suscrito Pendiente AC",
    18: "Retornó en AC",
    19: "Comienza AC",
    20: "Retorno a AE",
    21: "Derivado a AE",
    22: "Comienza AE",
    23: "Terminó AE",
    24: "No Termino AE Derivado AC",
    25: "Comienza Cotización",
    26: "Orden de Venta Confirmada",
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_entered_by_its_number_and_left_for_the_next_by_its_label(
    world: World, chat: Chat, stage: int
) -> None:
    assert world.settled(chat.enters(stage)) == ["created"]
    assert chat.stage == STAGES[stage]
    following = stage + 1 if stage + 1 in STAGES else 16
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", following]], fields=["name"])
    assert world.settled(chat.enters(row["name"].upper(), 1)) == ["moved"]
    assert chat.stage == STAGES[following]


def test_an_opportunity_is_created_and_walks_through_all_stages(world: World, chat: Chat) -> None:
    event_ids = [chat.enters(stage, minute) for minute, stage in enumerate(STAGES)]
    outcomes = world.settled(*event_ids)
    assert chat.stage == STAGES[26]
    assert outcomes[0] == "created" or "stale" in outcomes  # two bridges may take the first two in either order
    (row,) = world.sql("SELECT * FROM opportunities WHERE manychat_id = :id", id=chat.manychat_id)
    assert row["odoo_sync_status"] == "success"
    assert row["lead_id"] == chat.lead["id"]
    assert row["last_error"] is None


def test_the_same_event_sent_twice_moves_once(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    first, second = chat.enters(18, 1), chat.enters(18, 1)
    assert first == second
    assert world.settled(first) == ["moved"]
    assert chat.stage_changes == [(STAGES[17], STAGES[18])]


def test_the_same_message_delivered_twice_moves_once(world: World, chat: Chat) -> None:
    """Azure Storage Queue delivers at least once: here the queue itself holds one event three times."""
    world.settled(chat.enters(17))
    event = chat.event(19, 1)
    with QueueClient.from_connection_string(world.stack.connection_string, OPPORTUNITY_QUEUE) as queue:
        for _ in range(3):
            queue.send_message(json.dumps(event))
        world.eventually(lambda: chat.stage == STAGES[19])
        world.eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert chat.stage_changes == [(STAGES[17], STAGES[19])]


def test_an_older_event_after_a_newer_one_does_not_move_the_opportunity_back(world: World, chat: Chat) -> None:
    world.settled(chat.enters(21, 5))
    assert world.settled(chat.enters(17, 1)) == ["stale"]
    assert chat.stage == STAGES[21]


def test_a_persons_move_stands_between_an_older_and_a_newer_event(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    (stage,) = world.odoo("crm.stage", "search", [["name", "=", STAGES[20]]])
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"stage_id": stage})
    assert world.settled(chat.enters(18, 30)) == ["stale"]
    assert chat.stage == STAGES[20]
    assert world.settled(chat.enters(22, 120)) == ["moved"]
    assert chat.stage == STAGES[22]


def test_a_lost_opportunity_comes_back_with_a_newer_event(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    world.odoo("crm.lead", "action_set_lost", [chat.lead["id"]])
    assert world.settled(chat.enters(18, 30)) == ["stale"]
    assert not chat.lead["active"]
    world.settled(chat.enters(19, 120))
    assert chat.lead["active"]


def test_two_merged_opportunities_are_one_for_both_chats(world: World) -> None:
    ana, beto = world.chat(), world.chat()
    world.settled(ana.enters(17), beto.enters(21))
    action = world.odoo(
        "crm.merge.opportunity", "create", {"opportunity_ids": [(6, 0, [ana.lead["id"], beto.lead["id"]])]}
    )
    world.odoo("crm.merge.opportunity", "action_merge", [action])
    assert ana.lead["id"] == beto.lead["id"]
    assert world.settled(ana.enters(22, 10)) == ["moved"]
    assert world.settled(beto.enters(23, 11)) == ["moved"]
    assert ana.stage == STAGES[23]


def test_two_bridges_at_once_neither_lose_nor_double_anything(world: World) -> None:
    """Many people's events at once, so that both bridges work on the same opportunities at the same moment."""
    chats = [world.chat() for _ in range(12)]
    steps = [17, 19, 21, 22, 25]
    events = [chat.enters(stage, minute) for minute, stage in enumerate(steps) for chat in chats]
    outcomes = world.settled(*events)
    assert outcomes.count("created") == len(chats)
    assert "error" not in outcomes
    for chat in chats:
        assert chat.stage == STAGES[25]
        history = [STAGES[steps[0]], *(after for _before, after in chat.stage_changes)]
        assert len(history) == len(set(history))


def test_a_bad_event_does_no_harm_to_the_good_ones_around_it(world: World) -> None:
    before, after = world.chat(), world.chat()
    first = before.enters(17)
    with QueueClient.from_connection_string(world.stack.connection_string, OPPORTUNITY_QUEUE) as queue:
        queue.send_message("%%% this is no event %%%")
        queue.send_message(json.dumps({"manychat_id": "MC-E2E-BAD", "state": {}}))
    second = after.enters(18)
    assert world.settled(first, second) == ["created", "created"]
    for body, code in (("%no event%", "not_json"), ("%MC-E2E-BAD%", "invalid")):
        select = "SELECT code FROM dead_letters WHERE body LIKE :body"
        (row,) = world.eventually(lambda body=body, select=select: world.sql(select, body=body))
        assert row["code"] == code


def test_an_unmapped_stage_waits_for_a_person_and_then_goes_through_by_itself(world: World, chat: Chat) -> None:
    label = f"Etapa {chat.manychat_id}"
    event_id = chat.enters(label)
    row = world.audit(event_id)
    assert (row["outcome"], row["error_code"]) == ("dead_lettered", "unmapped_stage")
    assert not world.odoo("crm.lead", "search", [["x_manychat_id", "=", chat.manychat_id]])
    (alias,) = world.odoo("manychat.stage.alias", "search", [["name", "=", label]])
    (stage,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 24]])
    world.odoo("manychat.stage.alias", "write", [alias], {"map_id": stage})
    world.eventually(lambda: world.sql("SELECT 1 FROM audit WHERE event_id = :e AND outcome = 'created'", e=event_id))
    assert chat.stage == STAGES[24]


def test_contacts_and_campaigns_reach_sql_and_only_sql(world: World, chat: Chat) -> None:
    now = datetime.now(timezone.utc)
    person = {
        "manychat_id": chat.manychat_id,
        "nombre_lead": "Zoë 👩‍⚕️",
        "apellido_lead": "Inventada",
        "canal_entrada": "Facebook",
    }
    assignment = {"manychat_id": chat.manychat_id, "campaign_id": 85, "medico_id": "101", "tipo_asignacion": "medico"}
    update = {"manychat_id": chat.manychat_id, "last_state": "Asignado a médico", "summary": "Agendó."}
    outcomes = world.settled(
        world.send("campaign-assignment", assignment | {"datetime_actual": now.isoformat()}),
        world.send("contact", person | {"datetime_actual": (now + timedelta(seconds=1)).isoformat()}),
    )
    update_id = world.send("/api/v1/manychat/campaign-contacts/update-by-manychat-id", update, "PUT")
    assert "error" not in [*outcomes, *world.settled(update_id)]
    (contact,) = world.sql("SELECT * FROM contacts WHERE manychat_id = :id", id=chat.manychat_id)
    assert (contact["first_name"], contact["last_name"]) == ("Zoë 👩‍⚕️", "Inventada")
    (row,) = world.sql("SELECT * FROM campaign_contacts WHERE contact_id = :id", id=contact["id"])
    assert (row["campaign_id"], row["last_state"], row["summary"]) == (85, "Asignado a médico", "Agendó.")
    assert not world.odoo("crm.lead", "search", [["x_manychat_id", "=", chat.manychat_id]])


def test_a_bare_payload_of_the_old_producers_is_understood(world: World, chat: Chat) -> None:
    body = {"manychat_id": chat.manychat_id, "nombre_lead": "Vieja Forma"}
    with QueueClient.from_connection_string(world.stack.connection_string, CONTACT_QUEUE) as queue:
        queue.send_message(json.dumps(body))
    world.eventually(lambda: world.sql("SELECT 1 FROM contacts WHERE manychat_id = :id", id=chat.manychat_id))


def test_no_customer_is_touched_by_any_of_it(world: World) -> None:
    def customers() -> tuple[int, str]:
        rows: list[dict[str, Any]] = world.odoo(
            "res.partner", "search_read", [["active", "in", [True, False]]], fields=["write_date", "name", "phone"]
        )
        return len(rows), hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()

    before = customers()
    chat = world.chat()
    payload = {"phone": "+520000000003", "last_name": "Inventada", "commercial_advisor_id": 700}
    world.settled(chat.enters(17, **payload))
    world.settled(chat.enters(26, 1, summary="Pagó.", **payload))
    assert customers() == before


def test_every_event_leaves_one_audit_row_that_agrees_with_odoo(world: World, chat: Chat) -> None:
    event_ids = [chat.enters(17), chat.enters(18, 1)]
    world.settled(*event_ids)
    for event_id in event_ids:
        row = world.audit(event_id)
        (event,) = world.odoo(
            "manychat.event", "search_read", [["event_id", "=", event_id]], fields=["outcome", "state"]
        )
        assert (row["outcome"], event["state"]) == (event["outcome"], "done")
        assert row["queue"] == OPPORTUNITY_QUEUE


def test_a_contact_and_an_assignment_become_done_in_odoos_log(world: World, chat: Chat) -> None:
    person = {"manychat_id": chat.manychat_id, "nombre_lead": "Inventada"}
    assignment = {"manychat_id": chat.manychat_id, "campaign_id": 85, "comercial_id": 7}
    event_ids = [world.send("contact", person), world.send("campaign-assignment", assignment)]
    world.settled(*event_ids)
    done = [["event_id", "in", event_ids], ["state", "=", "done"], ["outcome", "=", "stored"]]
    world.eventually(lambda: world.odoo("manychat.event", "search_count", done) == 2)


def test_a_dead_letter_that_was_discarded_goes_through_once_somebody_retries_it_in_odoo(
    world: World, chat: Chat
) -> None:
    label = f"Etapa {chat.manychat_id}"
    event_id = chat.enters(label)
    assert world.audit(event_id)["outcome"] == "dead_lettered"
    (row,) = world.eventually(
        lambda: world.odoo("manychat.event", "search", [["event_id", "=", event_id], ["state", "=", "failed"]])
    )
    world.odoo("manychat.event", "action_discard", [row])
    # The bridge hears of it with its next sign of life, closes its dead letter, and says so.
    world.eventually(lambda: world.sql("SELECT 1 FROM audit WHERE event_id = :e AND outcome = 'discarded'", e=event_id))
    (letter,) = world.sql("SELECT status FROM dead_letters WHERE event_id = :e", e=event_id)
    assert letter["status"] == "discarded"
    told = [["id", "=", row], ["discard_to_report", "=", False]]
    world.eventually(lambda: world.odoo("manychat.event", "search_count", told))

    (alias,) = world.odoo("manychat.stage.alias", "search", [["name", "=", label]])
    (stage,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 24]])
    world.odoo("manychat.stage.alias", "write", [alias], {"map_id": stage})
    world.odoo("manychat.event", "action_retry", [row])
    world.eventually(lambda: world.sql("SELECT 1 FROM audit WHERE event_id = :e AND outcome = 'created'", e=event_id))
    assert chat.stage == STAGES[24]
