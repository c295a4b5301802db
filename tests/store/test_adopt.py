"""Taking over another system's tables: what is copied, what is left out, what is refused; theirs are never written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc

from bridge.errors import ConfigurationError
from bridge.importer import adoption, fields, guesses, mapping, source
from bridge.importer.adoption import Adoption
from bridge.importer.checks import Refused, resolve
from bridge.importer.tally import Tally
from bridge.store import migrate
from bridge.store.campaigns import apply_campaign_events
from bridge.store.contacts import apply_contacts
from bridge.store.engine import create_engine

from . import legacy
from .conftest import NOON, Store, contact, update


@pytest.fixture
def theirs(engine: sa.Engine, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database with empty tables as a user has them: another file, or beside ours in the same database."""
    engine = create_engine(f"sqlite:///{tmp_path / 'theirs.db'}") if engine.dialect.name == "sqlite" else engine
    legacy.metadata.drop_all(engine)
    legacy.metadata.create_all(engine)
    yield engine
    legacy.metadata.drop_all(engine)


class Adopting:
    """What ``db adopt`` does."""

    def __init__(self, theirs: sa.Engine, ours: sa.Engine, folder: Path):
        self.ours = ours
        self.theirs = theirs
        self.file = folder / "mapping.toml"
        options = json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")
        self.origin = source.open_source(theirs.url.render_as_string(hide_password=False), options)

    def __call__(
        self, edit: Callable[[str], str] = str, *, check: bool = False, progress: Callable[[int], None] = print
    ) -> dict[str, Tally]:
        self.file.write_text(edit(legacy.MAPPING), "utf-8")
        parts, zone = resolve(mapping.load(self.file), self.origin, source.tables(self.origin))
        adopting = Adoption(self.origin, self.ours, parts, zone, progress)
        adopting.survey()
        return {tally.name: tally for tally in adopting.run(dry_run=check)}

    def refused(self, edit: Callable[[str], str] = str) -> str:
        """What stands in the way; nothing was written."""
        with pytest.raises(Refused) as caught:
            self(edit)
        with self.ours.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM contacts")).scalar() == 0
        return str(caught.value)


@pytest.fixture
def adopt(theirs: sa.Engine, store: Store, tmp_path: Path) -> Iterator[Adopting]:
    adopting = Adopting(theirs, store.engine, tmp_path)
    yield adopting
    adopting.origin.dispose()


