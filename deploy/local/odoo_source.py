"""Where Odoo's source comes from, and which version it is.

For each version, in this order: the tree in $ODOO_SRC, the user's cache, a clone into the cache, and for 19.0 Debian's
package, unpacked into the cache. No package registry has 18.0, the version this product is made for; a machine that
can't reach GitHub runs 19.0 instead, and set-up says so.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .os_packages import Missing
from .paths import CACHE, STATE
from .say import run_logged, say, step
from .state import State

SUPPORTED = ("18.0", "19.0")
REFERENCE = "18.0"
_REPOSITORY = "https://github.com/odoo/odoo"

# Debian's package links to these instead of shipping them, by relative paths: they belong into the same tree.
# Without the scripts /web/login is an error 500, without the fonts the icons are squares.
_DEBIAN_19 = [
    "odoo-19", "libjs-jquery", "libjs-jquery-form", "libjs-underscore", "fonts-dejavu-core",
    "fonts-glyphicons-halflings", "fonts-inconsolata", "fonts-montserrat", "fonts-ocr-b", "fonts-roboto-unhinted",
    "gsfonts",
]  # fmt: skip
# From the machine's own release: sid has version 7 of it, whose files are named otherwise.
_FROM_OWN_RELEASE = ["fonts-font-awesome"]
_PACKAGES = Path("usr/lib/python3/dist-packages")


@dataclass(frozen=True)
class OdooSource:
    """A tree that `python -m odoo` runs from when `root` is on Python's path."""

    version: str
    root: Path
    why: str
    is_users_own: bool = False

    @property
    def requirements(self) -> Path | None:
        """Odoo's own list of libraries; Debian's package has none."""
        path = self.root / "requirements.txt"
        return path if path.exists() else None

    @property
    def addons(self) -> list[Path]:
        """Folders of addons besides odoo/addons, where Odoo looks anyway and Debian's package has them all."""
        return [folder for folder in [self.root / "addons"] if folder.is_dir() and self.requirements]

    def identity(self) -> str:
        """Changes when the tree does: what was built from another state of it (a database) is then out of date."""
        commit = subprocess.run(["git", "-C", self.root, "rev-parse", "HEAD"], capture_output=True, text=True)
        if (self.root / ".git").exists() and commit.returncode == 0:
            return hashlib.sha256(commit.stdout.encode()).hexdigest()[:8]
        digest = hashlib.sha256()
        # A release is unpacked as a whole, so the files that every database has tell it from the next one.
        for path in sorted(
            [self.root / "odoo" / "release.py", *self._base().rglob("*.py"), *self._base().rglob("*.xml")]
        ):
            status = path.stat()
            digest.update(f"{path.relative_to(self.root)} {status.st_size} {int(status.st_mtime)}\n".encode())
        return digest.hexdigest()[:8]

    def _base(self) -> Path:
        return self.root / "odoo" / "addons" / "base"


def find(version: str | None = None, tree: str | None = None) -> OdooSource:
    """The source of the version asked for; by default 18.0, or 19.0 where 18.0 can't be had.

    Args:
        version: "18.0" or "19.0" (the make variable ODOO).
        tree: a folder with an Odoo tree of the user's own (the make variable ODOO_SRC).

    Raises:
        Missing: saying what to do.
    """
    if version and version not in SUPPORTED:
        raise Missing(f"ODOO={version}: this product supports Odoo {' and '.join(SUPPORTED)}.")
    if tree:
        return _own_tree(Path(tree).expanduser().resolve(), version)
    if version:
        return _for_version(version)
    fallen_back = State(STATE / "odoo-source.json")
    if fallen_back.get("version") and not _cached(REFERENCE).exists():
        say(f"Odoo {REFERENCE} could not be had here before; `make … ODOO={REFERENCE}` tries again.")
        return _for_version(fallen_back.get("version"))
    try:
        return _for_version(REFERENCE)
    except Missing as problem:
        say(f"[yellow]Odoo {REFERENCE} can't be had here: {problem}. Taking 19.0, which is supported as well.[/]")
        source = _for_version("19.0")
        fallen_back.set("version", source.version)  # or every command would wait for GitHub again
        return source


