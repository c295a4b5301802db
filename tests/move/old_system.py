"""An old system with the noise of years, and what must become of each person. All people are invented.

What must become of a person follows from how they are made here, and not from the product's code.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: ManyChat's label of each stage, by its number.
LABELS = {
    16: "Recién Suscrito (Sin Asignar)",
    17: "Recién suscrito Pendiente de AC",
    18: "Retornó en AC",
    19: "Comienza Atención Comercial",
    20: "Retornó a Asesoría especializada",
    21: "Derivado Asesoría Médica",
    22: "Comienza Asesoría Médica",
    23: "Terminó Asesoría Médica",
    24: "No terminó Asesoría especializada",
    25: "Comienza Cotización",
    26: "Orden de venta Confirmada",
}
#: A label that is misspelt, which an alias mends, and labels that are no stage.
MISSPELT, MEANT = "Comienza cotizacion", 25
NO_STAGES = ("Nuevo Lead", "Asignado a campaña", "Nuevo")
UNDATED = datetime(2024, 1, 1, tzinfo=timezone.utc)
BEGIN = datetime(2025, 1, 1, 8, tzinfo=timezone.utc)
#: After all states of the old system, and before now.
DECIDED = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
FUTURE = datetime(2031, 5, 5, 5, tzinfo=timezone.utc)
FIRST = ("Ana", "José", "Zoë", "Нина", "美咲", "Íñigo 🌻", "María José", "Ñusta", "", "Bruno")
LAST = ("Inventada", "Ficticio", "De Muestra", "O'Ejemplo", "Müller-Ejemplo", "")
KNOWN_ADVISER, UNKNOWN_ADVISER, MEDICAL = 700, 799, 101

metadata = sa.MetaData()
TABLES = {
    "channels": ("id", "name", "description"),
    "advisors": ("id", "name", "email", "role"),
    "campaigns": ("id", "name", "channel_id"),
    "contacts": (
        *("id", "manychat_id", "first_name", "last_name", "phone", "email", "channel_id", "subscribed_at"),
        *("last_state", "updated_at", "odoo_sync_status"),
    ),
    "contact_states": ("id", "contact_id", "state", "category", "created_at"),
    "campaign_contacts": (
        *("id", "contact_id", "campaign_id", "commercial_advisor_id", "medical_advisor_id", "assigned_at"),
        *("last_state", "summary"),
    ),
}
for _name, _columns in TABLES.items():
    _types: dict[str, Any] = dict.fromkeys(("subscribed_at", "updated_at", "created_at", "assigned_at"), sa.DateTime)
    _types |= {name: sa.Integer for name in _columns if name.endswith("id") and name != "manychat_id"}
    sa.Table(
        _name,
        metadata,
        *(sa.Column(name, _types.get(name, sa.Unicode), primary_key=name == "id") for name in _columns),
    )

_EXTRA = {
    "contacts": 'updated = "updated_at"\nduplicates = "last"\nmisfits = "cut"\n',
    "campaign_contacts": 'misfits = "cut"\n',
}
_UNMAPPED = ("odoo_sync_status", "updated_at")
MAPPING = 'timezone = "UTC"\n' + "".join(
    f'\n[{name}]\ntable = "{name}"\nkey = "id"\n{_EXTRA.get(name, "")}[{name}.columns]\n'
    + "".join(
        f'{column} = "{column}"\n'
        for column in columns
        if column not in _UNMAPPED and (column != "id" or name in ("advisors", "campaigns"))
    )
    for name, columns in TABLES.items()
)


@dataclass
class Deal:
    """An opportunity of a contact, as people made it in Odoo by hand."""

    created: datetime
    type: str = "opportunity"
    closed: str = ""  # "lost" or "won"
    closed_at: datetime | None = None
    stage: int | None = None  # a person moved it there
    moved_at: datetime | None = None


@dataclass
class Person:
    """One person, and what must become of them.

    :ivar stage: number of the stage that they must be in; ``None``: they get no opportunity
    :ivar fate: created, taken (over) or none
    :ivar deal: which of their deals is taken over
    :ivar is_decided: a user's decision is newer than the old state, so the deal stays where it is
    """

    number: int
    manychat_id: str
    states: list[tuple[datetime | None, str]] = field(default_factory=list)
    contacts: int = 0
    is_archived: bool = False
    is_company: bool = False
    deals: list[Deal] = field(default_factory=list)
    stage: int | None = None
    at: datetime | None = None
    fate: str = "created"
    deal: int | None = None
    is_decided: bool = False


def people(count: int, seed: int = 2026) -> list[Person]:
    """So many people, always the same ones."""
    dice = random.Random(seed)
    return [_person(number, dice) for number in range(1, count + 1)]


def _person(number: int, dice: random.Random) -> Person:
    person = Person(number, f"MC{40_000_000 + number}")
    moment = BEGIN + timedelta(minutes=dice.randrange(400_000))
    for _ in range(dice.choice((0, 1, 1, 2, 3, 5))):
        moment += timedelta(minutes=dice.randrange(5, 30_000))
        person.states.append((moment, _label(dice)))
    kind = dice.random()
    if kind < 0.02:
        person.states.append((FUTURE, LABELS[26]))
    elif kind < 0.04 or not person.states:
        person.states.append((None, LABELS[18]))
    _contact(person, dice)
    _expect(person)
    return person


def _label(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.06:
        return dice.choice(NO_STAGES)
    if kind < 0.10:
        return MISSPELT
    label = LABELS[dice.choice(range(16, 27))]
    return dice.choice((label, label, label, label.upper(), f"  {label} ", label.replace(" ", "  ")))


def _contact(person: Person, dice: random.Random) -> None:
    """What Odoo has of the person: seven of ten are contacts there."""
    kind = dice.random()
    if kind > 0.7:
        return
    person.contacts = 2 if kind < 0.03 else 1
    person.is_archived = dice.random() < 0.05
    person.is_company = dice.random() < 0.01
    made = BEGIN - timedelta(days=dice.randrange(1, 300))
    kind = dice.random()
    if kind < 0.3:
        person.deals = [Deal(made)]
    elif kind < 0.34:
        person.deals = [Deal(made), Deal(made + timedelta(days=3)), Deal(made - timedelta(days=3))]
    elif kind < 0.37:
        person.deals = [Deal(made, "lead")]
    elif kind < 0.40:
        person.deals = [Deal(made, closed="lost", closed_at=made + timedelta(days=1))]
    elif kind < 0.43:
        person.deals = [Deal(made, closed="lost", closed_at=DECIDED)]
    elif kind < 0.46:
        person.deals = [Deal(made, closed="won", closed_at=made + timedelta(days=1))]
    elif kind < 0.49:
        person.deals = [Deal(made, stage=20, moved_at=DECIDED)]
    elif kind < 0.52:
        person.deals = [Deal(made), Deal(made, closed="lost", closed_at=DECIDED)]


def _expect(person: Person) -> None:
    """Work out what must become of the person."""
    meaning = {" ".join(label.split()).casefold(): number for number, label in LABELS.items()}
    meaning[MISSPELT.casefold()] = MEANT
    mapped = [
        (at, meaning[key]) for at, label in person.states if (key := " ".join(label.split()).casefold()) in meaning
    ]
    dated = [(at, number) for at, number in mapped if at is not None and at != FUTURE]
    if not mapped:
        person.fate = "none"
        return
    person.at, person.stage = max(dated) if dated else (UNDATED, max(number for _at, number in mapped))
    is_open = [place for place, deal in enumerate(person.deals) if not deal.closed]
    decided = [place for place, deal in enumerate(person.deals) if deal.closed_at and deal.closed_at > person.at]
    won = [place for place, deal in enumerate(person.deals) if deal.closed == "won"] if person.stage == 26 else []
    if is_open:
        person.deal = max(is_open, key=lambda place: person.deals[place].created)
        person.is_decided = person.deals[person.deal].moved_at is not None
    elif decided:
        person.deal, person.is_decided = decided[0], True
    elif won:
        person.deal = won[0]
    if person.deal is not None:
        person.fate = "taken"


def fill(path: Path, everyone: list[Person], seed: int = 7) -> None:
    """Write the old system's SQL database."""
    dice = random.Random(seed)
    engine = sa.create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    rows["channels"] = [{"id": 1, "name": "Facebook"}, {"id": 2, "name": " FACEBOOK"}, {"id": 3, "name": "Instagram"}]
    rows["advisors"] = [
        {"id": KNOWN_ADVISER, "name": "Adriana Ejemplo", "email": "ADRIANA@EXAMPLE.COM", "role": "commercial"},
        {"id": UNKNOWN_ADVISER, "name": "Ex Asesora", "role": "comercial"},
        {"id": MEDICAL, "name": "Dra. Ficticia", "role": "medical"},
    ]
    rows["campaigns"] = [{"id": 85, "name": "Invierno ❄", "channel_id": 2}]
    for person in everyone:
        for row in _contact_rows(person, dice):
            rows["contacts"].append({"id": len(rows["contacts"]) + 1, **row})
        own = rows["contacts"][-1]["id"]
        for at, label in person.states[:-1]:
            assert at is not None
            state = {"id": len(rows["contact_states"]) + 1, "contact_id": own, "state": label, "category": None}
            rows["contact_states"].append(state | {"created_at": at.replace(tzinfo=None)})
        if dice.random() < 0.5:
            rows["campaign_contacts"].append(_assignment(len(rows["campaign_contacts"]) + 1, own, dice))
    for number in range(10):  # what bots sent before their fields were filled in
        nobody = {"id": len(rows["contacts"]) + 1, "manychat_id": "{{user_id}}" if number % 2 else ""}
        rows["contacts"].append({"odoo_sync_status": "error", "last_state": LABELS[16], **nobody})
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            names = [column.name for column in table.columns]
            connection.execute(table.insert(), [{name: row.get(name) for name in names} for row in rows[table.name]])
    engine.dispose()


