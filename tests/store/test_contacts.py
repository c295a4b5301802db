from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest

from bridge.contract.errors import ContractError
from bridge.contract.event import accept
from bridge.contract.fields import channel_key
from bridge.contract.payloads import EventType
from bridge.store.contacts import apply_contacts, complete_from_opportunities
from bridge.store.engine import in_transaction

from .conftest import NOON, Store, contact, opportunity

FIRST = {"nombre_lead": "Ana", "whatsapp": "+52 1", "ultimo_estado": "Nuevo", "canal_entrada": "Facebook"}
SECOND = {"nombre_lead": "Ana María", "email_lead": "ana@example.com", "ultimo_estado": "Cotiza"}


def test_a_new_contact_has_what_its_event_carries(store: Store) -> None:
    store.run(
        apply_contacts,
        [
            contact(
                nombre_lead="Ana",
                apellido_lead="García",
                whatsapp="+521234567891",
                email_lead="ana@example.com",
                datetime_suscripcion="2025-06-10T10:00:00Z",
                ultimo_estado="Nuevo Lead",
                canal_entrada="Facebook",
                estado_inicial="Nuevo",
            )
        ],
    )

    [row] = store.rows("contacts")
    assert (row.manychat_id, row.first_name, row.last_name) == ("MC1", "Ana", "García")
    assert (row.phone, row.email) == ("+521234567891", "ana@example.com")
    assert (row.initial_state, row.last_state) == ("Nuevo", "Nuevo Lead")
    assert row.subscribed_at == datetime(2025, 6, 10, 10, tzinfo=timezone.utc)
    assert row.event_at == NOON
    [channel] = store.rows("channels")
    assert (row.channel_id, channel.name) == (channel.id, "Facebook")
    [state] = store.rows("contact_states")
    assert (state.contact_id, state.state, state.category, state.created_at) == (row.id, "Nuevo Lead", "contact", NOON)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "three batches"])
def test_any_delivery_order_ends_in_the_newest_data(store: Store, order: tuple[int, ...], together: bool) -> None:
    events = [contact(1, **FIRST), contact(2, **SECOND), contact(3, ultimo_estado="Compra")]
    delivered = [events[index] for index in order]
    for batch in [delivered] if together else [[each] for each in delivered]:
        store.run(apply_contacts, batch)

    [row] = store.rows("contacts")
    assert row.last_state == "Compra"
    # The newest one does not carry these: they come from whichever event has them.
    assert (row.phone, row.email) == ("+52 1", "ana@example.com")
    assert row.first_name in ("Ana María", "Ana")
    assert row.event_id == events[2].id
    assert sorted(state.state for state in store.rows("contact_states")) == ["Compra", "Cotiza", "Nuevo"]


def test_an_older_event_does_not_overwrite_but_fills_what_is_empty(store: Store) -> None:
    store.run(apply_contacts, [contact(2, **SECOND)])
    store.run(apply_contacts, [contact(1, **FIRST)])

    [row] = store.rows("contacts")
    assert (row.first_name, row.last_state, row.phone) == ("Ana María", "Cotiza", "+52 1")


def test_a_field_that_an_event_does_not_carry_stays(store: Store) -> None:
    store.run(apply_contacts, [contact(1, **FIRST)])
    store.run(apply_contacts, [contact(2, nombre_lead="", whatsapp=None, ultimo_estado="{{last_state}}")])

    [row] = store.rows("contacts")
    assert (row.first_name, row.phone, row.last_state) == ("Ana", "+52 1", "Nuevo")
    assert len(store.rows("contact_states")) == 1


def test_the_same_event_again_changes_nothing(store: Store) -> None:
    first = contact(1, **FIRST)
    store.run(apply_contacts, [first])
    before = [store.rows(table) for table in ("contacts", "contact_states", "channels")]
    store.run(apply_contacts, [first, first])

    assert [store.rows(table) for table in ("contacts", "contact_states", "channels")] == before


def test_equal_dates_are_resolved_by_receipt_the_same_way_in_any_order(store: Store) -> None:
    same = {"datetime_actual": NOON.isoformat()}
    one, two = contact(1, nombre_lead="One", **same), contact(2, nombre_lead="Two", **same)
    for batch in ([one], [two], [one]):
        store.run(apply_contacts, batch)
    assert store.rows("contacts")[0].first_name == "Two"
    for batch in ([two], [one]):
        store.run(apply_contacts, [contact(event.occurred_at.minute, "MC2", **same) for event in batch])
    assert len(store.rows("contacts")) == 2


def test_channels_that_differ_in_case_and_spaces_are_one(store: Store) -> None:
    names = ["Facebook Messenger", " facebook  messenger ", "FACEBOOK MESSENGER", "Instagram"]
    store.run(apply_contacts, [contact(minute, f"MC{minute}", canal_entrada=name) for minute, name in enumerate(names)])

    assert len(store.rows("channels")) == 2
    assert len({row.channel_id for row in store.rows("contacts")}) == 2


def test_manychat_ids_that_differ_in_case_are_two_people(store: Store) -> None:
    store.run(apply_contacts, [contact(1, "abc", nombre_lead="Ana"), contact(2, "ABC", nombre_lead="Eva")])

    assert {row.manychat_id: row.first_name for row in store.rows("contacts")} == {"abc": "Ana", "ABC": "Eva"}


