"""The test suites: each one is run, counted, and summed up in a line. A suite that ran no test has failed."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rich.table import Table

from . import azurite, images, neighbours, os_packages, ports, prometheus
from .odoo import Odoo
from .os_packages import Missing
from .paths import ROOT, STATE, VENV
from .postgres import BREAKABLE, MAIN
from .say import console, quote, say, step
from .stack import ADDON
from .supervision import own_environment

_BIN = VENV / "bin"
_ON_A_SYSTEM = ["tests/e2e", "tests/browser"]
_NEIGHBOURS = "tests/neighbours"
_LINTERS = {
    "ruff check": [_BIN / "ruff", "check", "."],
    "ruff format": [_BIN / "ruff", "format", "--check", "."],
    "pylint-odoo": [_BIN / "pylint", ADDON],
    "mypy": [_BIN / "mypy", "bridge"],
}


@dataclass(frozen=True)
class Outcome:
    """What became of one run. `failed` is at least 1 when anything at all went wrong."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    remark: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a suite needs to know of what was asked for."""

    #: Makes Odoo ready, its databases in the cluster of that name; called only when a suite needs it.
    odoo: Callable[..., Odoo]
    #: Of the tests only those that pytest's ``-k`` selects by this.
    only: str = ""


#: Runs its tests and says what became of them, one by one.
Suite = Callable[[Wanted], Iterator[Outcome]]


def run(names: list[str], wanted: Wanted) -> bool:
    """Runs the suites named, all of them even when one fails, and prints one line for each.

    Those named are run in turn; all of them side by side. The last line printed is "N passed, N failed" with the number
    of tests; a linter that complains is one failure, and one that doesn't is no test, unless only linters were asked
    for.

    :param names: of `SUITES`; empty means all
    :return: whether everything passed
    """
    if unknown := set(names) - set(SUITES):
        raise Missing(f"No such suite: {', '.join(sorted(unknown))}. There are: {', '.join(SUITES)}.")
    if names:
        outcomes = _run_in_turn([(name, SUITES[name]) for name in names], wanted)
    else:
        # All at once is faster. What cannot be installed, the suites that need it report.
        with suppress(Missing):
            os_packages.ensure(
                os_packages.POSTGRES,
                os_packages.CHROMIUM,
                os_packages.PLAYWRIGHT_LIBRARY,
                os_packages.NGINX,
                os_packages.CURL,
            )
        outcomes = _run_side_by_side(ALL, wanted)
    _print_summary(outcomes)
    tests = [outcome for outcome in outcomes if outcome.name not in _LINTERS]
    passed = sum(outcome.passed for outcome in tests or outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed == 0


def _run_side_by_side(suites: Sequence[tuple[str, Suite]], wanted: Wanted) -> list[Outcome]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(_run_in_turn, [suite], wanted) for suite in suites]
        try:
            return [outcome for run in runs for outcome in run.result()]
        except BaseException:
            # Ctrl-C ends the suites that run; no other one is to begin then.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_in_turn(suites: Sequence[tuple[str, Suite]], wanted: Wanted) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for name, suite in suites:
        try:
            outcomes += suite(wanted)
        except Missing as problem:
            say(f"[red]✗ {name}[/]")
            quote(str(problem))
            outcomes.append(Outcome(name, failed=1, remark="could not be run"))
    return outcomes


def _lint(_wanted: Wanted) -> Iterator[Outcome]:
    for name, command in _LINTERS.items():
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        seconds = time.monotonic() - started
        if done.returncode:
            quote(done.stdout + done.stderr)
        _say_how_it_went(name, done.returncode == 0, seconds)
        yield Outcome(name, passed=int(done.returncode == 0), failed=int(done.returncode != 0), seconds=seconds)


