"""The commands behind make's targets."""

import os
import shutil
import subprocess
import sys
from typing import Annotated

import typer

from . import azurite, demo, odoo_source, os_packages, stack, suites
from .odoo import Odoo
from .os_packages import Missing
from .paths import ROOT, STATE, VENV
from .postgres import Cluster
from .say import console, say
from .state import State
from .supervision import Supervision

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_DEMO = "demo"


@app.command("setup")
def set_up() -> None:
    """Everything the other commands need, ahead of time."""
    odoo = _odoo()
    azurite.install()
    odoo.cluster.start()
    odoo.install()
    odoo.template()
    say("[green]✓[/] Everything is there.")


@app.command("demo")
def run_demo() -> None:
    """Starts everything and sends the example events."""
    odoo = _odoo()
    # `up` is to start this one again, whatever the default is.
    State(STATE / "last-demo.json").set("version", odoo.source.version)
    State(STATE / "last-demo.json").set("tree", str(odoo.source.root) if odoo.source.is_users_own else None)
    running = stack.Stack(_DEMO, odoo)
    running.start()
    demo.run(running)


@app.command()
def up() -> None:
    """Starts what the demo made again."""
    last = State(STATE / "last-demo.json")
    running = stack.Stack(_DEMO, _odoo(last.get("version"), last.get("tree")))
    running.start()
    say(f"{running.odoo_url}   login admin, password {running.admin_password}")


@app.command()
def down() -> None:
    """Stops everything; data stays."""
    for folder in stack.running():
        Supervision(folder).stop()
        say(f"Stopped {folder.name}.")
    Cluster().stop()


@app.command()
def status() -> None:
    """What runs, and where."""
    folders = stack.running()
    for folder in folders:
        say(f"[bold]{folder.name}[/]")
        for process in Supervision(folder).processes():
            say(f"  {process['name']:<10} {process['statename']:<9} {process['description']}")
        say(f"  Odoo       port {State(folder / 'state.json').get('odoo port')}, login admin,"
            f" password {State(folder / 'state.json').get('admin password')}")  # fmt: skip
    cluster = Cluster()
    say(f"PostgreSQL {f'port {cluster.port}' if cluster.is_running() else 'is not running'}")
    if not folders:
        say("Nothing else runs: `make demo` makes and starts it, `make up` starts it again.")


@app.command()
def logs() -> None:
    """The running programs' last lines."""
    for folder in stack.running():
        for path in sorted((folder / "log").glob("*.log")):
            say(f"[bold]{path.relative_to(ROOT)}[/]")
            console.print("\n".join(path.read_text(errors="replace").splitlines()[-15:]), markup=False)


@app.command()
def test(names: Annotated[list[str] | None, typer.Argument(help="suites; all if none is named")] = None) -> None:
    """Runs test suites."""
    if not suites.run(names or [], _odoo):
        raise typer.Exit(1)


@app.command("format")
def put_in_order() -> None:
    """Lets ruff put the code in order."""
    for arguments in (["check", "--fix"], ["format"]):
        subprocess.run([VENV / "bin" / "ruff", *arguments, "."], cwd=ROOT, check=False)


@app.command()
def clean() -> None:
    """Deletes all that was made in this checkout. The cache with Odoo's source stays."""
    Cluster().remove()
    shutil.rmtree(STATE)


def _odoo(version: str | None = None, tree: str | None = None) -> Odoo:
    """Odoo as the make variables name it, else as the arguments do, else the default."""
    if os.environ.get("ODOO") or os.environ.get("ODOO_SRC"):
        version, tree = os.environ.get("ODOO"), os.environ.get("ODOO_SRC")
    source = odoo_source.find(version or None, tree or None)
    say(f"Odoo {source.version} from {source.root}: {source.why}.")
    os_packages.ensure(os_packages.POSTGRES)
    return Odoo(source, Cluster())


if __name__ == "__main__":
    try:
        app()
    except Missing as problem:
        # A person reads this, not a program: no traceback.
        print(f"\n{problem}", file=sys.stderr)
        sys.exit(1)
