"""Values of every type of SQL Server, in an import. No server needed: they are what its driver gives."""

from __future__ import annotations

from datetime import time, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from bridge.importer import catalog, source
from bridge.importer.checks import _faults
from bridge.importer.fields import Field
from bridge.importer.mapping import Mapping, TableMapping
from bridge.importer.rows import Misfit, convert, reference

#: Each of SQL Server's types, as its catalogue names it, and what can be read of it.
KINDS = {
    "integer": "bigint int smallint tinyint",
    "number": "decimal numeric money smallmoney float real",
    "text": "char varchar nchar nvarchar text ntext xml",
    "time": "datetime datetime2 smalldatetime",
    "moment": "datetimeoffset",
    "date": "date",
    "other": "bit time uniqueidentifier binary varbinary image timestamp json",
    "unreadable": "sql_variant hierarchyid geography geometry vector",
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for kind, names in KINDS.items() for name in names.split()])
def test_every_type_of_sql_server_has_its_kind(name: str, kind: str) -> None:
    assert source._kind(catalog._type(name, 10, 18, 2, 3)) == ("text" if name == "json" else kind)


INTEGER, TEXT, NUMBER = (
    Field(name, kind, "", length=length)
    for name, kind, length in (("id", "integer", None), ("status", "text", 64), ("budget", "number", None))
)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (INTEGER, Decimal("12.0000"), 12),  # MONEY
        (INTEGER, 12.0, 12),  # FLOAT, REAL
        (INTEGER, "12 ", 12),  # CHAR
        (INTEGER, True, 1),
        (NUMBER, Decimal("1234.5600"), Decimal("1234.56")),
        (NUMBER, 0.1, Decimal("0.10")),
        (TEXT, True, "1"),  # BIT
        (TEXT, False, "0"),
        (TEXT, Decimal("12.5000"), "12.5000"),
        (TEXT, 5215512345678.0, "5215512345678"),
        (TEXT, Decimal("5215512345678.0000"), "5215512345678"),
        (TEXT, "Nuevo     ", "Nuevo"),  # CHAR, NCHAR
        (TEXT, UUID("0F8FAD5B-D9CB-469F-A165-70867728950E"), "0f8fad5b-d9cb-469f-a165-70867728950e"),
        (TEXT, time(12, 30), "12:30:00"),
        (TEXT, "<a/>", "<a/>"),  # XML
    ],
)
def test_values_of_every_type_arrive_as_people_mean_them(field: Field, value: Any, expected: Any) -> None:
    assert convert(field, value, timezone.utc) == expected
    assert type(convert(field, value, timezone.utc)) is type(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (INTEGER, 12.5),
        (INTEGER, Decimal("12.5000")),
        (INTEGER, float("inf")),
        (INTEGER, Decimal("NaN")),
        (INTEGER, False),
        (NUMBER, float("nan")),
        (TEXT, b"\x00"),
    ],
)
def test_a_value_that_means_nothing_in_our_column_is_told(field: Field, value: Any) -> None:
    with pytest.raises(Misfit):
        convert(field, value, timezone.utc)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), Decimal("NaN"), 1.5])
def test_a_key_that_is_no_whole_number_stays_what_it_is(value: Any) -> None:
    assert reference(value) is value


def test_a_column_that_the_driver_cannot_read_is_refused_before_it_is_read() -> None:
    column = source.Column("estado", "sql_variant", "unreadable", True)
    ids = source.Column("manychat_id", "nvarchar(50)", "text", False)
    table = source.Table("dbo", "contactos", (ids, column), ("manychat_id",), 5)
    options = TableMapping(
        table="contactos", key="manychat_id", columns={"manychat_id": "manychat_id", "last_state": "estado"}
    )

    faults = list(_faults("contacts", options, table, Mapping(contacts=options)))
    assert [fault for fault in faults if "cannot read dbo.contactos.estado (sql_variant)" in fault]
