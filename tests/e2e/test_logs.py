"""What stands in the logs of Odoo and PostgreSQL: no conflict as an error, and nothing that people said."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.logs import Logs
from tests.world import Chat, World

SAID = {
    "first_name": "Wenceslao",
    "last_name": "Quiroga-Bis",
    "phone": "+525598761234",
    "channel": "Fuente-Reservada",
    "summary": "Le duele la rodilla izquierda",
}
TOLD = ("Wenceslao", "Quiroga-Bis", "5598761234", "rodilla izquierda")


@pytest.fixture
def logs(world: World) -> Logs:
    return Logs(world.stack)


@contextmanager
def rule(world: World, make: str, drop: str) -> Iterator[None]:
    """A rule of another app in Odoo's database, while the test runs."""
    with world.stack.odoo.cluster.connect(world.stack.database, autocommit=True) as connection:
        connection.execute(make)
        try:
            yield
        finally:
            connection.execute(drop)


def said(chat: Chat, stage: int, minute: float = 0, **payload: Any) -> dict[str, Any]:
    return chat.event(stage, minute, **SAID, **payload)


def test_the_same_event_eighty_times_at_once(world: World, logs: Logs) -> None:
    """A bot that repeats, a proxy that tries both servers, a finger that slips: one event, and not a word in a log."""
    chats = [world.chat() for _ in range(4)]
    bodies = [said(chat, 17) for chat in chats] * 20
    with ThreadPoolExecutor(20) as bots:
        answers = list(bots.map(lambda body: world.post("crm-opportunity", body), bodies))
    assert Counter(answer.ok for answer in answers) == {True: 80}
    ids = {answer.json()["event_id"] for answer in answers}
    assert len(ids) == len(chats)
    assert set(world.settled(*ids)) == {"created"}
    assert logs.told(TOLD) == []
    assert logs.trouble() == []


def test_opportunities_that_are_won_at_once_by_bridges_and_people(world: World, logs: Logs) -> None:
    """Each of them counts in the same few rows of Odoo's predictive lead scoring."""
    chats = [world.chat() for _ in range(40)]
    world.settled(*(world.send("crm-opportunity", said(chat, 17)) for chat in chats))
    won = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 26]], fields=["stage_id"])
    by_person = [chat.lead["id"] for chat in chats[::4]]
    world.settled(world.send("crm-opportunity", said(world.chat(), 26)))  # makes the rows in which the others count
    before = won_count(world)
    with ThreadPoolExecutor(12) as at_once:
        people = [
            at_once.submit(world.odoo, "crm.lead", "write", [lead_id], {"stage_id": won[0]["stage_id"][0]})
            for lead_id in by_person
        ]
        rest = [chat for number, chat in enumerate(chats) if number % 4]
        events = [at_once.submit(world.send, "crm-opportunity", said(chat, 26, 1)) for chat in rest]
        assert [future.exception() for future in people] == [None] * len(people)
        outcomes = world.settled(*(future.result() for future in events))
    assert set(outcomes) == {"moved"}
    assert won_count(world) == before + len(chats)
    assert logs.told(TOLD) == []
    assert logs.trouble() == []


def won_count(world: World) -> int:
    """How many won opportunities Odoo's lead scoring has counted. All count in the first stage's row."""
    domain = [["variable", "=", "stage_id"]]
    rows = world.odoo("crm.lead.scoring.frequency", "search_read", domain, fields=["won_count"])
    return round(max((row["won_count"] for row in rows), default=0))


@pytest.mark.parametrize(
    ("make", "drop"),
    [
        (
            """
            ALTER TABLE crm_lead ADD COLUMN x_distrito varchar;
            ALTER TABLE crm_lead ADD CONSTRAINT x_distrito CHECK (x_distrito IS NOT NULL) NOT VALID
            """,
            "ALTER TABLE crm_lead DROP COLUMN x_distrito",
        ),
        (
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '% may not', NEW.contact_name; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON crm_lead FOR EACH ROW EXECUTE FUNCTION refuse()
            """,
            "DROP FUNCTION refuse CASCADE",
        ),
        (
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM NEW.body::integer; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON mail_message FOR EACH ROW EXECUTE FUNCTION refuse()
            """,
            "DROP FUNCTION refuse CASCADE",
        ),
    ],
    ids=["constraint", "trigger", "conversion"],
)
def test_what_a_rule_of_another_app_refuses(world: World, logs: Logs, make: str, drop: str) -> None:
    chat = world.chat()
    with rule(world, make, drop):
        event_id = world.send("crm-opportunity", said(chat, 17))
        world.eventually(lambda: refused(world, event_id))
    assert world.settled(event_id) == ["created"]
    assert logs.told(TOLD) == []


def refused(world: World, event_id: str) -> bool:
    rows = world.odoo("manychat.event", "search_read", [["event_id", "=", event_id]], fields=["attempt_count"])
    return bool(rows and rows[0]["attempt_count"])


def test_a_request_that_cannot_be_stored(world: World, logs: Logs) -> None:
    """The webhook's own rows: an event, and a refused request with its body."""
    make = "ALTER TABLE manychat_event ADD CONSTRAINT refuse CHECK (key_name = '') NOT VALID"
    for body in (said(world.chat(), 17), {**said(world.chat(), 17), "manychat_id": ""}):
        with rule(world, make, "ALTER TABLE manychat_event DROP CONSTRAINT refuse"):
            assert world.post("crm-opportunity", body).status_code == 503
    assert any("refuse" in line for line in logs.lines())
    assert logs.told(TOLD) == []
