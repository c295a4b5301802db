"""No secret and no personal data in anything that is printed: everything that a whole life of bridges and commands
prints is searched for invented ones that nobody could mistake for something else."""

from __future__ import annotations

import base64
import json
import re

import pytest
import sqlalchemy as sa

from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE

from .conftest import Azurite, Cli, World, contact, eventually, stage

PERSONAL = {
    "first name": "Zoraidísima",
    "last name": "Quetzalcóatlez",
    "phone": "+34699123457",
    "email": "zoraidisima@ejemplo.invalid",
    "summary": "Le duele muchísimo la rodilla izquierda",
}
PASSWORD = "contraseña-de-la-base-7f3a"
DATABASE_USER = "usuario-de-la-base-7f3a"


def person(manychat_id: str, stage_id: int = 16, minute: int = 0):  # type: ignore[no-untyped-def]
    return stage(
        manychat_id,
        stage_id,
        minute,
        last_name=PERSONAL["last name"],
        phone=PERSONAL["phone"],
        channel=PERSONAL["first name"],
    )


def whole_contact(manychat_id: str):  # type: ignore[no-untyped-def]
    return contact(
        manychat_id,
        nombre_lead=PERSONAL["first name"],
        apellido_lead=PERSONAL["last name"],
        whatsapp=PERSONAL["phone"],
        email_lead=PERSONAL["email"],
    )


def found_in(printed: str, secrets: dict[str, str]) -> list[str]:
    """Names of the secrets that stand in ``printed``, as they are or as JSON, Base64 or a URL would write them."""
    searched = printed + "".join(
        # One letter more than whole bytes is no Base64: a long id, for example.
        base64.b64decode(piece[: len(piece) - (len(piece) % 4 == 1)] + "==").decode("utf-8", "replace")
        for piece in re.findall(r"[A-Za-z0-9+/]{24,}", printed)
    )
    searched = searched.casefold()
    return [
        name
        for name, secret in secrets.items()
        if any(
            form.casefold() in searched
            for form in (secret, json.dumps(secret)[1:-1], secret.encode().hex(), secret[1:-1])
        )
    ]


def test_the_search_itself_finds_what_it_should(azurite: Azurite) -> None:
    for form in (
        PERSONAL["phone"],
        json.dumps(PERSONAL["first name"]),
        base64.b64encode(json.dumps(PERSONAL).encode()).decode(),
        base64.b64encode(json.dumps(PERSONAL, ensure_ascii=False).encode()).decode(),
    ):
        assert found_in(f"… {form} …", PERSONAL)
    assert found_in("event_applied event_id=e1", PERSONAL) == []


