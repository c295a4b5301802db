"""``python -m bridge key``: create, list and revoke the keys of the API."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer
from rich.table import Table

from ..contract.fields import format_datetime
from ..contract.keys import Scope, digest, existing_key, new_key, prefix
from ..store import api_keys
from ..store.engine import in_transaction
from ..store.rows import ApiKeyRow
from .console import MISUSED, JsonLines, count_of, fail, load_settings, open_store, out, print_json, visible
from .parsing import duration, time_zone

app = typer.Typer(no_args_is_help=True, help="The keys of the API.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The program or bot that will use it.")],
    scope: Annotated[
        Scope,
        typer.Option(
            help="What it gives access to: the standby webhooks, reading, or everything (reading, writing, webhooks)."
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
    key = _read_key() if existing else new_key()
    engine = open_store(load_settings())
    expires_at = datetime.now(timezone.utc) + expires_in if expires_in else None
    is_new = in_transaction(
        engine,
        api_keys.add,
        name=name[:256],
        prefix=prefix(key),
        digest=digest(key),
        scope=scope.value,
        expires_at=expires_at,
        zone=zone,
    )
    if not is_new:
        fail("This key exists already: see `key list`.", MISUSED)
    if existing:
        out.print(f"Imported: {prefix(key)}…")
    else:
        typer.echo("The key, for the header X-API-KEY. It is shown this once:", err=True)
        typer.echo(key)


def _read_key() -> str:
    key = str(typer.prompt("The key", hide_input=True)) if sys.stdin.isatty() else sys.stdin.read()
    try:
        return existing_key(key)
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
        table = Table("id", "key", "name", "scope", "zone", "state", "created", "last used")
        for key in keys:
            cells = (
                str(key.id),
                f"{key.prefix}…",
                key.name,
                key.scope,
                key.zone or "UTC",
                _state(key),
                f"{key.created_at:%Y-%m-%d}",
                f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
            )
            table.add_row(*(visible(cell) for cell in cells))
        out.print(table)
    out.print(f"{count_of(len(keys), 'key')}.")


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
) -> None:
    """Revoke keys. A running API refuses them within seconds."""
    engine = open_store(load_settings())
    known = in_transaction(engine, api_keys.all_keys)
    chosen = []
    for wanted in keys:
        hits = [key for key in known if wanted == str(key.id) or wanted.rstrip("…") == key.prefix]
        if len(hits) != 1:
            fail(
                f"{visible(wanted)} is {'not a key' if not hits else 'the beginning of several keys: give an id'}.",
                MISUSED,
            )
        chosen.append(hits[0].id)
    in_transaction(engine, api_keys.revoke, chosen)
    out.print(f"{count_of(len(set(chosen)), 'key')} revoked.")
