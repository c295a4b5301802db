"""The commands behind make's targets."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import azurite, constraints, demo, neighbours, odoo, stack, suites
from . import translations as translation_files
from .os_packages import Missing
from .paths import ROOT, STATE, VENV
from .postgres import BREAKABLE, CLUSTERS, MAIN, Cluster
from .say import quote, say
from .state import State
from .supervision import Supervision, own_environment

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_DEMO = "demo"


@app.command("setup")
def set_up() -> None:
    """Everything the other commands need, ahead of time."""
    _ready_for_a_stack()
    say("[green]✓[/] Everything is there.")


@app.command("demo")
def run_demo() -> None:
    """Starts everything and sends the example events."""
    chosen = odoo.chosen()
    # `up` is to start this one again, whatever the default is.
    State(STATE / "last-demo.json").set("version", chosen.source.version)
    State(STATE / "last-demo.json").set("tree", str(chosen.source.root) if chosen.source.is_users_own else None)
    running = stack.Stack(_DEMO, chosen)
    running.start()
    demo.run(running)


@app.command()
def up() -> None:
    """Starts what the demo made again."""
    last = State(STATE / "last-demo.json")
    running = stack.Stack(_DEMO, odoo.chosen(last.get("version"), last.get("tree")))
    running.start()
    say(f"{running.odoo_url}   login admin, password {running.admin_password}")


@app.command()
def down() -> None:
    """Stops everything; data stays."""
    for folder in stack.running():
        Supervision(folder).stop()
        say(f"Stopped {folder.name}.")
    for cluster in map(Cluster, CLUSTERS):
        cluster.stop()


@app.command()
def status() -> None:
    """What runs, and where."""
    folders = stack.running()
    for folder in folders:
        say(f"[bold]{folder.name}[/]")
        for process in Supervision(folder).processes():
            say(f"  {process['name']:<10} {process['statename']:<9} {process['description']}")
        state = State(folder / "state.json")
        say(f"  Odoo       port {state.get('odoo port')}, login admin, password {state.get('admin password')}")
        say(f"  API        port {state.get('api port')}, described at /docs")
    for cluster in map(Cluster, CLUSTERS):
        say(f"PostgreSQL {f'port {cluster.port}' if cluster.is_running() else 'is not running'} ({cluster.folder})")
    if not folders:
        say("Nothing else runs: `make demo` makes and starts it, `make up` starts it again.")


@app.command()
def logs() -> None:
    """The running programs' last lines."""
    for folder in stack.running():
        for path in sorted((folder / "log").glob("*.log")):
            say(f"[bold]{path.relative_to(ROOT)}[/]")
            quote("\n".join(path.read_text(errors="replace").splitlines()[-15:]))


@app.command()
def test(
    names: Annotated[list[str] | None, typer.Argument(help="suites; all if none is named")] = None,
    only: Annotated[str, typer.Option("-k", help="only the tests that this selects, as pytest's -k does")] = "",
) -> None:
    """Runs test suites."""
    if not suites.run(names or [], suites.Wanted(odoo.chosen, only)):
        raise typer.Exit(1)


@app.command()
def soak(minutes: float) -> None:
    """Breaks a running system of its own for so long, and tells what came of it."""
    _ready_for_a_stack(BREAKABLE)
    # A process of its own: what it needs is in the test suite, which nothing here depends on.
    command = [VENV / "bin" / "python", "-m", "tests.faults.soak", "--minutes", str(minutes)]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command("constraints")
def write_constraints() -> None:
    """The versions of all libraries anew, for the images and the environments here."""
    constraints.write()


@app.command()
def year(events: int) -> None:
    """Measures systems of its own with that many events and with few, and deletes them."""
    _ready_for_a_stack()
    command = [VENV / "bin" / "python", "-m", "tests.year", "--events", str(events)]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command()
def scale(events: int = 320) -> None:
    """Measures 1, 2 and 4 bridges on one queue."""
    _ready_for_a_stack()
    command = [VENV / "bin" / "python", "-m", "tests.faults.scale", "--events", str(events)]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command()
def bench(cases: str = "", rounds: int = 0, short: bool = False) -> None:
    """Measures the product beside its peers, on a system of its own."""
    _ready_for_a_stack(beside=neighbours.FEW_MODULES)
    command = [str(VENV / "bin" / "python"), "-m", "bench", "--cases", cases, "--rounds", str(rounds)]
    _run([*command, *(["--short"] if short else [])])


@app.command()
def move(contacts: int) -> None:
    """Moves so many invented people from an old system, and back again, and tells what it took."""
    _ready_for_a_stack()
    command = [VENV / "bin" / "python", "-m", "tests.move", "--contacts", str(contacts)]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command()
def translations() -> None:
    """Brings the addon's .pot and .po in line with its terms."""
    translation_files.refresh(odoo.chosen())


@app.command()
def screenshots(
    names: Annotated[list[str] | None, typer.Argument(help="pictures; all if none is named")] = None,
) -> None:
    """Takes the pictures of every screen anew, from a system of its own."""
    _ready_for_a_stack()
    command = [VENV / "bin" / "python", "-m", "tests.pictures", *(names or [])]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command()
def generate() -> None:
    """Writes the committed files that come from the code or from other files."""
    command = [VENV / "bin" / "python", "-m", "deploy.docs.generate"]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=own_environment()).returncode)


@app.command()
def docs() -> None:
    """Builds the documentation's site, strictly: a broken link is an error."""
    # Not --quiet: it hides warnings from --strict too.
    command = [VENV / "bin" / "python", "-m", "mkdocs", "build", "--strict", "-f", "deploy/docs/mkdocs.yml"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if built.returncode:
        quote(built.stdout + built.stderr)
        raise typer.Exit(1)
    folder = (STATE / "site").relative_to(ROOT)
    say(f"[green]✓[/] Open {folder}/index.html, or serve it with its search: python3 -m http.server -d {folder}")


@app.command("format")
def put_in_order() -> None:
    """Lets ruff put the code in order."""
    for arguments in (["check", "--fix"], ["format"]):
        subprocess.run([VENV / "bin" / "ruff", *arguments, "."], cwd=ROOT, check=False)


@app.command()
def clean() -> None:
    """Deletes all that was made in this checkout. The cache with Odoo's source stays."""
    for cluster in map(Cluster, CLUSTERS):
        cluster.remove()
    shutil.rmtree(STATE)


def _run(command: list[str]) -> None:
    """Runs a program that stops what it started when it is stopped, as this one must then wait for."""
    with subprocess.Popen(command, cwd=ROOT, env=own_environment()) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try:
                raise typer.Exit(process.wait())
            except KeyboardInterrupt:
                continue  # the terminal sent it to the program too


def _ready_for_a_stack(cluster: str = MAIN, beside: Sequence[str] = ()) -> None:
    """What takes long, ahead of time."""
    chosen = odoo.chosen(cluster=cluster)
    azurite.install()
    chosen.cluster.start()
    chosen.install()
    chosen.template(beside)


if __name__ == "__main__":
    try:
        app()
    except Missing as problem:
        # A person reads this, not a program: no traceback.
        print(f"\n{problem}", file=sys.stderr)
        sys.exit(1)