def _bridge(wanted: Wanted) -> Iterator[Outcome]:
    elsewhere = (
        "tests/docs",
        "tests/deploy",
        "tests/server",
        "tests/images",
        "tests/store",
        "tests/install",
        *_ON_A_SYSTEM,
        _NEIGHBOURS,
        "tests/faults",
        "tests/move",
    )
    others = [f"--ignore={path}" for path in elsewhere]
    monitoring = prometheus.install()
    programs = {"AZURITE": str(azurite.install())} | ({"PROMETHEUS": str(monitoring)} if monitoring else {})
    # Each process has queues and files of its own. More than there are processors in a small machine: most of these
    # tests wait for processes that start, or for time to pass. One test alone waits for no other process.
    together = [] if wanted.only else ["-n", "4", "--dist", "worksteal"]
    yield _pytest("bridge", _BIN / "python", ["tests", *others, *together], wanted, **programs)


def _docs(wanted: Wanted) -> Iterator[Outcome]:
    os_packages.ensure(os_packages.CURL)
    yield _pytest("docs", _BIN / "python", ["tests/docs", *([] if wanted.only else ["-n", "2"])], wanted)


def _deploy(wanted: Wanted) -> Iterator[Outcome]:
    yield _pytest("what deploys it", _BIN / "python", ["tests/deploy"], wanted)


def _server(wanted: Wanted) -> Iterator[Outcome]:
    """Not among `ALL`: it takes a quarter of an hour, and the ports of a whole server."""
    yield _pytest(
        f"one server on {os.environ.get('DEBIAN') or 'bookworm'}", _BIN / "python", ["tests/server", "-s"], wanted
    )


def _images(wanted: Wanted) -> Iterator[Outcome]:
    odoo = _ready(wanted)
    images.build(odoo.source)
    yield _pytest("the images themselves", _BIN / "python", ["tests/images"], wanted)
    for name in images.DOCKERFILES:
        say(f"{name}: {images.size(name)}")


def _store(wanted: Wanted) -> Iterator[Outcome]:
    yield from _store_on_sqlite(wanted)
    yield from _store_on_servers(wanted)


def _store_on_sqlite(wanted: Wanted) -> Iterator[Outcome]:
    yield _pytest("store on SQLite", _BIN / "python", ["tests/store"], wanted, TEST_DATABASE_URL=None)


def _store_on_servers(wanted: Wanted) -> Iterator[Outcome]:
    cluster = wanted.odoo().cluster
    database = "miasalud_test_store"
    cluster.start()
    cluster.drop(database)
    cluster.create(database, durable=False)
    url = cluster.sqlalchemy_url(database)
    yield _pytest("store on PostgreSQL", _BIN / "python", ["tests/store"], wanted, TEST_DATABASE_URL=url)
    if mine := os.environ.get("TEST_DATABASE_URL"):
        # Under a name that holds nothing of the URL: the report's file bears it.
        yield _pytest("store on a database of yours", _BIN / "python", ["tests/store"], wanted, TEST_DATABASE_URL=mine)


def _addon(wanted: Wanted) -> Iterator[Outcome]:
    odoo = wanted.odoo()
    database = _test_database(odoo, "test")
    yield _inside_odoo(f"addon on Odoo {odoo.source.version}", odoo, database, [f"{ADDON}/tests"], wanted)


def _neighbours(wanted: Wanted) -> Iterator[Outcome]:
    """All tests of the addon, and the way of an event, in an Odoo as companies have it."""
    odoo = wanted.odoo()
    database = _test_database(odoo, "neighbours", neighbours.MODULES)
    name = f"addon beside other apps on Odoo {odoo.source.version}"
    yield _inside_odoo(name, odoo, database, [f"{ADDON}/tests"], wanted)
    name = f"end to end beside other apps on Odoo {odoo.source.version}"
    yield _pytest(name, _BIN / "python", [_NEIGHBOURS], wanted)


