"""The addon's terms, as Odoo exports them, merged into its translations: what is translated stays."""

from pathlib import Path

import polib

from .odoo import Odoo
from .paths import ROOT
from .say import quote, say, step
from .stack import ADDON

FOLDER = ROOT / ADDON / "i18n"
_HEADER = {
    "Project-Id-Version": "MiaSalud CRM",
    "Report-Msgid-Bugs-To": "",
    "MIME-Version": "1.0",
    "Content-Type": "text/plain; charset=UTF-8",
    "Content-Transfer-Encoding": "8bit",
}
_EXPORT = """
from odoo.tools.translate import TranslationFileWriter, TranslationModuleReader
with open({path!r}, "wb") as target:
    TranslationFileWriter(target, fileformat="po").write_rows(TranslationModuleReader(env.cr, modules=[{addon!r}]))
"""


def refresh(odoo: Odoo) -> None:
    """Writes the template (.pot) from the addon as it is, and brings each language's .po in line with it."""
    database = f"miasalud_terms_{odoo.label}".replace("-", "_").replace(".", "_")
    odoo.cluster.start()
    odoo.install()
    odoo.create(database, durable=False)  # without demo data, whose texts are no part of the interface
    try:
        with step(f"Installing {ADDON}"):
            odoo.install_modules(database, [ADDON])
        FOLDER.mkdir(exist_ok=True)
        template = FOLDER / f"{ADDON}.pot"
        with step("Exporting its terms"):
            odoo.run_script(database, _EXPORT.format(path=str(template), addon=ADDON))
    finally:
        odoo.drop(database)
    terms = polib.pofile(str(template), wrapwidth=100)
    terms.header = f"Terms of {ADDON}. Written by `make translations`; don't edit."
    terms.metadata = _HEADER  # nothing of the day: the file changes when the terms do
    terms.save()
    for path in sorted(FOLDER.glob("*.po")):
        _merge(path, terms)


def _merge(path: Path, terms: polib.POFile) -> None:
    translated = polib.pofile(str(path), wrapwidth=100)
    known = {entry.msgid: entry.msgstr for entry in translated if not entry.obsolete}
    gone = sorted(set(known) - {entry.msgid for entry in terms})
    merged = polib.POFile(wrapwidth=100)
    merged.header, merged.metadata = translated.header, {**_HEADER, "Language": path.stem}
    for term in terms:
        entry = polib.POEntry(
            msgid=term.msgid,
            msgstr=known.get(term.msgid, ""),
            comment=term.comment,
            occurrences=term.occurrences,
            flags=term.flags,
        )
        merged.append(entry)
    merged.save(str(path))
    missing = [entry.msgid for entry in merged if not entry.msgstr]
    say(f"{path.relative_to(ROOT)}: {len(merged)} terms, {len(missing)} without a translation, {len(gone)} dropped.")
    for msgid in missing:
        quote(f"  without: {msgid}")
    for msgid in gone:
        quote(f"  dropped: {msgid} = {known[msgid]}")
