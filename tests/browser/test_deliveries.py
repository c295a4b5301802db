"""The list of deliveries: why a request was refused, correcting it, many at once, and an event that is followed."""

import json
from typing import Any

import pytest

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import OdooPage
from .test_event_log import failed_event, map_quietly

ACTION = "miasalud_crm.manychat_event_action"
REFUSED = "miasalud_crm.manychat_event_refused_action"


def refused(world: World, chat: Chat, stage: Any = "diecisiete") -> int:
    """The row of a request that the webhook refused: its stage's number is no number."""
    before = world.odoo("manychat.event", "search", [["state", "=", "refused"]])
    body = {"manychat_id": chat.manychat_id, "first_name": "Prueba", "state": {"stage_id": stage}}
    assert world.post("crm-opportunity", body).status_code == 422
    (row,) = world.odoo("manychat.event", "search", [["state", "=", "refused"], ["id", "not in", before]])
    return row


def read(world: World, row: int, name: str) -> Any:
    return world.odoo("manychat.event", "read", [row], [name])[0][name]


def page(odoo: OdooPage, name: str) -> None:
    """Opens that page of the form's notebook."""
    odoo.click(f".o_notebook .nav-link[name={name}]")


def select(odoo: OdooPage, *chats: Chat) -> None:
    """Selects the rows of these people."""
    for chat in chats:
        odoo.page.locator(f".o_data_row:has-text('{chat.manychat_id}') .o_list_record_selector input").check()
    odoo.settle()


def test_a_refused_request_shows_the_place_of_the_fault_and_the_answer(
    sign_in: SignIn, world: World, chat: Chat
) -> None:
    row = refused(world, chat)
    for phone in (False, True):
        odoo = sign_in("manager", phone=phone)
        odoo.open(ACTION, record=row)
        assert "state.stage_id" in odoo.page.locator(".alert-danger:visible").first.inner_text()
        page(odoo, "request")
        assert odoo.page.locator("mark[data-kind=danger]").all_inner_texts() == ['"stage_id": "diecisiete"']
        sent = odoo.field("sent").inner_text()
        assert chat.manychat_id in sent
        assert "X-API-KEY" not in sent.upper()
        assert odoo.overflow() == 0
        page(odoo, "answer")
        assert odoo.field("answer").inner_text().startswith("HTTP 422")
        page(odoo, "timeline")
        assert odoo.page.locator(".o_manychat_timeline li").count() == 1


def test_a_refused_request_is_corrected_sent_and_followed_until_it_is_done(
    sign_in: SignIn, world: World, chat: Chat
) -> None:
    row = refused(world, chat)
    odoo = sign_in("manager")
    odoo.open(REFUSED)
    odoo.click(f".o_data_row:has-text('{chat.manychat_id}') td[name=received_at]")
    odoo.click("button[name=action_check_again]")
    assert "state.stage_id" in odoo.page.locator(".o_notification").first.inner_text()
    odoo.click("button[name=action_correct]")
    assert odoo.page.locator(".modal .alert-danger").is_visible()
    text = odoo.page.locator(".modal [name=body] textarea")
    body = json.loads(text.input_value())
    text.fill(json.dumps({**body, "state": {"stage_id": 17}}))
    odoo.click(".modal button[name=action_check]")
    assert odoo.page.locator(".modal .alert-success").is_visible()
    odoo.click(".modal button[name=action_send]")
    # The page of the new event: nobody loads it again.
    odoo.page.locator(
        ".o_field_statusbar [data-value=done][aria-checked=true], [data-value=done].o_arrow_button_current"
    ).wait_for()
    assert chat.stage == "Recién Suscrito Pendiente AC"
    assert read(world, row, "state") == "corrected"
    odoo.page.locator(".o_manychat_live").wait_for(state="detached")