def _own_tree(root: Path, version: str | None) -> OdooSource:
    if not (root / "odoo" / "release.py").exists():
        raise Missing(f"ODOO_SRC={root} isn't an Odoo source tree: it has no odoo/release.py.")
    found = _version_of(root)
    if found not in SUPPORTED:
        raise Missing(f"ODOO_SRC={root} is Odoo {found}; this product supports {' and '.join(SUPPORTED)}.")
    if version and version != found:
        raise Missing(f"ODOO_SRC={root} is Odoo {found}, and ODOO={version} asks for another version.")
    return OdooSource(found, root, "ODOO_SRC names it", is_users_own=True)


def _for_version(version: str) -> OdooSource:
    folder = _cached(version)
    why = "it was there already"
    if not folder.exists():
        try:
            _clone(version, folder)
            why = "just cloned from GitHub"
        except Missing:
            if version != "19.0" or not _is_debian():
                raise
            say("GitHub doesn't answer, so Odoo 19.0 comes from Debian's package.")
            _unpack_debian_19(folder)
            why = "just unpacked from Debian's package, since GitHub doesn't answer"
    root = folder / _PACKAGES if (folder / _PACKAGES).is_dir() else folder
    if not (root / "odoo" / "release.py").exists():
        raise Missing(f"{folder} isn't an Odoo source tree. Delete it, or put Odoo {version} there.")
    return OdooSource(version, root, why)


def _cached(version: str) -> Path:
    return CACHE / f"odoo-{version}"


def _version_of(root: Path) -> str:
    text = (root / "odoo" / "release.py").read_text()
    match = re.search(r"version_info\s*=\s*\((\d+),\s*(\d+)", text)
    return ".".join(match.groups()) if match else "of an unknown version"


def _clone(version: str, folder: Path) -> None:
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    say(f"Cloning Odoo {version} (about 1.5 GB on disk, once for all checkouts)")
    # Never ask for a password: a server that wants one isn't the one we mean.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    git = ["git", "clone", "--progress", "--depth", "1", "--branch", version, _REPOSITORY, str(draft)]
    if subprocess.run(git, env=environment).returncode:
        shutil.rmtree(draft, ignore_errors=True)
        raise Missing(f"cloning {_REPOSITORY} failed, and there is no tree in {folder} and none named by ODOO_SRC")
    draft.rename(folder)  # a tree under its final name is a whole one


def _is_debian() -> bool:
    return "debian" in _origins().lower() and all(map(shutil.which, ("apt-get", "dpkg")))


def _origins() -> str:
    """Lines `origin|label|component|address`, one for each package list of this machine."""
    form = "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)"
    try:
        command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
        return subprocess.run(command, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""


def _unpack_debian_19(folder: Path) -> None:
    """Downloads and unpacks Debian's package without installing it or touching the system's sources.

    apt gets lists of its own (the machine's own mirror, suite sid) and checks Debian's signature as always.
    """
    mirrors = [line.split("|") for line in _origins().splitlines()]
    mirror = next((fields[3] for fields in mirrors if fields[:3] == ["Debian", "Debian", "main"]), None)
    if mirror is None:
        raise Missing(
            "Odoo 19.0 comes from Debian's package, and apt names no Debian mirror here; run `apt-get update`"
        )
    work = STATE / "apt"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("sources", "lists/partial", "cache/archives/partial", "debs"):
        (work / name).mkdir(parents=True)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"Signed-By: {keyring}\n" if keyring.exists() else ""
    source = f"Types: deb\nURIs: {mirror}\nSuites: sid\nComponents: main\n{signed}"
    (work / "sources" / "sid.sources").write_text(source)
    private = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": work / "sources",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        # apt's own user can't enter a private folder; the files are checked against the signed list either way.
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    options = [part for name, value in private.items() for part in ("-o", f"{name}={value}")]
    log = STATE / "log" / "odoo-19-apt.log"
    with step("Reading Debian's package list (11 MB)"):
        run_logged(["apt-get", *options, "update"], log)
    with step("Downloading Debian's Odoo 19 (135 MB)"):
        run_logged(["apt-get", *options, "download", *_DEBIAN_19], log, cwd=work / "debs")
        run_logged(["apt-get", "-o", "APT::Sandbox::User=", "download", *_FROM_OWN_RELEASE], log, cwd=work / "debs")
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with step("Unpacking it (1.1 GB)"):
        for package in sorted((work / "debs").glob("*.deb")):
            run_logged(["dpkg", "-x", package, draft], log)
        # Debian leaves this one out; the browser asks for it and reports an error. Empty, it is content.
        script = draft / _PACKAGES / "odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.touch()
    draft.rename(folder)
    shutil.rmtree(work)
