"""A month of conversations that never were: names, numbers and words are invented, and the same in every run."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from bridge.odoo import Odoo
from tests.world import World

#: The conversation's usual way, with the share of people who go on from each stage to the next.
WAY = [(16, 0.95), (17, 0.92), (19, 0.85), (21, 0.8), (22, 0.85), (23, 0.75), (25, 0.6), (26, 0.0)]
_PEOPLE = 46
_DAYS = 28
_FIRST = ["Ana", "Bruno", "Carla", "Darío", "Elena", "Fabián", "Gloria", "Hugo", "Inés", "Javier", "Karina", "Leandro"]
_FIRST += ["Marta", "Nicolás", "Olivia", "Pablo", "Raúl", "Sofía", "Tomás", "Úrsula", "Víctor", "Ximena", "Yago"]
_LAST = ["Prueba", "Ensayo", "Muestra", "Ejemplo", "Modelo", "Ficticia", "Inventado", "Supuesto"]
_CHANNELS = ["Facebook", "Facebook", "WhatsApp", "WhatsApp", "WhatsApp", "Instagram", "Web"]
_WORDS = {
    16: "Escribió por un anuncio.",
    17: "Preguntó por una valoración para su mamá.",
    19: "Quiere saber precios y si atienden los sábados.",
    20: "Volvió a escribir: tiene dudas sobre la preparación.",
    21: "Pidió hablar con un médico antes de decidir.",
    22: "Cuenta que le duele la rodilla desde hace un mes.",
    23: "El médico le explicó el tratamiento; está de acuerdo.",
    24: "Prefiere esperar; pidió que la llamen en quince días.",
    25: "Pidió la cotización por correo.",
    26: "Confirmó la orden y eligió fecha.",
}
COMMERCIAL = {700: "Laura Asesora", 701: "Diego Asesor"}
MEDICAL = {101: "Dra. Modelo", 102: "Dr. Ejemplo"}


def advisers(world: World) -> None:
    """The commercial ones are users of Odoo, so that what they are assigned becomes theirs."""
    rows = [
        {"external_id": number, "role": "commercial", "name": name, "user_id": _user(world, name)}
        for number, name in COMMERCIAL.items()
    ]
    rows += [{"external_id": number, "role": "medical", "name": name} for number, name in MEDICAL.items()]
    world.odoo("manychat.advisor", "create", rows)


def conversations(world: World) -> list[str]:
    """Sends a month of them through the webhooks, oldest event first; returns the ids of the opportunity events."""
    draw = random.Random(17)
    events = sorted((event for number in range(_PEOPLE) for event in _conversation(number, draw)), key=lambda it: it[0])
    return [world.send("crm-opportunity", payload) for _moment, payload in events]


def troubles(world: World) -> None:
    """What goes wrong on a usual day: a stage that nobody mapped, a request that breaks the contract."""
    now = datetime.now(timezone.utc)
    for number, label in enumerate(["Reagendó cita", "Reagendó cita", "Pidió reembolso"]):
        state = {"stage": label, "date": (now - timedelta(minutes=9 - number)).isoformat()}
        world.send("crm-opportunity", _person(number) | {"state": state})
    world.post("crm-opportunity", {"manychat_id": "", "state": {"stage_id": "diecisiete"}})
    world.post("contact", {"nombre_lead": "Sin Identificador"})


def refusal(world: World, manychat_id: str) -> None:
    """Reports, as a bridge does, that ManyChat refused to start a flow for this person."""
    refused = {"manychat_id": manychat_id, "event_id": "e1", "code": "window_closed", "message": ""}
    refused["at"] = datetime.now(timezone.utc).isoformat()
    _bridge(world)._call("crm.lead", "manychat_record_write_back", results=[refused])


def bridge_that_writes(world: World) -> None:
    """Reports a second bridge: the running one has no token."""
    _bridge(world).heartbeat("bridge-2/1", "1", write_back="ready")


def _bridge(world: World) -> Odoo:
    return Odoo(world.stack.odoo_url, world.stack.database, "manychat_bridge", world.stack.bridge_key)


def _conversation(number: int, draw: random.Random) -> Iterator[tuple[datetime, dict[str, Any]]]:
    moment = datetime.now(timezone.utc) - timedelta(days=_DAYS * (1 - number / _PEOPLE), minutes=draw.randrange(600))
    person = _person(number) | {
        "commercial_advisor_id": draw.choice([*COMMERCIAL, 0]),
        "medical_advisor_id": 0,
        "entry_date": moment.isoformat(),
    }
    for stage, share in WAY:
        if moment > datetime.now(timezone.utc) - timedelta(minutes=30):
            return
        if stage == 22:
            person["medical_advisor_id"] = draw.choice(list(MEDICAL))
        yield moment, person | {"state": _state(stage, moment)}
        moment += timedelta(hours=draw.choice([1, 3, 6, 20, 30, 50]), minutes=draw.randrange(60))
        if draw.random() > share:
            # Some of those who hesitate come back to an earlier stage, the others stay where they are.
            if stage in (22, 23) and moment < datetime.now(timezone.utc):
                yield moment, person | {"state": _state({22: 20, 23: 24}[stage], moment)}
            return


def _person(number: int) -> dict[str, Any]:
    return {
        "manychat_id": str(100200300 + 7919 * number),
        "first_name": _FIRST[number % len(_FIRST)],
        "last_name": _LAST[(number * 3 + number // len(_FIRST)) % len(_LAST)],
        "phone": f"+52155000{number:05d}",
        "channel": _CHANNELS[number % len(_CHANNELS)],
    }


def _state(stage: int, moment: datetime) -> dict[str, Any]:
    return {"stage_id": stage, "summary": _WORDS.get(stage, ""), "date": moment.isoformat()}


def _user(world: World, name: str) -> int:
    login = name.lower().replace(" ", ".")
    known = world.odoo("res.users", "search", [["login", "=", login]])
    values = {"name": name, "login": login, "email": f"{login}@example.com"}
    return known[0] if known else world.odoo("res.users", "create", values, context={"no_reset_password": True})
