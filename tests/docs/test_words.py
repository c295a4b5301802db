"""One Spanish word for one thing, in the translations of the addon."""

import re

import polib
import pytest

from .pages import ROOT

TERMS = [entry for entry in polib.pofile(str(ROOT / "miasalud_crm" / "i18n" / "es.po")) if not entry.obsolete]

#: What must not stand in the Spanish; and the English of which it may be the translation all the same.
FORBIDDEN = {
    "map is “asignar”": (r"\bmape|\bmapa de campos", r"(?!)"),
    "“vincular” is for links only": (r"\bvincul|\benlaz", r"\blink"),
    "bridge is “puente”": (r"\bbridge\b", r"python -m bridge|`bridge"),
    # As in the names of ManyChat's and Odoo's own things: ManyChat, chatter.
    "chat is “conversación”": (r"\bchats?\b", r"^https:"),
    "alias is “alias”": (r"\bsinónimo|\bapodo", r"(?!)"),
    "opportunity is “oportunidad”": (r"\bprospecto", r"\blead"),
    "stage is “etapa”": (r"\bfases?\b", r"(?!)"),
    "scheduled action is “acción planificada”": (r"acci[oó]n(es)? programada|\bcron\b", r"(?!)"),
}
#: English words, and the one Spanish word that each translation of them has.
ONE_WORD = {r"\bbridges?\b": "puente", r"\bopportunit(y|ies)\b": "oportunidad", r"\balias(es)?\b": "alias"}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_one_thing_has_no_second_name(rule: str) -> None:
    pattern, allowed = FORBIDDEN[rule]
    wrong = [
        f"{entry.msgid!r}: {entry.msgstr!r}"
        for entry in TERMS
        if re.search(pattern, entry.msgstr, re.IGNORECASE) and not re.search(allowed, entry.msgid, re.IGNORECASE)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("english", ONE_WORD)
def test_one_thing_has_one_name(english: str) -> None:
    found = [entry for entry in TERMS if entry.msgstr and re.search(english, entry.msgid, re.IGNORECASE)]
    commands = re.compile(r"(python -m |`)bridge|base\.bridge|bridge_", re.IGNORECASE)
    wrong = [
        f"{entry.msgid!r}: {entry.msgstr!r}"
        for entry in found
        if ONE_WORD[english] not in entry.msgstr.casefold() and not commands.search(entry.msgid)
    ]
    assert len(found) > 5
    assert not wrong, "\n".join(wrong)
