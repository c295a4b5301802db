"""``reconcile --from-odoo`` adds to SQL's history what users did before Odoo recorded decisions."""

from __future__ import annotations

import json
from typing import Any

from bridge.worker.from_odoo import FromOdoo

from .conftest import Cli, World
from .test_from_odoo import QUOTED, connect, people, run, words


def past_move(key: str, before: str | None, after: str | None, day: int, **more: Any) -> dict[str, Any]:
    return {
        "manychat_id": "MC1",
        "lead_id": 1,
        "key": key,
        "stage_from": before,
        "stage_to": after,
        "moment": f"2025-01-{day:02}T08:00:00.000000Z",
        "moved_by": "person",
        "user_id": 9,
        "event_id": None,
        "status": "open",
        **more,
    }


def test_users_moves_from_before_decisions_are_added_to_the_history_once(world: World) -> None:
    [event] = people(world, "MC1")
    [chats] = world.rows("opportunity_stages")
    world.odoo.past_moves = [
        past_move("1-1", None, "Nuevo", 1),
        past_move("1-2", "Nuevo", None, 2, moved_by="other", user_id=None, status="lost"),
        past_move("2-1", None, "Cita", 3, moved_by="wizard", status="asleep"),
        past_move("2-2", "x" * 300, "Nuevo", 3),  # in the same second
        past_move("3-1", "Cita", QUOTED, 4, moved_by="chat", event_id=event.id),
        past_move("4-1", None, "Nuevo", 1, manychat_id="MC-unknown"),
        {"manychat_id": "MC1", "key": "of a newer addon"},
    ]
    run(world, dry_run=True)
    assert world.rows("opportunity_stages") == [chats]
    done = FromOdoo(world.engine, connect(world))
    list(done.pages())

    assert done.past_moves == 4
    rows = sorted(world.rows("opportunity_stages"), key=lambda row: row.event_at)
    assert [(row.stage_from, row.stage_to, row.moved_by, row.user_id, row.status) for row in rows] == [
        (None, "Nuevo", "person", 9, "open"),
        ("Nuevo", None, "other", None, "lost"),
        (None, "Cita", "other", 9, None),
        ("x" * 256, "Nuevo", "person", 9, "open"),
        (chats.stage_from, chats.stage_to, "chat", None, chats.status),
    ]
    # The latest move is the chat's still.
    assert [row.stage_by for row in world.rows("opportunities")] == ["chat"]
    # Analysts load by this: it is new for them.
    assert min(row.applied_at for row in rows) >= chats.applied_at
    before = world.rows("opportunity_stages")
    again = FromOdoo(world.engine, connect(world))
    list(again.pages())
    assert (again.past_moves, world.rows("opportunity_stages")) == (0, before)


def test_the_command_says_how_many_moves_it_added(world: World, cli: Cli) -> None:
    people(world, "MC1")
    world.odoo.past_moves = [past_move("1-1", None, "Nuevo", 1)]
    assert "History: 1 move added" in words(cli("reconcile", "--from-odoo").stdout)
    assert json.loads(cli("reconcile", "--from-odoo", "--json").stdout.splitlines()[-1])["past_moves"] == 0
