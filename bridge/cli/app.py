"""The command line: ``python -m bridge --help``. Each command is in the file of its name."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import ConfigurationError, OdooRefused, Outage, UnfitTables
from .console import FAILED, MISUSED, complain
from .on_demand import OnDemand

#: The commands, and what the list of them says: the first sentences of their own help, which a test compares.
COMMANDS = {
    "run": "Receive events from the queues and apply them, until stopped (Ctrl-C, SIGTERM, SIGHUP or SIGQUIT).",
    "api": "Serve the standby webhooks and the REST API until stopped. /docs describes them; `key create` makes keys.",
    "check": "Try the queue, the database and Odoo, and say what to do about a failure.",
    "status": "Show depths, rates, lag, dead letters, dependencies, bridges and pauses.",
    "trace": "Print the history of an event, from the webhook to the opportunity. Changes nothing.",
    "send": "Post a payload to the webhook as ManyChat does, and print the answer.",
    "pause": (
        "Stop all bridges from receiving messages until `resume`. They finish the events in hand; nothing is lost."
    ),
    "resume": "Let all bridges receive messages again.",
    "reconcile": (
        "Find unfinished events, and opportunities that SQL shows as not in Odoo; finish each, or say why not."
    ),
    "erase": "Remove a person from SQL and from Odoo's event log, and list what is left for an Odoo user to decide.",
    "purge": (
        "Remove what was settled long ago: payloads in the audit, dead letters resolved or discarded, refusal counts."
    ),
    "dlq": "Dead letters: messages that the bridge gave up, and why.",
    "key": "The keys of the API.",
    "db": "The tables of the database.",
    "migrate": (
        "Move from the old system: contacts to SQL only, opportunities to Odoo only. docs/move.md has the whole way."
    ),
}

app = typer.Typer(
    name="python -m bridge",
    cls=OnDemand,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Carries ManyChat events from Azure Storage Queues to SQL and to the Odoo CRM pipeline. "
    "Settings come from the environment or a .env file; .env.example documents them.",
)
for _name, _line in COMMANDS.items():
    app.command(_name, help=_line)(lambda: None)


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
        from ..log import kind, places

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
    reason = error.strerror or type(error).__name__
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
