"""One version for the tag, the addon, the bridge and the changelog."""

import datetime
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import release

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that hold the version, with a section for the next release."""
    for path in [*release.PLACES, release.CHANGELOG]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    changelog = tmp_path / release.CHANGELOG
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace("\n## ", "\n## 9.9.9 – unreleased\n\n- A change.\n\n## ", 1), encoding="utf-8")
    return tmp_path


def test_addon_bridge_and_changelog_have_one_version() -> None:
    assert len(set(release.versions().values())) == 1, release.versions()


def test_a_tag_that_does_not_match_is_refused() -> None:
    assert any("has version" in fault for fault in release.faults("v99.0.0"))
    assert any("not of the form" in fault for fault in release.faults("18.0.0.4.0"))


def test_a_release_is_written_and_then_matches_its_tag(checkout: Path) -> None:
    assert release.faults("v9.9.9", checkout)
    release.write("9.9.9", checkout, datetime.date(2031, 1, 2))
    assert release.faults("v9.9.9", checkout) == []
    assert "## 9.9.9 – 2031-01-02" in (checkout / release.CHANGELOG).read_text(encoding="utf-8")
    assert release.notes("v9.9.9", checkout) == "- A change.\n"


@pytest.mark.parametrize("version", ["9.9", "v9.9.9", "18.0.1.0.0", "9.9.8"])
def test_a_version_without_form_or_without_a_section_changes_nothing(checkout: Path, version: str) -> None:
    before = release.versions(checkout)
    with pytest.raises(ValueError, match=r"version|section"):
        release.write(version, checkout)
    assert release.versions(checkout) == before


def test_the_check_needs_nothing_but_python() -> None:
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "deploy" / "release.py", "--check", "v99.0.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CHANGELOG.md has version" in done.stderr