def _neighbours_in_short(wanted: Wanted) -> Iterator[Outcome]:
    """The tests of what other apps and settings touch, beside the one app that touches most."""
    odoo = wanted.odoo()
    database = _test_database(odoo, "neighbours_few", neighbours.FEW_MODULES)
    about = (
        *("history", "identity", "manychat_apply", "migration", "other_apps", "pipeline_step", "readers", "take_over"),
        *("teams_and_companies", "translations"),
    )
    paths = [f"{ADDON}/tests/test_{name}.py" for name in about]
    yield _inside_odoo(f"beside other apps, in short, on Odoo {odoo.source.version}", odoo, database, paths, wanted)


def _test_database(odoo: Odoo, name: str, beside: Sequence[str] = ()) -> str:
    """A database with the addon, for tests inside Odoo; if there are modules beside it, with what companies have."""
    odoo.cluster.start()
    odoo.install()
    if _drives_a_browser():
        os_packages.ensure(os_packages.CHROMIUM)
    database = f"miasalud_{name}_{odoo.label}".replace("-", "_").replace(".", "_")
    # The few are installed with the addon: a template of their own would take longer than it saves.
    few = beside == neighbours.FEW_MODULES
    odoo.create(database, durable=False, beside=() if few else beside)
    with step(f"Installing {ADDON} into it, Odoo {odoo.source.version}"):
        if few:
            odoo.install_modules(database, beside)
        if beside:
            odoo.run_script(database, neighbours.SCRIPT)
        odoo.install_modules(database, [ADDON])
    return database


def _inside_odoo(name: str, odoo: Odoo, database: str, paths: Sequence[str], wanted: Wanted) -> Outcome:
    configuration = STATE / "tmp" / f"{database}.conf"
    # Without --odoo-http, tests over HTTP are skipped without a word.
    arguments = [f"--odoo-config={configuration}", f"--odoo-database={database}", "--odoo-http", *paths]
    with azurite.serving() as queues:
        # While a test over HTTP runs, every cursor of the process is the test's own: a scheduled action that falls due
        # meanwhile, in a thread of Odoo's, would use it at the same time and break its transaction.
        settings = {
            "http_port": ports.choose(),
            "max_cron_threads": 0,
            f"{ADDON}.queue_connection_string": queues,
        }
        odoo.write_configuration(configuration, database, **settings)
        return _pytest(name, odoo.python, arguments, wanted)


def _install(wanted: Wanted) -> Iterator[Outcome]:
    odoo = _ready(wanted)
    yield _pytest(f"installing on Odoo {odoo.source.version}", _BIN / "python", ["tests/install"], wanted)


def _e2e(wanted: Wanted) -> Iterator[Outcome]:
    yield from _on_a_system("end to end", _ON_A_SYSTEM[:1], wanted)


def _browser(wanted: Wanted) -> Iterator[Outcome]:
    yield from _on_a_system("in the browser", _ON_A_SYSTEM[1:], wanted)


def _e2e_and_browser(wanted: Wanted) -> Iterator[Outcome]:
    yield from _on_a_system("end to end and in the browser", _ON_A_SYSTEM, wanted)


def _on_a_system(name: str, folders: Sequence[str], wanted: Wanted) -> Iterator[Outcome]:
    """Tests of a running system, which is one and the same for all of them."""
    odoo = _ready(wanted)
    yield _pytest(f"{name} on Odoo {odoo.source.version}", _BIN / "python", [*folders], wanted)


def _faults(wanted: Wanted) -> Iterator[Outcome]:
    odoo = _ready(wanted, BREAKABLE)
    yield _pytest(f"under faults on Odoo {odoo.source.version}", _BIN / "python", ["tests/faults"], wanted)


def _move(wanted: Wanted) -> Iterator[Outcome]:
    odoo = _ready(wanted)
    yield _pytest(f"moving to Odoo {odoo.source.version}", _BIN / "python", ["tests/move"], wanted)


def _ready(wanted: Wanted, cluster: str = MAIN) -> Odoo:
    """What takes long, before the tests start, so that it shows its progress."""
    odoo = wanted.odoo(cluster=cluster)
    odoo.cluster.start()
    odoo.install()
    odoo.template()
    return odoo


