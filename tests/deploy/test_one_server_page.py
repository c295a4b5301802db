"""docs/one-server.md without a machine: its blocks are sound, and its odoo.conf is that of odoo.conf.example.

`make test-server` follows the page.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.paths import ROOT
from tests.server.page import Block, blocks

#: A file of the machine is read; names for envsubst are in single quotes on purpose; an earlier block made the folders.
_MEANT = "SC1091,SC2016,SC2154,SC2012,SC2164"


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.name)
def test_each_block_is_sound(block: Block) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--shell=bash", f"--exclude={_MEANT}", "-"],
        input=block.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_each_section_has_its_blocks() -> None:
    sections = {block.name.split(".")[0] for block in blocks()}
    assert sections == {str(number) for number in range(1, 13)}


def _options(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return dict(parser["options"])


def test_its_odoo_conf_says_what_the_example_says() -> None:
    text = "".join(block.text for block in blocks())
    (written,) = re.findall(r"^\[options\].*?^END$", text, re.DOTALL | re.MULTILINE)
    page, example = _options(written.removesuffix("END")), _options((ROOT / "odoo.conf.example").read_text())
    assert set(page) <= set(example)
    own = {"addons_path", "db_host", "db_name", "admin_passwd"}
    assert {name: value for name, value in page.items() if name not in own} == {
        name: example[name] for name in page if name not in own
    }


def test_every_file_that_it_installs_is_there() -> None:
    text = "".join(block.text for block in blocks())
    named = set(re.findall(r"/opt/miasalud/src/(deploy/[\w./@-]+)", text))
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).exists()] == []
