"""What is left of a person when they are erased, and of settled events when their time is over."""

from __future__ import annotations

import base64
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path

import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.results import Done, Failure
from bridge.store import (
    audit,
    campaigns,
    contacts,
    dead_letters,
    erasure,
    migrate,
    opportunities,
    retention,
    schema,
    standby_refusals,
)
from bridge.store.engine import create_engine
from bridge.store.erasure import NO_PAYLOAD

from .conftest import NOON, PURGES, Store, assignment, contact, opportunity
from .test_audit import letter, taken
from .test_standby_refusals import counted

DAY = timedelta(days=1)
PHONE, SUMMARY = "+34611222333", "Le duele la rodilla"


def begin(store: Store, *events: Event) -> None:
    store.run(audit.begin, [taken(event) for event in events])


def live(store: Store, manychat_id: str) -> list[Event]:
    """A person with a row in every table."""
    events = [
        contact(0, manychat_id, nombre_lead="Zacarías", whatsapp=PHONE, ultimo_estado="Nuevo"),
        assignment(1, manychat_id, comercial_id=3, summary=SUMMARY, ultimo_estado="Asignado"),
        opportunity(2, manychat_id, first_name="Zacarías", state={"summary": SUMMARY}),
    ]
    begin(store, *events)
    store.run(contacts.apply_contacts, events[:1])
    store.run(campaigns.apply_campaign_events, events[1:2])
    store.run(opportunities.record, events[2:])
    done = Done("created", 7, None, "Nuevo")
    store.run(opportunities.finish, {events[2].id: (events[2], done)})
    store.run(audit.finish, {events[0].id: Done("stored"), events[1].id: Done("stored"), events[2].id: done})
    store.run(dead_letters.put, [letter(events[0], message_id=events[0].id, body=events[0].encode())])
    return events


def everything(store: Store) -> str:
    """The whole database as text, with what is Base64 in it also in plain."""
    text = ""
    for table in schema.metadata.tables:
        text += "".join(str(tuple(row)) for row in store.rows(table))
    for row in store.rows("dead_letters"):
        text += base64.b64decode(row.body).decode() if row.body.startswith("eyJ") else ""
    return text


def without(rows: list[sa.Row], *names: str) -> list[dict]:  # type: ignore[type-arg]
    return [{name: value for name, value in row._mapping.items() if name not in names} for row in rows]


def test_nothing_in_the_database_speaks_of_who_was_erased_and_all_others_stay(store: Store) -> None:
    live(store, "MC1")
    [kept] = [live(store, "MC2")]
    assert "MC1" in everything(store)
    done = store.run(erasure.erase, "MC1")

    assert "MC1" not in everything(store)
    assert done == {
        "contact": 1,
        "stage moves": 1,
        "opportunity": 1,
        "campaign assignments": 1,
        "states": 2,
        "audit payloads": 3,
        "dead letters": 1,
    }
    for table in ("contacts", "opportunities", "campaign_contacts", "opportunity_stages"):
        assert len(store.rows(table)) == 1
    assert len(store.rows("contact_states")) == 2
    assert len(store.rows("audit", manychat_id="MC2")) == len(kept)
    assert [row.status for row in store.rows("dead_letters", manychat_id="MC2")] == ["open"]


def test_no_data_of_the_last_person_is_left_anywhere(store: Store) -> None:
    live(store, "MC1")
    assert all(text in everything(store) for text in (PHONE, SUMMARY, "Zacarías"))
    store.run(erasure.erase, "MC1")

    assert not [text for text in (PHONE, SUMMARY, "Zacarías", "MC1") if text in everything(store)]


def test_the_guard_against_applying_twice_outlives_the_person(store: Store) -> None:
    events = live(store, "MC1")
    store.run(erasure.erase, "MC1")

    before = store.run(audit.attempt_states, [event.id for event in events])
    assert [before[event.id].outcome for event in events] == ["stored", "stored", "created"]
    [label] = {row.manychat_id for row in store.rows("audit")}
    assert label.startswith("erased-")


