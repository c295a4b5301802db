"""The command line: ``python -m bridge --help``. Each command is in the file of its name."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import ConfigurationError, OdooRefused, Outage, UnfitTables
from ..log import kind, places
from . import api, check, db, dlq, erase, key, migrate, pause, purge, reconcile, run, send, status, trace
from .console import FAILED, MISUSED, complain

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal in another encoding gets \\u2192 for “→”, and no error.
            stream.reconfigure(errors="backslashreplace")
    # Python has read such bytes as half characters, which neither a database nor HTTP can take.
    if any("\ud800" <= character <= "\udfff" for argument in sys.argv for character in argument):
        _end("An argument holds bytes that are no text in UTF-8.", MISUSED)
    try:
        app(prog_name="python -m bridge")
    except SystemExit as end:
        _end("", end.code)
    except UnfitTables as error:
        _end(str(error), FAILED)
    except ConfigurationError as error:
        _end(str(error), MISUSED)
    except Outage as outage:
        reason = str(outage)
        dot = "" if reason.endswith((".", "?")) else "."
        _end(f"{outage.dependency} cannot be used: {reason}{dot} Run `python -m bridge check` for advice.", FAILED)
    except OdooRefused as refused:
        # Its message may quote personal data.
        _end(f"Odoo refused it ({refused.name}): its log says why.", FAILED)
    except OSError as error:
        _end(_cause(error), FAILED)
    except Exception as error:
        # Nor is the text of other exceptions shown, for the same reason.
        where = "; ".join(places(error)[-3:])
        _end(f"A fault in the bridge ended the command. Please report it: {kind(error)} at {where}.", FAILED)
    _end("", 0)


def _end(message: str, code: object) -> NoReturn:
    """End the process with what is left to print. Output that cannot be written is a failure."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # The reader of a pipe may have read enough. Any other reason must be said.
        message = message or ("" if isinstance(error, BrokenPipeError) else _cause(error))
        code = code or FAILED
        # Or the interpreter would try again at its end, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if message:
        complain(message)
    sys.exit(code)  # type: ignore[arg-type]


def _cause(error: OSError) -> str:
    reason = error.strerror or kind(error)
    return f"{error.filename}: {reason}." if error.filename else f"The output cannot be written: {reason}."


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
