"""The event log: what failed says why, and a dead letter that is retried goes through."""

import pytest

from tests.world import Chat, World

from .conftest import SignIn

ACTION = "miasalud_crm.manychat_event_action"


def failed_event(world: World, chat: Chat) -> tuple[str, int]:
    """An event whose stage nobody has mapped: a dead letter in the bridge, failed in Odoo. Its id, and its row's."""
    label = f"Etapa {chat.manychat_id}"
    event_id = chat.enters(label)
    assert world.audit(event_id)["outcome"] == "dead_lettered"
    (row,) = world.eventually(
        lambda: world.odoo("manychat.event", "search", [["event_id", "=", event_id], ["state", "=", "failed"]])
    )
    return event_id, row


def map_quietly(world: World, chat: Chat) -> None:
    """Map the stage as if by import, beside the alias that waits: nothing but Retry sends the event again at once."""
    (stage,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 24]])
    (alias,) = world.odoo("manychat.stage.alias", "search", [["name", "=", f"Etapa {chat.manychat_id}"]])
    world.odoo("manychat.stage.alias", "write", [alias], {"map_id": stage})


def test_a_discarded_dead_letter_that_is_retried_goes_through(sign_in: SignIn, world: World, chat: Chat) -> None:
    event_id, row = failed_event(world, chat)
    odoo = sign_in("manager")
    odoo.open(ACTION, record=row)
    assert odoo.field("reason").inner_text()
    odoo.click("button[name=action_discard]")
    assert world.odoo("manychat.event", "read", [row], ["state"])[0]["state"] == "discarded"
    # Discarded, it does not wait for its stage any more: only a person brings it back.
    map_quietly(world, chat)
    odoo.click("button[name=action_retry]")
    world.eventually(lambda: world.sql("SELECT 1 FROM audit WHERE event_id = :e AND outcome = 'created'", e=event_id))
    world.eventually(lambda: world.odoo("manychat.event", "search", [["id", "=", row], ["state", "=", "done"]]))
    odoo.open(ACTION, record=row)
    assert odoo.field("lead_id").inner_text()


def test_the_log_shows_the_failed_ones_on_a_desktop_and_a_phone(sign_in: SignIn, world: World, chat: Chat) -> None:
    failed_event(world, chat)
    for phone in (False, True):
        odoo = sign_in("manager", phone=phone)
        odoo.open(ACTION)
        assert odoo.page.locator(".o_data_row, .o_kanban_record").count()
        assert odoo.overflow() == 0


@pytest.mark.parametrize("view", ["pivot", "graph"])
def test_what_came_in_and_what_became_of_it(sign_in: SignIn, world: World, chat: Chat, view: str) -> None:
    world.settled(chat.enters(17))
    odoo = sign_in("manager")
    odoo.open(ACTION, view=view)
    assert odoo.page.locator(".o_pivot table, .o_graph_canvas_container canvas").count()