SUITES: dict[str, Suite] = {
    "lint": _lint,
    "bridge": _bridge,
    "docs": _docs,
    "deploy": _deploy,
    "server": _server,
    "images": _images,
    "store": _store,
    "addon": _addon,
    "install": _install,
    "e2e": _e2e,
    "browser": _browser,
    "faults": _faults,
    "neighbours": _neighbours,
    "move": _move,
}
#: All but the images, for which a machine needs much; the longest first. Some run at once: what waits leaves the
#: processors to the others. They share nothing but the machine and a PostgreSQL that none of them breaks: the faults
#: have one of their own.
ALL: Sequence[tuple[str, Suite]] = (
    ("e2e and browser", _e2e_and_browser),
    ("bridge", _bridge),
    ("faults", _faults),
    ("addon", _addon),
    ("install", _install),
    ("neighbours", _neighbours_in_short),
    ("move", _move),
    ("store", _store_on_sqlite),
    ("store", _store_on_servers),
    ("docs", _docs),
    ("deploy", _deploy),
    ("lint", _lint),
)
#: How many of them run at once. One more than a small machine has processors.
AT_ONCE = 3


def _pytest(name: str, python: Path, arguments: list[str], wanted: Wanted, **variables: str | None) -> Outcome:
    slug = name.replace(" ", "-")
    log, report = STATE / "log" / f"test-{slug}.log", STATE / "log" / f"test-{slug}.xml"
    log.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    words = [
        str(python),
        "-m",
        "pytest",
        f"--junitxml={report}",
        "--color=no",
        "-W",
        "ignore::DeprecationWarning",
        *(["-k", wanted.only] if wanted.only else []),
        *arguments,
    ]
    say(f"Running {name} … [dim](as it goes: {log.relative_to(ROOT)})[/]")
    environment = {name: value for name, value in (own_environment() | variables).items() if value is not None}
    started = time.monotonic()
    with open(log, "w") as output:
        code = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    outcome = _read(report, name, code, time.monotonic() - started)
    if outcome.failed:
        quote(log.read_text(errors="replace"))
    _say_how_it_went(f"{name}: {outcome.passed} passed", not outcome.failed, outcome.seconds)
    return outcome


def _read(report: Path, name: str, code: int, seconds: float) -> Outcome:
    """The outcome by the report, whatever the exit code says: both must agree that all is well."""
    suites = ElementTree.parse(report).getroot().iter("testsuite") if report.exists() else []
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        counts = {key: value + int(suite.get(key, 0)) for key, value in counts.items()}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    remark = ""
    if passed + failed == 0:
        failed, remark = 1, "ran no test"
    elif code and not failed:
        failed, remark = 1, f"pytest ended with exit code {code}"
    return Outcome(name, max(passed, 0), failed, counts["skipped"], seconds, remark)


def _drives_a_browser() -> bool:
    texts = (path.read_text() for path in (ROOT / ADDON / "tests").rglob("*.py"))
    return any("start_tour" in text or "browser_js" in text for text in texts)


def _print_summary(outcomes: list[Outcome]) -> None:
    table = Table(title="Tests", title_justify="left")
    table.add_column("Suite")
    for heading in ("Passed", "Failed", "Skipped", "Seconds"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for outcome in outcomes:
        counts = ["ok" if outcome.passed else "", "✗" if outcome.failed else "", ""]
        if outcome.name not in _LINTERS:
            counts = [str(outcome.passed), str(outcome.failed), str(outcome.skipped or "")]
        table.add_row(
            outcome.name, *counts, f"{outcome.seconds:.1f}", outcome.remark, style="red" if outcome.failed else ""
        )
    console.print(table)


def _say_how_it_went(what: str, well: bool, seconds: float) -> None:
    say(f"{'[green]✓[/]' if well else '[red]✗[/]'} {what} [dim]{seconds:.1f} s[/]")
