"""``make constraints``: the versions of all libraries, for the images and for the environments here.

Without hashes: pip then asks for one of everything, also of the product itself, which comes from the checkout.
"""

import subprocess
from pathlib import Path

from . import environments
from .os_packages import Missing
from .paths import ROOT

EXTRAS = ("worker", "api", "azure-sql", "identity", "otel")
GROUPS = ("local", "test", "lint", "docs", "deploy", "bench")
FILE = ROOT / "deploy" / "constraints.txt"
FILE_ODOO = ROOT / "deploy" / "constraints-odoo.txt"

_HEADER = """\
# Written by `make constraints`, which takes the newest versions that fit pyproject.toml. For pip's option --constraint.
"""
_HEADER_ODOO = """\
# Written by `make constraints`. What the addon needs beside Odoo 18, in versions that leave the libraries of Odoo's own
# image (Ubuntu 24.04) as they are. For pip's option --constraint.
"""
#: What Odoo 18's image has already: it stays at these versions, so the file does not name it.
_IN_ODOO_IMAGE = {
    "certifi": "2023.11.17",
    "cffi": "1.16.0",
    "charset-normalizer": "3.3.2",
    "cryptography": "41.0.7",
    "idna": "3.6",
    "pycparser": "2.21",
    "requests": "2.31.0",
    "typing-extensions": "4.10.0",
    "urllib3": "2.0.7",
}


def write() -> None:
    """Write both files anew."""
    extras = [argument for name in EXTRAS for argument in ("--extra", name)]
    groups = [argument for name in GROUPS for argument in ("--group", name)]
    everything = ["--universal", "--python-version", "3.10", *extras, *groups]
    FILE.write_text(_HEADER + _compile(everything, "hatchling"), encoding="utf-8")
    pins = "".join(f"{name}=={version}\n" for name, version in _IN_ODOO_IMAGE.items())
    left_out = [argument for name in _IN_ODOO_IMAGE for argument in ("--no-emit-package", name)]
    beside_odoo = ["--python-version", "3.12", "--extra", "identity", "--extra", "otel", *left_out]
    FILE_ODOO.write_text(_HEADER_ODOO + _compile(beside_odoo, f"azure-storage-queue\n{pins}"), encoding="utf-8")


def _compile(arguments: list[str], more: str) -> str:
    uv = environments.find_uv()
    if uv is None:
        raise Missing("The versions are chosen by uv, which this machine cannot have.")
    command: list[str | Path] = [uv, "pip", "compile", "pyproject.toml", "-", *arguments]
    quiet = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"]
    done = subprocess.run([*command, *quiet], cwd=ROOT, input=more, capture_output=True, text=True, check=True)
    return done.stdout