def test_accents_emoji_and_other_scripts_come_back_as_they_went(store: Store) -> None:
    name = "Añá Ünïçødé 👩🏽‍⚕️ 测试 עברית \u0301"
    sent = contact(nombre_lead=name, ultimo_estado="¿Cómo está? 😀")
    store.run(apply_contacts, [sent])

    assert store.rows("contacts")[0].first_name == sent.payload.nombre_lead  # type: ignore[attr-defined]
    assert store.rows("contact_states")[0].state == "¿Cómo está? 😀"


def test_times_keep_their_microseconds_and_are_utc(store: Store) -> None:
    store.run(apply_contacts, [contact(datetime_suscripcion="2025-06-10T05:00:00.123457-05:00")])

    expected = datetime(2025, 6, 10, 10, 0, 0, 123457, tzinfo=timezone.utc)
    assert store.rows("contacts")[0].subscribed_at == expected


def test_the_longest_texts_that_the_contract_lets_in_fit(store: Store) -> None:
    sent = contact(
        0,
        "😀" * 32,
        nombre_lead="Ñ" * 256,
        whatsapp="1" * 64,
        email_lead="a" * 320,
        # Case folding makes this one longer than the column of keys.
        canal_entrada="ß" * 256,
        ultimo_estado="ß" * 256,
    )
    store.run(apply_contacts, [sent])

    assert len(store.rows("contacts")[0].first_name) == 256


@pytest.mark.parametrize(
    ("field", "text"), [("nombre_lead", "😀" * 129), ("manychat_id", "😀" * 33), ("whatsapp", "😀" * 33)]
)
def test_an_emoji_counts_as_two_as_in_sql_server(field: str, text: str) -> None:
    # NVARCHAR(256) holds 128 of them. SQLite and PostgreSQL would take more, and say nothing.
    body = {"manychat_id": "MC1", field: text}
    if field == "manychat_id":
        with pytest.raises(ContractError):
            accept(EventType.CONTACT, body, received_at=NOON, source="odoo")
    else:
        kept = getattr(accept(EventType.CONTACT, body, received_at=NOON, source="odoo").payload, field)
        assert kept == text[:-1]


def test_the_key_of_a_channel_fits_and_ends_in_no_space() -> None:
    # SQL Server takes "a" and "a " for one, in a unique index too.
    assert channel_key("ß" * 127 + "a b") == "ss" * 127 + "a"
    assert channel_key("a" * 255 + "😀") == "a" * 255


def test_eight_connections_that_write_one_contact_make_one_row_without_an_error(store: Store) -> None:
    events = [contact(minute, nombre_lead=f"Name {minute}", canal_entrada="Facebook") for minute in range(40)]

    def write(start: int) -> None:
        for event in events[start::8]:
            in_transaction(store.engine, apply_contacts, [event])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    [row] = store.rows("contacts")
    assert row.first_name == "Name 39"
    assert len(store.rows("channels")) == 1


def test_eight_connections_that_write_the_same_many_contacts_do_not_lock_each_other_out(store: Store) -> None:
    batches = [
        [contact(writer, f"MC{number}", nombre_lead=f"{writer}", ultimo_estado=f"{writer}") for number in range(30)]
        for writer in range(8)
    ]

    def write(writer: int) -> None:
        # Each in another order: the store must bring them into one.
        batch = batches[writer][writer:] + batches[writer][:writer]
        in_transaction(store.engine, apply_contacts, batch)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    assert {row.first_name for row in store.rows("contacts")} == {"7"}
    assert len(store.rows("contacts")) == 30
    assert len(store.rows("contact_states")) == 240


def test_ten_thousand_contacts_in_one_batch(store: Store) -> None:
    store.run(apply_contacts, [contact(0, f"MC{number}", **FIRST) for number in range(10_000)])

    assert len(store.rows("contacts")) == len(store.rows("contact_states")) == 10_000


def test_an_opportunity_event_makes_a_missing_contact(store: Store) -> None:
    event = opportunity(first_name="Ana", last_name="García", phone="+52 1", channel="Facebook")
    ids = store.run(complete_from_opportunities, [event], NOON)

    [row] = store.rows("contacts")
    assert ids == {"MC1": row.id}
    assert (row.first_name, row.last_name, row.phone, row.event_at) == ("Ana", "García", "+52 1", None)
    assert store.rows("contact_states") == []


def test_an_opportunity_event_fills_only_what_is_empty(store: Store) -> None:
    store.run(apply_contacts, [contact(1, nombre_lead="Ana")])
    store.run(complete_from_opportunities, [opportunity(9, first_name="Other", phone="+52 9")], NOON)

    [row] = store.rows("contacts")
    assert (row.first_name, row.phone) == ("Ana", "+52 9")


def test_a_contact_event_overrules_what_an_opportunity_event_filled_in(store: Store) -> None:
    store.run(complete_from_opportunities, [opportunity(9, first_name="Other")], NOON)
    store.run(apply_contacts, [contact(1, nombre_lead="Ana")])

    assert store.rows("contacts")[0].first_name == "Ana"
