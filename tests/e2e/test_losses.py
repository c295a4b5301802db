"""A message that the queue loses: no user presses a button, and its event is applied all the same."""

from typing import Any

from bridge.contract.payloads import CONTACT_QUEUE
from bridge.queue import Queue
from tests.queue_sdk import sdk
from tests.world import World

from .test_watching import command


def empty(world: World, queue: str) -> None:
    """Delete all messages of ``queue``, as an operator may in the Azure portal."""
    client = Queue(world.stack.connection_string, queue)
    sdk(client).clear_messages()
    assert client.depth() == 0
    client.close()


def lose_one(world: World, manychat_id: str) -> str | None:
    """The id of a contact's event whose message was deleted before a bridge received it; ``None`` if one was faster.

    The queue is paused. A bridge obeys that within a second, and may receive a message before.
    """
    event_id = world.send("contact", {"manychat_id": manychat_id, "nombre_lead": "Prueba"})
    world.eventually(lambda: row(world, event_id)["state"] != "pending")
    empty(world, CONTACT_QUEUE)
    return None if world.sql("SELECT id FROM audit WHERE event_id = :id", id=event_id) else event_id


def row(world: World, event_id: str) -> dict[str, Any]:
    [found] = world.odoo("manychat.event", "search_read", [["event_id", "=", event_id]], fields=["state", "resends"])
    return found  # type: ignore[no-any-return]


def test_an_event_whose_message_is_gone_is_sent_again_and_applied_once(world: World) -> None:
    manychat_id = world.chat().manychat_id
    assert command(world, "pause", "--queue", "contact").returncode == 0
    try:
        while not (event_id := lose_one(world, manychat_id)):
            pass
    finally:
        command(world, "resume")
    with world.stack.odoo.cluster.connect(world.stack.database) as connection:
        connection.execute(
            "UPDATE manychat_event SET queued_at = queued_at - interval '1 hour' WHERE event_id = %s", [event_id]
        )

    def is_done() -> bool:
        # Again and again: while messages of other tests are on the queue, nothing says that this one is lost.
        assert command(world, "reconcile", "--older-than", "0s").returncode == 0
        return bool(row(world, event_id)["state"] == "done")

    world.eventually(is_done)
    assert world.settled(event_id) == ["stored"]
    assert row(world, event_id)["resends"] == 1
    assert len(world.sql("SELECT id FROM contacts WHERE manychat_id = :id", id=manychat_id)) == 1