def test_the_stage_of_a_waiting_event_is_mapped_from_its_page(sign_in: SignIn, world: World, chat: Chat) -> None:
    event_id = chat.enters(f"Etapa {chat.manychat_id}")
    (row,) = world.eventually(
        lambda: world.odoo("manychat.event", "search", [["event_id", "=", event_id], ["state", "=", "failed"]])
    )
    odoo = sign_in("manager")
    odoo.open(ACTION, record=row)
    odoo.click("button[name=action_map_stage]")
    odoo.field("map_id").locator("input").click()
    odoo.settle()  # until then the first item says that they are loading
    odoo.click(".o-autocomplete--dropdown-item a")
    odoo.click(".modal .o_form_button_save")
    world.eventually(lambda: read(world, row, "state") == "done")


def test_many_are_counted_sent_and_their_result_is_shown(sign_in: SignIn, world: World) -> None:
    chats = [world.chat() for _ in range(3)]
    rows = []
    for chat in chats[:2]:  # discarded while their stage was unknown; it is known by now
        _event_id, row = failed_event(world, chat)
        world.odoo("manychat.event", "action_discard", [row])
        map_quietly(world, chat)
        rows.append(row)
    rows.append(refused(world, chats[2]))
    odoo = sign_in("manager")
    odoo.open(ACTION)
    select(odoo, *chats)
    odoo.click("button[name=action_resend]")
    assert odoo.page.locator(".modal .o_manychat_to_send").inner_text().strip() == "2"
    assert odoo.page.locator(".modal tr[data-part=left_out]").count() == 1
    assert [read(world, row, "state") for row in rows] == ["discarded", "discarded", "refused"]
    odoo.click(".modal button[name=action_start]")
    # Nobody loads the page again.
    odoo.page.locator(".o_field_widget[name=succeeded_count]", has_text="2").wait_for()
    assert [read(world, row, "state") for row in rows] == ["done", "done", "refused"]
    assert len({chat.stage for chat in chats[:2]}) == 1


def test_many_are_discarded_after_a_question_and_one_comes_back(sign_in: SignIn, world: World) -> None:
    chats = [world.chat() for _ in range(2)]
    rows = [refused(world, chat) for chat in chats]
    odoo = sign_in("manager")
    odoo.open(REFUSED)
    select(odoo, *chats)
    odoo.click("button[name=action_discard]")
    odoo.click(".modal .btn-primary")
    assert [read(world, row, "state") for row in rows] == ["discarded"] * 2
    odoo.open(ACTION, record=rows[0])
    odoo.click("button[name=action_reopen]")
    assert read(world, rows[0], "state") == "refused"


def test_the_cards_of_a_phone_say_what_the_list_says(sign_in: SignIn, world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    refused(world, chat)
    odoo = sign_in("manager", phone=True)
    odoo.open(ACTION)
    cards = odoo.page.locator(f".o_kanban_record:has-text('{chat.manychat_id}')")
    assert cards.count() == 2
    assert cards.locator(".badge").count() == 2
    assert odoo.overflow() == 0


def test_no_internal_field_is_offered_as_a_group(sign_in: SignIn, world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    odoo = sign_in("manager")
    odoo.open(ACTION)
    odoo.click(".o_searchview_dropdown_toggler")
    offered = odoo.page.locator(".o_group_by_menu select option").evaluate_all("all => all.map(each => each.value)")
    assert {"state", "key_name", "code"} & set(offered)
    assert not {"claimed_until", "discard_to_report", "key_prefix", "write_uid"} & set(offered)


@pytest.mark.parametrize("view", ["graph", "pivot"])
def test_the_success_rate_of_bots_by_day(sign_in: SignIn, world: World, chat: Chat, view: str) -> None:
    world.settled(chat.enters(17))
    odoo = sign_in("manager")
    odoo.open("miasalud_crm.manychat_delivery_report_action", view=view)
    assert odoo.page.locator(".o_graph_canvas_container canvas, .o_pivot table").count()
    assert odoo.page.locator(".o_view_nocontent").count() == 0
