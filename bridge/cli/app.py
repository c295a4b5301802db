"""The command line: ``python -m bridge --help``. Each command is in the file of its name."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import ConfigurationError, OdooRefused, Outage, UnfitTables
from . import api, check, db, dlq, erase, key, migrate, pause, purge, reconcile, run, send, status, trace
from .console import FAILED, MISUSED, fail

app = typer.Typer(
    name="python -m bridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Carries ManyChat events from Azure Storage Queues to SQL and to the Odoo CRM pipeline. "
    "Settings come from the environment or a .env file; .env.example documents them.",
)
for command in (
    run.run,
    api.api,
    check.check,
    status.status,
    trace.trace,
    send.send,
    pause.pause,
    pause.resume,
    reconcile.reconcile,
    erase.erase,
    purge.purge,
):
    app.command()(command)
app.add_typer(dlq.app, name="dlq")
app.add_typer(key.app, name="key")
app.add_typer(db.app, name="db")
app.add_typer(migrate.app, name="migrate")


def main() -> NoReturn:
    """Run the command line and end the process. Expected errors become one line, without a traceback."""
    try:
        app(prog_name="python -m bridge")
    except UnfitTables as error:
        fail(str(error), FAILED)
    except ConfigurationError as error:
        fail(str(error), MISUSED)
    except Outage as outage:
        reason = str(outage)
        end = "" if reason.endswith((".", "?")) else "."
        fail(f"{outage.dependency} cannot be used: {reason}{end} Run `python -m bridge check` for advice.", FAILED)
    except OdooRefused as refused:
        # Its message may quote personal data.
        fail(f"Odoo refused it ({refused.name}): its log says why.", FAILED)
    sys.exit(0)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _bridge(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
