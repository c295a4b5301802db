"""The version of a release: the Git tag, the addon, the bridge and the changelog have the same one.

Odoo reads an addon's version from its manifest in the checkout, so it must stand there as text. The release workflow
checks it against the tag. Standard library only: the workflow runs this without an environment.
"""

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGELOG = Path("CHANGELOG.md")
#: The files that hold the version, each with the text around it.
PLACES = {
    Path("bridge/__init__.py"): r'(?<=__version__ = ")[^"]+(?=")',
    Path("miasalud_crm/__manifest__.py"): r'(?<="version": ")[^"]+(?=")',
}
#: Three numbers and no Odoo series: see miasalud_crm/migrations/README.md.
VERSION = re.compile(r"\d+\.\d+\.\d+")


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version by the file that holds it; of the changelog, the newest one."""
    found = {str(path): _only(pattern, (root / path).read_text(encoding="utf-8")) for path, pattern in PLACES.items()}
    newest = re.search(rf"^## ({VERSION.pattern}) ", (root / CHANGELOG).read_text(encoding="utf-8"), re.MULTILINE)
    return found | {str(CHANGELOG): newest[1] if newest else "none"}


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """What keeps ``tag`` (``v0.4.0``) from being a release, one sentence each; empty if nothing does."""
    wanted = tag.removeprefix("v")
    wrong = [f"{path} has version {found}." for path, found in versions(root).items() if found != wanted]
    if not tag.startswith("v") or not VERSION.fullmatch(wanted):
        wrong.insert(0, f"The tag {tag} is not of the form v0.4.0.")
    if f"## {wanted} – unreleased" in (root / CHANGELOG).read_text(encoding="utf-8"):
        wrong.append(f"{CHANGELOG} calls {wanted} unreleased: enter the date.")
    return wrong


def notes(tag: str, root: Path = ROOT) -> str:
    """What the changelog says about the release, without its heading."""
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(tag.removeprefix('v'))} .*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return section[1].strip() + "\n" if section else ""


def write(version: str, root: Path = ROOT, today: datetime.date | None = None) -> None:
    """Write ``version`` into each file, and the date into the changelog's newest section.

    :raises ValueError: ``version`` has not three numbers, or the changelog has no unreleased section of that version
    """
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version} is not a version such as 0.5.0.")
    changelog = (root / CHANGELOG).read_text(encoding="utf-8")
    heading = f"## {version} – unreleased"
    if heading not in changelog:
        raise ValueError(f"{CHANGELOG} has no section “{heading.removeprefix('## ')}”: write what changes for readers.")
    for path, pattern in PLACES.items():
        file = root / path
        file.write_text(re.sub(pattern, version, file.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    day = (today or datetime.datetime.now(datetime.timezone.utc).date()).isoformat()
    (root / CHANGELOG).write_text(changelog.replace(heading, f"## {version} – {day}"), encoding="utf-8")


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, pattern
    return found[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Prepare a release, or check the tag of one.")
    parser.add_argument("version", nargs="?", help="write this version (0.5.0) into the files")
    parser.add_argument("--check", metavar="TAG", help="exit with 1 unless the tag (v0.5.0) matches the files")
    parser.add_argument("--notes", metavar="TAG", help="print the changelog's section of the tag")
    options = parser.parse_args()
    if options.version:
        try:
            write(options.version)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"The files have version {options.version} now. Commit them, then tag the commit v{options.version}.")
    elif options.check:
        wrong = faults(options.check)
        print("\n".join(wrong) or f"{options.check} matches the code.", file=sys.stderr if wrong else sys.stdout)
        return 1 if wrong else 0
    elif options.notes:
        print(notes(options.notes), end="")
    else:
        parser.print_help()
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