def contents(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return [
            connection.execute(sa.select(table).order_by(table.c[0])).all() for table in legacy.metadata.sorted_tables
        ]


def numbers(tally: Tally) -> tuple[int, int, int, int]:
    return tally.new, tally.filled, tally.same, sum(some.count for some in tally.skipped.values())


def test_everything_arrives(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    before = contents(adopt.theirs)

    tallies = adopt()

    assert contents(adopt.theirs) == before
    assert {name: numbers(tally) for name, tally in tallies.items()} == {
        "channels": (1, 0, 0, 1),
        "advisors": (1, 0, 0, 0),
        "campaigns": (1, 0, 0, 0),
        "contacts": (3, 0, 0, 0),
        "contact_states": (3, 0, 0, 0),
        "campaign_contacts": (3, 0, 0, 0),
    }
    [channel] = store.rows("channels")
    [campaign] = store.rows("campaigns")
    assert (campaign.id, campaign.name, campaign.budget, campaign.channel_id) == (85, "Invierno ❄", 1500, channel.id)
    assert campaign.date_start == datetime(2025, 3, 4, 5, tzinfo=timezone.utc)  # midnight in Bogotá
    [advisor] = store.rows("advisors")
    assert (advisor.id, advisor.name, advisor.role) == (7, "Lucía", "commercial")
    [row] = store.rows("contacts", manychat_id="MC1")
    assert (row.first_name, row.last_name, row.phone) == ("José 🌻", "Muñoz", "+573000000001")
    assert (row.email, row.channel_id, row.last_state) == ("jose1@example.com", channel.id, "Cotización")
    assert row.subscribed_at == datetime(2025, 3, 5, 2, 30, tzinfo=timezone.utc)
    assert row.event_at == datetime(2025, 3, 5, 2, 31, tzinfo=timezone.utc)
    [state] = store.rows("contact_states", contact_id=row.id)
    assert (state.state, state.category, state.created_at) == ("Nuevo lead", "adopted", row.subscribed_at)
    [assigned] = store.rows("campaign_contacts", contact_id=row.id)
    assert (assigned.campaign_id, assigned.commercial_advisor_id, assigned.summary) == (
        85,
        7,
        "Pregunta por precios 💬",
    )
    assert assigned.assigned_at == assigned.commercial_assignment_date == row.subscribed_at


def test_a_check_says_what_would_be_written_and_writes_nothing(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    would = adopt(check=True)
    for table in ("channels", "contacts", "contact_states", "campaign_contacts", "campaigns", "advisors"):
        assert store.rows(table) == []
    assert {name: numbers(tally) for name, tally in adopt().items()} == {
        name: numbers(tally) for name, tally in would.items()
    }
    again = adopt(check=True)
    assert all(tally.new == tally.filled == 0 for tally in again.values())


def test_a_second_run_writes_nothing(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    adopt()
    before = [store.rows(table) for table in fields.TABLES]
    again = adopt()
    assert [store.rows(table) for table in fields.TABLES] == before
    assert all(tally.new == tally.filled == 0 for tally in again.values())


def test_killed_in_the_middle_it_goes_on_where_it_was(
    adopt: Adopting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy.fill(adopt.theirs, legacy.few(people=2400))
    seen = 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > 7204 + 1500:  # all surveyed once, and some of the contacts written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adopt(progress=stop)
    there = len(store.rows("contacts"))
    assert 0 < there < 2400

    tallies = adopt()

    assert numbers(tallies["contacts"]) == (2400 - there, 0, there, 0)
    for table in ("contacts", "contact_states", "campaign_contacts"):
        assert len(store.rows(table)) == 2400


def test_what_the_bridge_has_written_itself_stays_and_only_gaps_are_filled(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    store.run(apply_contacts, [contact(manychat_id="MC1", nombre_lead="Pepe", ultimo_estado="Compra")])
    tallies = adopt()
    assert numbers(tallies["contacts"]) == (2, 1, 0, 0)
    [row] = store.rows("contacts", manychat_id="MC1")
    assert (row.first_name, row.last_name, row.last_state) == ("Pepe", "Muñoz", "Compra")
    assert row.event_at == NOON
    assert len(store.rows("contact_states", contact_id=row.id)) == 2


def test_an_event_from_before_their_last_change_fills_and_one_from_after_wins(adopt: Adopting, store: Store) -> None:
    legacy.fill(
        adopt.theirs,
        legacy.few(0) | {legacy.contactos: [legacy.person(1, **{"Correo electrónico": None, "canal_id": None})]},
    )
    adopt()
    year = 365 * 24 * 60
    store.run(apply_contacts, [contact(-year, "MC1", nombre_lead="Viejo", email_lead="viejo@example.com")])
    [row] = store.rows("contacts")
    assert (row.first_name, row.email) == ("José 🌻", "viejo@example.com")
    store.run(apply_contacts, [contact(0, "MC1", nombre_lead="Pepe")])
    [row] = store.rows("contacts")
    assert row.first_name == "Pepe"


def test_an_update_without_a_campaign_finds_the_adopted_assignment(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few(people=1))
    adopt()
    store.run(apply_campaign_events, [update(0, "MC1", last_state="Llamar")])
    [row] = store.rows("campaign_contacts")
    assert (row.campaign_id, row.last_state) == (85, "Llamar")


def test_an_advisers_date_is_not_given_to_another_adviser(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few(people=1))
    adopt()
    table = sa.table("campaign_contacts", sa.column("commercial_assignment_date"), sa.column("commercial_advisor_id"))
    with store.engine.begin() as connection:
        connection.execute(table.update().values(commercial_assignment_date=None, commercial_advisor_id=7))
    assert numbers(adopt()["campaign_contacts"]) == (0, 0, 1, 0)


def test_of_two_rows_for_one_person_the_newest_wins_and_takes_the_others_history(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=0)
    late = legacy.EVENING + timedelta(days=9)
    rows[legacy.contactos] = [
        legacy.person(1, **{"Fecha actualización": None}),
        legacy.person(2, **{"Manychat ID": "MC1 ", "nombre_lead": "Pepe", "Fecha actualización": late}),
        legacy.person(3, **{"Manychat ID": " MC1"}),
    ]
    rows[legacy.estados] = [legacy.state(n, n, fecha=legacy.EVENING + timedelta(days=n)) for n in (1, 2, 3)]
    legacy.fill(adopt.theirs, rows)
    tallies = adopt()
    assert numbers(tallies["contacts"]) == (1, 0, 0, 2)
    [row] = store.rows("contacts")
    assert (row.manychat_id, row.first_name) == ("MC1", "Pepe")
    assert len(store.rows("contact_states", contact_id=row.id)) == 3


def test_a_column_that_the_newest_row_lacks_comes_from_the_next_that_has_it(adopt: Adopting, store: Store) -> None:
    def person(number: int, **values: Any) -> dict[str, Any]:
        empty = dict.fromkeys(("whatsapp", "Correo electrónico", "Último estado", "canal_id"))
        return legacy.person(number, **{"Manychat ID": "MC1", **empty, **values})

    rows = legacy.few(people=0)
    rows[legacy.contactos] = [
        person(1, **{"Correo electrónico": "old@example.com", "whatsapp": "+573001", "nombre_lead": "Ana"}),
        person(2, **{"Correo electrónico": "newer@example.com", "canal_id": 2}),
        person(3, **{"nombre_lead": "{{first_name}}", "Último estado": "Compra"}),
        person(4, **{"Manychat ID": "MC4"}),
    ]
    legacy.fill(adopt.theirs, rows)
    assert numbers(adopt(check=True)["contacts"]) == numbers(adopt()["contacts"]) == (2, 0, 0, 2)
    [row] = store.rows("contacts", manychat_id="MC1")
    assert (row.email, row.phone, row.last_state) == ("newer@example.com", "+573001", "Compra")
    assert row.first_name == "José 🌻"  # of row 2
    assert row.channel_id is not None
    assert row.event_at == legacy.EVENING.replace(tzinfo=timezone.utc) + timedelta(hours=5, minutes=3)
    before = [store.rows(table) for table in fields.TABLES]
    assert numbers(adopt()["contacts"]) == (0, 0, 2, 2)
    assert [store.rows(table) for table in fields.TABLES] == before

    # An event from between the two rows knows better than the older one, and not than the newer one.
    between = (row.event_at - NOON).total_seconds() / 60 - 0.5
    store.run(apply_contacts, [contact(between, "MC1", email_lead="event@example.com", ultimo_estado="Cotización")])
    [row] = store.rows("contacts", manychat_id="MC1")
    assert (row.email, row.last_state) == ("event@example.com", "Compra")


def test_doubles_are_joined_whatever_their_distance_in_the_table(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=1300)
    rows[legacy.contactos][0] |= {"Manychat ID": "MC1299", "Último estado": "Viejo"}
    rows[legacy.contactos][1298] |= {"Último estado": None}
    rows[legacy.asignaciones][0] |= {"comercial_id": 9, "resumen": "viejo"}
    rows[legacy.asignaciones][1298] |= {
        "comercial_id": None,
        "fecha_asignacion_comercial": None,
        "resumen": None,
        "Fecha actualización": legacy.EVENING + timedelta(days=1),
    }
    legacy.fill(adopt.theirs, rows)
    assert numbers(adopt()["contacts"]) == (1299, 0, 0, 1)
    [row] = store.rows("contacts", manychat_id="MC1299")
    assert row.last_state == "Viejo"
    [assigned] = store.rows("campaign_contacts", contact_id=row.id)
    assert (assigned.commercial_advisor_id, assigned.summary) == (9, "viejo")
    assert assigned.commercial_assignment_date is not None


@pytest.mark.parametrize("nobody", ["{{user_id}}", "null", "undefined", "0", " {{id}} ", "None", "-", "\u200b"])
def test_a_row_whose_id_names_nobody_is_no_person(adopt: Adopting, store: Store, nobody: str) -> None:
    rows = legacy.few(people=1)
    rows[legacy.contactos] += [legacy.person(n, **{"Manychat ID": nobody}) for n in (2, 3)]
    rows[legacy.estados] += [legacy.state(2, 2), legacy.state(3, 1, estado="{{estado}}")]
    legacy.fill(adopt.theirs, rows)
    tallies = adopt()
    assert numbers(tallies["contacts"]) == (1, 0, 0, 2)
    assert [row.manychat_id for row in store.rows("contacts")] == ["MC1"]
    assert numbers(tallies["contact_states"]) == (1, 0, 0, 2)


@pytest.mark.parametrize(
    ("column", "ours", "value", "expected"),
    [
        ("nombre_lead", "first_name", "{{first_name}}", None),
        ("nombre_lead", "first_name", "null", None),
        ("nombre_lead", "first_name", "Ana {{last_name}}", "Ana"),
        ("nombre_lead", "first_name", "Null", "Null"),
        ("whatsapp", "phone", "{{phone}}", None),
        ("whatsapp", "phone", "+{{phone}}", None),
        ("Correo electrónico", "email", "N/A", None),
        ("Correo electrónico", "email", "{{email}}", None),
        ("Último estado", "last_state", "undefined", None),
        ("apellido_lead", "last_name", "Mun\u0303oz", "Muñoz"),
    ],
)
def test_values_are_read_as_those_of_a_bot(
    adopt: Adopting, store: Store, column: str, ours: str, value: str, expected: str | None
) -> None:
    rows = legacy.few(people=0) | {legacy.contactos: [legacy.person(1, **{column: value})]}
    legacy.fill(adopt.theirs, rows)
    tallies = adopt()
    [row] = store.rows("contacts")
    assert getattr(row, ours) == expected
    changed = {reason: some.keys for reason, some in tallies["contacts"].changed.items()}
    assert changed == ({} if "{{" not in value and expected else {next(iter(changed), ours): [1]})


def test_a_placeholder_adviser_is_none(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=1)
    rows[legacy.asignaciones][0]["comercial_id"] = 0
    legacy.fill(adopt.theirs, rows)
    adopt()
    [row] = store.rows("campaign_contacts")
    assert row.commercial_advisor_id is None


def test_a_state_is_one_whatever_source_it_came_from(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=2)
    rows[legacy.estados] += [legacy.state(3, 1, estado=" NUEVO  lead"), legacy.state(4, 1, estado="Compra")]
    legacy.fill(adopt.theirs, rows)
    at = "2025-03-05T02:30:00Z"
    store.run(apply_contacts, [contact(0, "MC2", ultimo_estado="Nuevo lead", datetime_actual=at)])
    would = numbers(adopt(check=True)["contact_states"])
    assert numbers(adopt()["contact_states"]) == would == (2, 0, 2, 0)
    written = store.rows("contact_states")

    # The same rows in another table, with keys of its own, as a second system has them.
    with adopt.theirs.begin() as connection:
        connection.execute(legacy.estados.update().values(id=legacy.estados.c.id + 100))
    assert numbers(adopt()["contact_states"]) == (0, 0, 4, 0)
    assert store.rows("contact_states") == written
    [first, *_] = store.rows("contacts", manychat_id="MC1")
    assert [row.state for row in store.rows("contact_states", contact_id=first.id)] == ["Nuevo lead", "Compra"]


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("Comercial", "commercial"),
        ("ASESOR COMERCIAL", "commercial"),
        ("Médica", "medical"),
        ("Dr.", "medical"),
        ("ventas", "commercial"),
        ("medical", "medical"),
        ("", None),
        ("null", None),
    ],
)
def test_a_role_gets_the_bridges_own_word(adopt: Adopting, store: Store, word: str, ours: str | None) -> None:
    rows = legacy.few(people=0)
    rows[legacy.asesores][0]["rol"] = word
    legacy.fill(adopt.theirs, rows)
    adopt()
    [advisor] = store.rows("advisors")
    assert advisor.role == ours


@pytest.mark.parametrize("odd", ["Jefe", "comercial y médico", "2", "asesor"])
def test_a_role_that_may_be_either_is_the_operators_decision(adopt: Adopting, store: Store, odd: str) -> None:
    rows = legacy.few(people=0)
    rows[legacy.asesores][0]["rol"] = odd
    legacy.fill(adopt.theirs, rows)
    assert "role is neither commercial nor medical" in adopt.refused()
    adopt(lambda text: text.replace("[advisors]", f'[advisors]\nroles = {{ "{odd.upper()}" = "medical" }}'))
    [advisor] = store.rows("advisors")
    assert advisor.role == "medical"


def test_where_nothing_tells_which_is_newer_a_person_decides(adopt: Adopting, store: Store) -> None:
    same = {"Manychat ID": "MC1", "Fecha actualización": legacy.EVENING}
    legacy.fill(
        adopt.theirs,
        legacy.few(0) | {legacy.contactos: [legacy.person(1, **same), legacy.person(2, nombre_lead="Pepe", **same)]},
    )
    assert 'Write duplicates = "first" or "last"' in adopt.refused()
    adopt(lambda text: text.replace("[contacts]", '[contacts]\nduplicates = "last"'))
    [row] = store.rows("contacts")
    assert row.first_name == "Pepe"


@pytest.mark.parametrize(("choice", "people"), [("same", 1), ("different", 2)])
def test_ids_that_differ_in_capitals_only_are_a_persons_decision(
    adopt: Adopting, store: Store, choice: str, people: int
) -> None:
    rows = legacy.few(0) | {legacy.contactos: [legacy.person(1), legacy.person(2, **{"Manychat ID": "mc1"})]}
    legacy.fill(adopt.theirs, rows)
    assert 'capitals = "same"' in adopt.refused()
    adopt(lambda text: text.replace("[contacts]", f'[contacts]\ncapitals = "{choice}"'))
    assert len(store.rows("contacts")) == people


def test_rows_without_a_contact_are_left_out_and_counted(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=1)
    rows[legacy.contactos] += [legacy.person(2, **{"Manychat ID": None}), legacy.person(3, **{"Manychat ID": "  "})]
    rows[legacy.estados] += [
        legacy.state(2, 2),
        legacy.state(3, 99),
        legacy.state(4, None),
        legacy.state(5, 1, estado=""),
    ]
    legacy.fill(adopt.theirs, rows)
    tallies = adopt()
    skipped = {reason: (some.count, some.keys) for reason, some in tallies["contact_states"].skipped.items()}
    assert skipped == {
        "its contact does not exist, or is left out": (2, [2, 3]),
        "contact_id is empty": (1, [4]),
        "state is empty": (1, [5]),
    }
    assert numbers(tallies["contacts"]) == (1, 0, 0, 2)


def test_what_does_not_fit_is_refused_until_the_operator_decides(adopt: Adopting, store: Store) -> None:
    rows = legacy.few(people=2)
    rows[legacy.contactos][0]["apellido_lead"] = "🌻" * 150  # 300 units of UTF-16
    rows[legacy.asignaciones][1]["comercial_id"] = -3
    legacy.fill(adopt.theirs, rows)
    said = adopt.refused()
    assert "last_name is longer than 256" in said
    assert "commercial_advisor_id is not a whole number" in said
    assert "🌻" not in said
    tallies = adopt(
        lambda text: text.replace('key = "ContactoID"', 'key = "ContactoID"\nmisfits = "cut"').replace(
            "[campaign_contacts]", '[campaign_contacts]\nmisfits = "skip"'
        )
    )
    assert tallies["contacts"].changed["last_name is longer than 256"].keys == [1]
    assert store.rows("contacts", manychat_id="MC1")[0].last_name == "🌻" * 128
    assert numbers(tallies["campaign_contacts"]) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"Canales"', '"Canal"', "[channels] there is no table Canal."),
        ('"whatsapp"', '"wasap"', "has no column wasap. It has: ContactoID, "),
        ("phone =", "fone =", "there is no field fone"),
        ("[channels]", '[channels]\nroles = { "x" = "medical" }', "only [advisors] has roles"),
        ('timezone = "America/Bogota"', "", "has no time zone"),
        ('state = "estado"', "", "[contact_states] state is needed"),
        ('created_at = "fecha"', 'created_at = "ContactoID"', "not a date or time"),
        ('contact_id = "ContactoID"\nstate', "state", "either contact_id or manychat_id"),
        (
            'key = "ContactoID"',
            'key = "canal_id"',
            "Contactos de ManyChat: 2 rows repeat the value of another",
        ),
    ],
)
def test_a_mapping_that_does_not_match_is_refused_in_words(adopt: Adopting, old: str, new: str, message: str) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    assert message in adopt.refused(lambda text: text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[contacts", "mapping.toml"),
        ("[contacts]\ntable = 5", "contacts.table"),
        ('timezone = "Marte"', "not a time zone"),
        ('[people]\ntable = "x"', "people"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mapping.toml"
    with pytest.raises(ConfigurationError, match="--describe"):
        mapping.load(file)
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        mapping.load(file)
    assert message in str(caught.value)


def test_a_guess_needs_little_correction(adopt: Adopting, store: Store) -> None:
    legacy.fill(adopt.theirs, legacy.few())
    text = guesses.first_mapping(source.tables(adopt.origin)).replace("# timezone", "timezone", 1)
    adopt.file.write_text(text, "utf-8")
    guessed = mapping.load(adopt.file)
    assert guessed.contact_states is not None
    assert guessed.contact_states.columns == {"contact_id": "ContactoID", "state": "estado", "created_at": "fecha"}
    assert guessed.campaigns is not None
    assert guessed.campaigns.columns["date_start"] == "Fecha inicio"
    assert guessed.campaign_contacts is not None
    assert guessed.campaign_contacts.columns["campaign_id"] == "Campaña"
    assert guessed.contacts is not None
    assert guessed.contacts.columns["email"] == "Correo electrónico"
    assert guessed.contacts.updated == "Fecha actualización"


def test_the_bridges_own_tables_are_not_offered(adopt: Adopting, store: Store) -> None:
    own = source.open_source(store.engine.url.render_as_string(hide_password=False))
    names = {table.name for table in source.tables(own)}
    own.dispose()
    assert not names & {"contacts", "audit", "alembic_version"}


@pytest.mark.parametrize("statement", ["DELETE FROM asesores", "UPDATE asesores SET id = 1", "DROP TABLE asesores"])
def test_nothing_but_reading_is_possible_in_their_database(adopt: Adopting, statement: str) -> None:
    with adopt.origin.connect() as connection, pytest.raises(AssertionError, match="only read"):
        connection.execute(sa.text(statement))
    # And without that guard the database itself refuses, where it knows how.
    if adopt.origin.dialect.name != "mssql":
        sa.event.remove(adopt.origin, "before_cursor_execute", source._only_reads)
        with adopt.origin.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.?only"):
            connection.execute(sa.text('CREATE TABLE "nueva" (id INTEGER)'))


@pytest.mark.parametrize("after", [None, 5, "x"])
def test_their_rows_are_read_with_sql_that_sql_server_understands(after: Any) -> None:
    columns = (
        source.Column("Año [x] de 'alta'", "datetimeoffset", "moment", True),
        source.Column("Campaña id", "int", "integer", False),
    )
    table = source.Table("mi esquema", "Contactos de ManyChat", columns, (), 5)
    for statement in (
        source.page_statement(table, "Campaña id", [column.name for column in columns], after, 500),
        source.key_statement(table, "Campaña id"),
    ):
        sql = str(statement.compile(dialect=MSDialect_pyodbc(), compile_kwargs={"render_postcompile": True}))
        [parsed] = sqlglot.parse(sql.replace("?", "@p"), read="tsql")
        assert isinstance(parsed, sqlglot.exp.Select)
        assert not parsed.args.get("into")
        assert "[mi esquema].[Contactos de ManyChat]" in sql
        assert "OFFSET" not in sql


def test_a_batch_fits_into_one_statement_of_sql_server() -> None:
    assert adoption.BATCH <= 500


def test_their_contacts_and_ours_live_in_one_database_in_two_schemas(adopt: Adopting, other_schema: sa.Engine) -> None:
    migrate.upgrade(other_schema)
    theirs = sa.Table("contacts", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), schema="de_ellos")
    theirs.append_column(sa.Column("manychat_id", sa.Unicode(64)))
    with adopt.theirs.begin() as connection:
        connection.execute(sa.schema.CreateSchema("de_ellos"))
        theirs.create(connection)
        connection.execute(theirs.insert(), {"manychat_id": "MC1"})
    try:
        file = adopt.file
        file.write_text('[contacts]\ntable = "de_ellos.contacts"\nkey = "id"\ncolumns = {manychat_id = "manychat_id"}')
        found = source.tables(adopt.origin)
        assert [table.full_name for table in found if table.name == "contacts"] == ["de_ellos.contacts"]
        parts, zone = resolve(mapping.load(file), adopt.origin, found)
        adopting = Adoption(adopt.origin, other_schema, parts, zone, print)
        adopting.survey()
        assert [numbers(tally) for tally in adopting.run(dry_run=False)] == [(1, 0, 0, 0)]
    finally:
        with adopt.theirs.begin() as connection:
            theirs.drop(connection)
            connection.execute(sa.schema.DropSchema("de_ellos"))
