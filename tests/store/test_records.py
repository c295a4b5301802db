"""What the API writes and lists, on every kind of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bridge.contract.fields import MAX_INT
from bridge.store import api_keys, records
from bridge.store.contacts import apply_contacts
from bridge.store.engine import in_transaction
from bridge.store.listing import LISTINGS, page
from bridge.store.records import Duplicate, InUse, NoSuchRow
from bridge.store.schema import advisors, campaigns, channels, contacts

from .conftest import NOON, Store, assignment, contact, opportunity


def test_a_generated_id_is_none_that_an_event_has_used(store: Store) -> None:
    made = [store.run(records.create, campaigns, {"name": str(number)}).id for number in range(3)]
    taken = max(made) + 1
    store.run(records.create, campaigns, {"id": taken})
    assert store.run(records.create, campaigns, {"name": "después"}).id not in (*made, taken)


def test_the_largest_id_being_taken_leaves_room_for_others(store: Store) -> None:
    store.run(records.create, campaigns, {"id": MAX_INT})
    made = [store.run(records.create, campaigns, {}).id for _ in range(2)]
    assert len({*made, MAX_INT}) == 3
    assert max(made) < MAX_INT


def test_a_deleted_campaigns_number_is_not_given_to_another(store: Store) -> None:
    first, deleted, _last = [store.run(records.create, campaigns, {}).id for _ in range(3)]
    store.run(records.delete, campaigns, deleted)
    assert store.run(records.create, campaigns, {}).id not in (first, deleted)


def test_eight_who_create_the_same_at_once_make_one(store: Store) -> None:
    def create(_number: int) -> bool:
        try:
            in_transaction(
                store.engine, lambda connection: records.create(connection, contacts, {"manychat_id": "MC1"})
            )
        except Duplicate:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
    assert len(store.rows("contacts")) == 1


def test_an_event_that_names_a_row_made_here_finds_it(store: Store) -> None:
    channel = store.run(records.create, channels, {"name": "Facebook"})
    row = store.run(records.create, contacts, {"manychat_id": "MC1", "first_name": "Ana"}, now=NOON)
    store.run(apply_contacts, [contact(1, canal_entrada=" FACEBOOK", apellido_lead="Inventada")])
    (now,) = store.rows("contacts")
    assert (now.id, now.first_name, now.last_name, now.channel_id) == (row.id, "Ana", "Inventada", channel.id)


def test_a_write_is_newer_than_what_happened_before_and_older_than_what_happens_later(store: Store) -> None:
    row = store.run(records.create, contacts, {"manychat_id": "MC1", "first_name": "API"}, now=NOON)
    store.run(apply_contacts, [contact(-1, nombre_lead="antes")])
    assert store.run(records.get, contacts, row.id).first_name == "API"
    store.run(apply_contacts, [contact(1, nombre_lead="después")])
    assert store.run(records.get, contacts, row.id).first_name == "después"
    store.run(records.update, contacts, row.id, {"first_name": "API"}, now=NOON + timedelta(minutes=2))
    store.run(apply_contacts, [contact(1.5, nombre_lead="antes")])
    assert store.run(records.get, contacts, row.id).first_name == "API"


def test_what_stands_in_the_way_is_named(store: Store) -> None:
    row = store.run(records.create, advisors, {"id": 700})
    with pytest.raises(Duplicate, match="id"):
        store.run(records.create, advisors, {"id": 700})
    with pytest.raises(NoSuchRow):
        store.run(records.create, contacts, {"manychat_id": "MC1", "channel_id": 99})
    from bridge.store.opportunities import record

    store.run(record, [opportunity(commercial_advisor_id=700)])
    with pytest.raises(InUse) as caught:
        store.run(records.delete, advisors, row.id)
    assert caught.value.tables == ["opportunities"]


def test_every_list_answers_with_every_filter_and_order(store: Store) -> None:
    from bridge.store.campaigns import apply_campaign_events

    store.run(apply_campaign_events, [assignment(comercial_id=1)])
    for listing in LISTINGS.values():
        for sort in listing.sorts:
            for descending in (False, True):
                store.run(page, listing, {}, sort, descending=descending)
                moment = 1 if sort == "id" else NOON
                for name in listing.filters:
                    text = ("manychat_id", "state", "status", "stage", "channel", "name", "role", "outcome", "event_id")
                    is_text = name in (*text, "odoo_sync_status")
                    value = NOON if name.endswith(("_since", "_until")) else "open" if is_text else 1
                    store.run(page, listing, {name: value}, sort, descending=descending, after=(moment, 1))


def test_pages_follow_each_other_without_gap_or_overlap(store: Store) -> None:
    events = [contact(number // 3, f"MC{number:02}") for number in range(20)]
    for number, event in enumerate(events):
        # Three rows each are of one moment.
        store.run(apply_contacts, [event], now=NOON + timedelta(minutes=number // 3))
    for descending in (False, True):
        found, after = [], None
        while True:
            rows, after = store.run(
                page, LISTINGS["contacts"], {}, "updated_at", descending=descending, after=after, limit=4
            )
            found += [(row.updated_at, row.id) for row in rows]
            if after is None:
                break
        assert found == sorted(found, reverse=descending)
        assert len(set(found)) == 20


def test_a_key_is_valid_until_it_expires_or_is_revoked(store: Store) -> None:
    for name, expires_at in (("siempre", None), ("pronto", NOON + timedelta(days=1)), ("pasada", NOON)):
        key = {"name": name, "prefix": "mck_", "digest": name, "scope": "read", "expires_at": expires_at}
        assert store.run(api_keys.add, **key)
        assert not store.run(api_keys.add, **key)
    valid = store.run(api_keys.valid_keys, NOON)
    assert [key.name for key in valid] == ["siempre", "pronto"]
    store.run(api_keys.set_last_used, {valid[0].id: NOON})
    store.run(api_keys.revoke, [valid[0].id])
    assert [key.name for key in store.run(api_keys.valid_keys, NOON)] == ["pronto"]
    assert store.run(api_keys.all_keys)[0].last_used_at == NOON