def test_events_that_were_not_applied_yet_never_will_be(store: Store) -> None:
    waiting, dead = opportunity(0), opportunity(1)
    begin(store, waiting, dead)
    store.run(audit.fail, {dead.id: Failure("refused", f"Odoo knows no {PHONE}")}, dead=True)
    store.run(dead_letters.put, [letter(dead, message=f"Odoo knows no {PHONE}")])
    store.run(erasure.erase, "MC1", NOON + DAY)
    begin(store, waiting, dead)

    assert [row.outcome for row in store.rows("audit")] == ["erased", "erased"]
    assert all(known.is_done for known in store.run(audit.attempt_states, [waiting.id, dead.id]).values())
    assert [(row.status, row.body, row.message) for row in store.rows("dead_letters")] == [("discarded", "", "")]
    assert store.rows("dead_letters")[0].discarded_at == NOON + DAY
    assert store.rows("audit", event_id=waiting.id)[0].finished_at == NOON + DAY
    assert PHONE not in everything(store)


def test_erasing_again_finds_nothing(store: Store) -> None:
    live(store, "MC1")
    store.run(erasure.erase, "MC1")

    assert set(store.run(erasure.erase, "MC1").values()) == {0}


def test_messages_that_are_no_events_are_emptied_if_they_name_the_person(store: Store) -> None:
    bodies = {
        "hers": '{"manychat_id": "4711", "state": {}',
        "hers as a number": base64.b64encode(b'{"manychat_id":4711,"nombre_lead":"Ana"').decode(),
        "another's": '{"manychat_id": "47110"}',
        "not about her": '{"phone": "4711"}',
        "of no person": "¡no!",
    }
    store.run(dead_letters.put, [letter(message_id=name, body=body) for name, body in bodies.items()])
    assert store.run(erasure.erase, "4711")["dead letters"] == 2

    emptied = {row.message_id for row in store.rows("dead_letters") if not row.body}
    assert emptied == {"hers", "hers as a number"}
    assert store.run(erasure.unreadable_letters) == 3


def test_messages_that_are_no_events_are_found_in_every_form_and_by_the_number_of_the_person(store: Store) -> None:
    store.run(contacts.apply_contacts, [contact(1, "4711", whatsapp=PHONE, email_lead="ana@example.com")])
    plain = '{"manychat_id": "04711", "state": {}'
    hers = [
        plain,
        '{"id": 4711.0, "first_name": "Ana", "x"}',
        '{"manychat_id": " 4711 ", "state": []}',
        base64.encodebytes(plain.encode()).decode(),
        base64.urlsafe_b64encode(plain.encode() + b"????").decode().rstrip("="),
        base64.b64encode(plain.encode("utf-16")).decode(),
        f"no JSON: {PHONE}",
        base64.b64encode(b"from ana@example.com").decode(),
    ]
    others = ['{"manychat_id": "47110"', "no JSON: +34611000000"]
    letters = [letter(message_id=str(n), body=body) for n, body in enumerate([*hers, *others])]
    store.run(dead_letters.put, letters)
    assert store.run(erasure.erase, "4711")["dead letters"] == len(hers)

    assert sorted(row.body for row in store.rows("dead_letters") if row.body) == sorted(others)


