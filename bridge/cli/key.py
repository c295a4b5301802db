"""``python -m bridge key``: create, list and revoke the keys of the API."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from ..contract.fields import format_datetime, normalize_label
from ..contract.keys import Scope, digest, existing_key, new_key, prefix
from ..contract.text import says_something
from ..store import api_keys
from ..store.engine import in_transaction
from ..store.rows import ApiKeyRow
from .console import (
    FAILED,
    MISUSED,
    JsonLines,
    Yes,
    confirm,
    count_of,
    fail,
    is_terminal,
    load_settings,
    open_store,
    out,
    print_json,
    visible,
)
from .parsing import duration, time_zone

#: Most bytes that are read as a key, and most characters of its name.
LONGEST = 8192
LONGEST_NAME = 256
#: Columns of a terminal on which a list has room for everything.
WIDE = 120

app = typer.Typer(no_args_is_help=True, help="The keys of the API.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The program or bot that will use it.")],
    scope: Annotated[
        Scope,
        typer.Option(
            help="What it gives access to: the standby webhooks, asking how far a person is, reading, or everything "
            "(reading, writing, webhooks, asking)."
        ),
    ],
    expires_in: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="AGE", help="E.g. 90d. Default: it never expires.")
    ] = None,
    existing: Annotated[
        bool,
        typer.Option(
            "--existing",
            help="Import an existing key from standard input. A bot's key of Odoo does not need it: a running bridge "
            "brings it here, and ends it here when it ends in Odoo.",
        ),
    ] = False,
    zone: Annotated[
        str | None,
        typer.Option(
            parser=time_zone,
            metavar="NAME",
            help="The time zone of the dates that a bot sends without one: that of its ManyChat account, e.g. "
            "America/Bogota. Default: UTC.",
        ),
    ] = None,
) -> None:
    """Create a key and print it, this once: only its hash is stored. A running API accepts it within seconds."""
    name = _name(name)
    key = _read_key() if existing else new_key()
    engine = open_store(load_settings())
    expires_at = datetime.now(timezone.utc) + expires_in if expires_in else None
    row = {"prefix": prefix(key), "digest": digest(key), "scope": scope.value, "expires_at": expires_at, "zone": zone}
    if refusal := in_transaction(engine, _add, name, row):
        fail(refusal, MISUSED)
    if existing:
        out.print(f"Imported: {prefix(key)}…")
    else:
        _show(engine, key)


def _name(given: str) -> str:
    name = " ".join(given.split())
    if not says_something(name) or visible(name) != name or len(name) > LONGEST_NAME:
        fail(f"Give the key a name that people can read, of at most {LONGEST_NAME} characters.", MISUSED)
    return name


def _add(connection: sa.Connection, name: str, row: dict[str, Any]) -> str:
    """Store the key; the reason if it is refused.

    Two valid keys of one name look alike in the log, and one day the wrong one is revoked.
    """
    known = [key for key in api_keys.valid_keys(connection) if normalize_label(key.name) == normalize_label(name)]
    if known and known[0].digest != row["digest"]:
        return (
            f"A valid key has this name already: id {known[0].id}. Give another name, or revoke that key first: "
            f"python -m bridge key revoke {known[0].id}"
        )
    return "" if api_keys.add(connection, name=name, **row) else "This key exists already: see `key list`."


def _show(engine: sa.Engine, key: str) -> None:
    """Print a key. One that could not be printed is revoked, because no one can ever use it."""
    try:
        if sys.stdout is None:  # closed by the caller: typer would print nothing, and not say so
            raise OSError(errno.EBADF, "there is no standard output")
        typer.echo("The key, for the header X-API-KEY. It is shown this once:", err=True)
        typer.echo(key)
    except OSError as error:
        made = [row.id for row in in_transaction(engine, api_keys.valid_keys) if row.digest == digest(key)]
        in_transaction(engine, api_keys.revoke, made)
        fail(f"The key could not be printed ({error.strerror}), so it was revoked. Create another one.", FAILED)


def _read_key() -> str:
    if is_terminal():
        given = str(typer.prompt("The key", hide_input=True, err=True))
    else:
        given = (sys.stdin.buffer.read(LONGEST) if sys.stdin else b"").decode("utf-8", "replace")
    try:
        return existing_key(given)
    except ValueError as error:
        fail(str(error), MISUSED)


@app.command("list")
def list_keys(as_json: JsonLines = False) -> None:
    """List the keys: their scope, when they expire and when they were last used."""
    keys = in_transaction(open_store(load_settings()), api_keys.all_keys)
    if as_json:
        for key in keys:
            print_json(_fields(key))
        return
    if keys:
        _print_table(keys)
    out.print(f"{count_of(len(keys), 'key')}.")


def _print_table(keys: Sequence[ApiKeyRow]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "key", "name", "scope", "state", "last used (UTC)"):
        table.add_column(heading, no_wrap=heading != "name", overflow="fold")
    # A terminal of 80 columns has no place for these; --json has all.
    is_wide = out.width >= WIDE
    if is_wide:
        table.add_column("created", no_wrap=True)
        table.add_column("zone", no_wrap=True)
    for key in keys:
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        more = (f"{key.created_at:%Y-%m-%d}", key.zone or "UTC") if is_wide else ()
        cells = (str(key.id), f"{key.prefix}…", key.name, key.scope, _state(key), used, *more)
        table.add_row(*(visible(cell) for cell in cells))
    out.print(table)


def _fields(key: ApiKeyRow) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        **{name: getattr(key, name) for name in ("id", "prefix", "name", "scope", "in_odoo")},
        "zone": key.zone or "UTC",
        **{name: format_datetime(value) if value else None for name, value in times.items()},
    }


def _state(key: ApiKeyRow) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.in_odoo is False:
        return "ended in Odoo"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= datetime.now(timezone.utc) else 'until'} {key.expires_at:%Y-%m-%d}"


@app.command()
def revoke(
    keys: Annotated[list[str], typer.Argument(metavar="KEY…", help="By id, or by the first characters as listed.")],
    yes: Yes = False,
) -> None:
    """Revoke keys. A running API refuses them within seconds."""
    engine = open_store(load_settings())
    known = in_transaction(engine, api_keys.all_keys)
    chosen: dict[int, ApiKeyRow] = {}
    for wanted in keys:
        hits = [key for key in known if wanted == str(key.id) or wanted.rstrip("…") == key.prefix]
        if len(hits) != 1:
            what = "the beginning of several keys: give an id" if hits else "not a key: see `key list`"
            fail(f"“{visible(wanted)[:80]}” is {what}. Nothing was changed.", FAILED)
        chosen[hits[0].id] = hits[0]
    valid = [key for key in chosen.values() if not key.revoked_at]
    if valid:
        names = ", ".join(f"{visible(key.name)} (id {key.id})" for key in valid)
        confirm(f"Revoke for good: {names}?", yes)
    in_transaction(engine, api_keys.revoke, [key.id for key in valid])
    earlier = f" {len(chosen) - len(valid)} had been revoked before." if len(valid) < len(chosen) else ""
    out.print(f"{count_of(len(valid), 'key')} revoked.{earlier}")