def _contact_rows(person: Person, dice: random.Random) -> Iterator[dict[str, Any]]:
    number = person.number
    at, label = person.states[-1]
    row = {
        "manychat_id": person.manychat_id,
        "first_name": dice.choice(FIRST),
        "last_name": dice.choice(LAST),
        "phone": dice.choice((f"+52155{number:08}", f"55 {number:08}", "llamar después", "", None)),
        "email": dice.choice((f"PERSONA{number}@EXAMPLE.COM", f"persona{number}@example.com", "sin correo", None)),
        "channel_id": dice.choice((1, 2, 3, None)),
        "subscribed_at": None,
        "last_state": label,
        "updated_at": at and at.replace(tzinfo=None),
        "odoo_sync_status": dice.choices(("success", "pending", "error"), (90, 5, 5))[0],
    }
    if dice.random() < 0.03:  # the same person once more, with what the newer row lacks
        older = {**row, "updated_at": datetime(2024, 5, 5), "last_state": "Nuevo Lead"}  # noqa: DTZ001
        yield {**older, "email": f"antes{number}@example.com"}
    yield row


def _assignment(number: int, contact: int, dice: random.Random) -> dict[str, Any]:
    return {
        "id": number,
        "contact_id": contact,
        "campaign_id": 85,
        "commercial_advisor_id": dice.choice((KNOWN_ADVISER, KNOWN_ADVISER, UNKNOWN_ADVISER, None)),
        "medical_advisor_id": dice.choice((MEDICAL, None)),
        "assigned_at": datetime(2024, 6, 1, 10),  # noqa: DTZ001
        "last_state": "Asignado a campaña",
        "summary": dice.choice(("Pregunta por precios 💬\n<b>hoy</b>", None)),
    }
