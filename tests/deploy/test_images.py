"""What can be said of the images without building them (tests/images builds them)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bridge
from deploy.local.paths import VENV

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "odoo.Dockerfile"]
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
CONSTRAINTS_ODOO = ROOT / "deploy" / "constraints-odoo.txt"
#: Declared by the image odoo:18.0: a volume of an older image hides what a newer one has there.
VOLUMES_OF_ODOO = ["/var/lib/odoo", "/mnt/extra-addons"]


@pytest.fixture(params=DOCKERFILES, ids=lambda file: file.name)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    done = subprocess.run([VENV / "bin" / "hadolint", dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_has_nothing_to_say() -> None:
    entrypoint = ROOT / "deploy" / "odoo" / "entrypoint"
    done = subprocess.run([VENV / "bin" / "shellcheck", entrypoint], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert entrypoint.stat().st_mode & 0o111 == 0o111


def test_an_image_has_this_version_a_numeric_user_and_bases_with_an_exact_tag(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    assert f'org.opencontainers.image.version="{bridge.__version__}"' in text
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:10001"
    bases = re.findall(r"^ARG \w+_IMAGE=\w+:(\S+)$", text, re.MULTILINE)
    assert bases
    assert all(re.search(r"\d+\.\d+[.-]\d+", tag) for tag in bases)
    assert all(base.startswith("${") for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE))


def test_what_the_images_copy_exists_and_is_in_the_context(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"  # nothing but what is named
    taken = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    text = dockerfile.read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
    sources = [source for line in lines for source in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in taken), source


def test_the_addon_and_odoos_data_are_under_no_volume_of_the_base_image() -> None:
    text = (ROOT / "deploy" / "odoo.Dockerfile").read_text(encoding="utf-8")
    settings = (ROOT / "deploy" / "odoo" / "odoo.conf").read_text(encoding="utf-8")
    addon = re.search(r"^COPY miasalud_crm (\S+)$", text, re.MULTILINE)
    data = re.search(r"^data_dir = (\S+)$", settings, re.MULTILINE)
    paths = re.search(r"^addons_path = (\S+)$", settings, re.MULTILINE)
    assert addon
    assert data
    assert paths
    for path in (addon[1], data[1]):
        assert not any(path.startswith(volume) for volume in VOLUMES_OF_ODOO), path
    assert str(Path(addon[1]).parent) == paths[1].split(",")[0]


def pins(file: Path) -> Iterator[Requirement]:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield Requirement(line)


def wanted(*extras: str) -> Iterator[Requirement]:
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [project["project"]["dependencies"], *(project["project"]["optional-dependencies"][e] for e in extras)]
    for requirement in (Requirement(line) for each in lists for line in each):
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


@pytest.mark.parametrize(
    ("file", "extras"),
    [(CONSTRAINTS, ("worker", "api", "azure-sql", "identity")), (CONSTRAINTS_ODOO, ("identity",))],
    ids=["bridge", "odoo"],
)
def test_the_constraints_pin_each_dependency_in_a_version_that_fits(file: Path, extras: tuple[str, ...]) -> None:
    """`make constraints` after a change of pyproject.toml."""
    pinned = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins(file)
        if pin.marker is None or pin.marker.evaluate(default_environment())
    }
    for requirement in wanted(*extras):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} has no version in {file.name}"
        assert requirement.specifier.contains(version), requirement


def test_odoos_own_libraries_have_no_version_of_ours() -> None:
    names = {canonicalize_name(pin.name) for pin in pins(CONSTRAINTS_ODOO)}
    assert not names & {"cryptography", "requests", "urllib3", "typing-extensions", "psycopg2", "werkzeug", "lxml"}
    assert "azure-storage-queue" in names