def test_nothing_of_the_person_is_left_in_the_bytes_of_the_file(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    migrate.upgrade(engine)
    with engine.connect() as connection:  # as rows were deleted before the pragma was switched on
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")
    mine = Store(engine)
    words = [text.encode() for text in ("Zacarías", PHONE, SUMMARY, "MC-ERASED")]
    events = live(mine, "MC-ERASED")
    mine.run(audit.fail, {events[2].id: Failure("refused", PHONE)}, dead=True)
    mine.run(contacts.apply_contacts, [contact(5, "MC-ERASED", nombre_lead="Otro", whatsapp="+34000000000")])

    def left() -> list[bytes]:
        data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        return [word for word in words if word in data]

    assert left() == words
    mine.run(erasure.erase, "MC-ERASED")
    assert left() != []
    assert erasure.scrub(engine)
    assert left() == []
    engine.dispose()


def test_a_file_in_use_is_not_scrubbed_and_that_is_told(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'store.db'}", {"connect_args": {"timeout": 0}})
    migrate.upgrade(engine)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not erasure.scrub(engine)
    other.execute("COMMIT")
    other.close()

    assert erasure.scrub(engine)
    engine.dispose()


def test_a_settled_events_payload_goes_when_its_time_is_over_and_its_row_stays(store: Store) -> None:
    old, young = contact(0, "MC1", whatsapp=PHONE), contact(1, "MC2")
    begin(store, old, young)
    store.run(audit.finish, {old.id: Done("stored")}, NOON)
    store.run(audit.finish, {young.id: Done("stored")}, NOON + 2 * DAY)
    store.run(standby_refusals.add, counted(2) | counted(1, began=NOON + DAY))
    expected = {"audit payloads": 1, "audit rows": 1, "dead letters": 0, "refusal counts": 2}
    expected["calls to ManyChat"] = 0
    assert store.run(retention.due, NOON + DAY) == expected
    before = without(store.rows("audit"), "payload", "purged_at")
    assert store.run(retention.empty_payloads, NOON + DAY).count == 1
    assert store.run(retention.empty_payloads, NOON + DAY).count == 0

    payloads = {row.event_id: row.payload for row in store.rows("audit")}
    assert payloads[old.id] == NO_PAYLOAD
    assert payloads[young.id] != NO_PAYLOAD
    assert without(store.rows("audit"), "payload", "purged_at") == before
    assert store.run(retention.delete_rows, NOON + DAY).count == 1
    assert [row.event_id for row in store.rows("audit")] == [young.id]


def test_nothing_unfinished_or_open_is_ever_purged(store: Store) -> None:
    unfinished, dead, unsynced = contact(0, "MC1"), contact(1, "MC2"), opportunity(2, "MC3")
    begin(store, unfinished, dead, unsynced)
    store.run(audit.fail, {dead.id: Failure("refused", "no")}, dead=True)
    # Applied, but the opportunity does not say so yet: reconcile will want to ask again.
    store.run(opportunities.record, [unsynced])
    store.run(audit.finish, {unsynced.id: Done("created", 7, None, "A")}, NOON)
    replayed = contact(3, "MC4")
    store.run(dead_letters.put, [letter(dead), letter(message_id="unreadable"), letter(replayed, message_id="r")])
    store.run(dead_letters.mark_replayed, store.rows("dead_letters", message_id="r")[0], replayed)
    tables = [store.rows(table) for table in schema.metadata.tables]

    far = datetime.now(timezone.utc) + 10_000 * DAY
    assert set(store.run(retention.due, far).values()) == {0}
    for purge in PURGES:
        assert store.run(purge, far).count == 0
    assert [store.rows(table) for table in schema.metadata.tables] == tables


def test_dead_letters_go_when_they_are_done_with_for_long_enough(store: Store) -> None:
    resolved, young = contact(0, "MC1"), contact(1, "MC2")
    store.run(dead_letters.put, [letter(resolved), letter(young, message_id="y"), letter(message_id="discarded")])
    store.run(dead_letters.resolve, [resolved.id], NOON)
    store.run(dead_letters.resolve, [young.id], NOON + 2 * DAY)
    store.run(dead_letters.discard, store.rows("dead_letters", message_id="discarded")[0], NOON)
    assert store.run(retention.due, NOON + DAY)["dead letters"] == 2
    assert store.run(retention.delete_resolved, NOON + DAY).count == 1
    assert store.run(retention.delete_discarded, NOON + DAY).count == 1

    assert [row.message_id for row in store.rows("dead_letters")] == ["y"]


def test_a_purge_of_more_than_one_statement_takes_goes_on_until_nothing_is_left(store: Store) -> None:
    events = [contact(number, f"MC{number}") for number in range(retention.CHUNK + 3)]
    begin(store, *events)
    store.run(audit.finish, {event.id: Done("stored") for event in events}, NOON)

    part, counts = retention.START, []
    for _ in range(3):
        part = store.run(retention.delete_rows, NOON + DAY, part)
        counts.append(part.count)
    assert counts == [retention.CHUNK, 3, 0]
    assert store.rows("audit") == []