# Thirty processes, one after the other.
@pytest.mark.timeout(600)
def test_nothing_personal_and_no_secret_is_ever_printed(cli: Cli, world: World, azurite: Azurite) -> None:
    world.odoo.key = "clave-de-odoo-91c2"
    account_key = re.search("AccountKey=([^;]+)", azurite.connection_string)
    assert account_key
    secrets = {
        **PERSONAL,
        "Odoo key": world.odoo.key,
        "webhook key": "mck_clave-del-webhook-91c2",
        "account key": account_key[1],
        "database password": PASSWORD,
    }
    world.environment.update(BRIDGE_ODOO_API_KEY=world.odoo.key, BRIDGE_WEBHOOK_KEY=secrets["webhook key"])
    cli.environment = world.environment
    world.environment["BRIDGE_LOG_LEVEL"] = "DEBUG"

    # Success, duplicates, a wrong clock; then each way of failing.
    applied = [whole_contact("MC1"), person("MC1")]
    world.odoo.troubles.update(MC2="fault", MC3="refused", MC4="cut")
    refused = [person(f"MC{number}") for number in (2, 3, 4)]
    unmapped = person("MC5", stage_id=99)
    with world.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TRIGGER refuse BEFORE INSERT ON contacts WHEN NEW.manychat_id = 'MC6' "
                f"BEGIN SELECT RAISE(ABORT, '{PERSONAL['summary']}'); END"
            )
        )
    sql_refused = whole_contact("MC6")
    world.send(*applied, *applied, *refused, unmapped, sql_refused)
    for body in (json.dumps({"manychat_id": "", **PERSONAL}), json.dumps(PERSONAL)[:-9], f"¡{PERSONAL['summary']}!"):
        world.queues[CONTACT_QUEUE].send(body)
        world.queues[OPPORTUNITY_QUEUE].send(base64.b64encode(body.encode()).decode())
    bridge = world.start_bridge(max_attempts=1, log_format="json", reconcile_interval=1)
    world.settle(*applied, *refused, unmapped, sql_refused)
    eventually(lambda: len(world.rows("dead_letters")) == 11)
    # Outages.
    world.odoo.stop()
    waiting = person("MC1", 17, minute=9)
    world.send(waiting)
    eventually(lambda: bridge.lines("dependency_down"))
    world.odoo.start()
    world.settle(waiting)
    bridge.terminate()
    # A key that Odoo does not know, a database that is away, an account that is none; logs as people read them.
    world.start_bridge(odoo_api_key=secrets["webhook key"], log_format="console")
    away = f"postgresql+psycopg://{DATABASE_USER}:{PASSWORD}@127.0.0.1:9/nada"
    world.start_bridge(database_url=away, log_format="console")
    for other in world.bridges[1:]:
        eventually(lambda: "dependency_down" in other.log.read_text())  # noqa: B023
        other.terminate()
    for settings in (
        {"database_url": away},
        {"database_url": f"nada+{PASSWORD}://{PASSWORD}"},
        {"database_options": f"{{{PASSWORD}"},
        {"queue_connection_string": f"AccountKey={PASSWORD};EndpointSuffix"},
        {"odoo_api_key": secrets["webhook key"]},
    ):
        cli("check", **settings)

    letter = world.rows("dead_letters", manychat_id="MC5")[0]
    for command in (
        ("check",),
        ("pause",),
        ("resume",),
        ("dlq", "list"),
        ("dlq", "list", "--json"),
        ("dlq", "list", "--csv"),
        ("dlq", "show", str(letter.id)),
        ("dlq", "show", str(letter.id), "--json"),
        ("dlq", "replay", "--dry-run"),
        ("dlq", "replay"),
        ("dlq", "discard", "--code", "not_json", "--yes"),
        ("reconcile", "--older-than", "0s"),
        ("erase", "--manychat-id", "MC6", "--dry-run"),
        ("erase", "--manychat-id", "MC6", "--yes"),
        ("purge", "--older-than", "1s", "--yes"),
    ):
        cli(*command)
    payload = json.dumps({"manychat_id": "MC1", **PERSONAL, "state": {"stage_id": 17}})
    cli("send", "-", "--url", "http://127.0.0.1:9", stdin=payload)

    printed = cli.printed + "".join(bridge.log.read_text() for bridge in world.bridges)
    for said in ("event_applied", "event_dead_lettered", "dependency_down", "event_failed", "message_unreadable"):
        assert said in printed
    assert found_in(printed, secrets) == []


def test_the_body_is_shown_only_to_who_asks_for_it(cli: Cli, world: World) -> None:
    event = person("MC5", stage_id=99)
    world.send(event)
    world.start_bridge()
    world.settle(event)
    [letter] = world.rows("dead_letters")

    assert found_in(cli("dlq", "show", str(letter.id)).stdout, PERSONAL) == []
    assert "phone" in found_in(cli("dlq", "show", str(letter.id), "--body").stdout, PERSONAL)


def test_a_wrong_clock_is_told_of_in_the_log_and_by_check(cli: Cli, world: World) -> None:
    event = contact("MC1", datetime_actual="2199-01-01T00:00:00Z")
    sane = contact("MC2")
    world.send(event, sane)
    bridge = world.start_bridge()
    world.settle(event, sane)

    assert event.clock_is_wrong
    assert {line["event_id"]: line.get("clock_is_wrong") for line in bridge.lines("event_applied")} == {
        event.id: True,
        sane.id: None,
    }
    assert "whose clock is wrong 1" in cli("check").stdout
    [row] = world.rows("audit", event_id=event.id)
    assert row.occurred_at == event.received_at
