"""The first step of every make target: `python3 -m deploy.local.bootstrap COMMAND`.

Runs on any Python >= 3.10 with nothing installed, makes the environment of the tools, and hands over to it.
"""

import os
import sys

from . import environments, os_packages
from .paths import ROOT, STATE, VENV

#: The versions that the images have too.
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
#: As pip takes them: pyproject's groups of tools.
GROUPS = [argument for name in ("local", "test", "lint", "docs", "deploy", "bench") for argument in ("--group", name)]


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - the first thing to run on whatever Python there is
        sys.exit(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}. Name another by `make PYTHON=…`.")
    STATE.mkdir(mode=0o755, exist_ok=True)
    try:
        os_packages.ensure(os_packages.ODBC)
        environments.make(
            VENV,
            ["--constraint", str(CONSTRAINTS), "--editable", ".[worker,api,azure-sql,identity,otel]", *GROUPS],
            depends_on=[ROOT / "pyproject.toml", CONSTRAINTS],
        )
    except os_packages.Missing as problem:
        sys.exit(str(problem))
    # Compiled code is half of Odoo's start-up time. It goes to our own folder: source trees may be anybody's.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(STATE / "pycache")
    os.chdir(ROOT)
    os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), "-m", "deploy.local", *sys.argv[1:]])


main()
