"""``python -m bridge key``: make, list and revoke the keys of the API."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from .. import connect
from ..contract.keys import Scope, digest, new_key, prefix
from ..store import api_keys
from ..store.engine import in_transaction
from .console import MISUSED, count_of, fail, load_settings, out, visible
from .parsing import age

#: Characters that a key from elsewhere must have at least: a hash protects no word that can be guessed.
SHORTEST = 20

app = typer.Typer(no_args_is_help=True, help="The keys of the API.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Which program or bot will use it.")],
    scope: Annotated[
        Scope,
        typer.Option(help="What it opens: the standby webhooks, reading, or everything (reading, writing, webhooks)."),
    ],
    expires_in: Annotated[
        timedelta | None, typer.Option(parser=age, metavar="AGE", help="E.g. 90d. Default: it never expires.")
    ] = None,
    existing: Annotated[
        bool,
        typer.Option(
            "--existing",
            help="Take in a key that there is already, from standard input: the one that a bot uses with Odoo, so that "
            "a proxy may send the bot to either.",
        ),
    ] = False,
) -> None:
    """Make a key and print it: this once, since only its hash is stored. A running API takes it within seconds."""
    key = _read_key() if existing else new_key()
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    expires_at = datetime.now(timezone.utc) + expires_in if expires_in else None
    new = in_transaction(
        engine,
        lambda connection: api_keys.add(
            connection,
            name=name[:256],
            prefix=prefix(key),
            digest=digest(key),
            scope=scope.value,
            expires_at=expires_at,
        ),
    )
    if not new:
        fail("This key is there already: see `key list`.", MISUSED)
    if existing:
        out.print(f"Taken in: {prefix(key)}…")
    else:
        typer.echo("The key, for the header X-API-KEY. It is shown this once:", err=True)
        typer.echo(key)


def _read_key() -> str:
    key = str(typer.prompt("The key", hide_input=True)) if sys.stdin.isatty() else sys.stdin.read()
    key = key.strip()
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        fail(f"That is no key: give at least {SHORTEST} ASCII characters without spaces.", MISUSED)
    return key


@app.command("list")
def list_keys() -> None:
    """Show the keys: what they open, until when, and when they were last used."""
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    keys = in_transaction(engine, api_keys.all_keys)
    if keys:
        table = Table("id", "key", "name", "opens", "state", "created", "last used")
        for key in keys:
            cells = (
                str(key.id),
                f"{key.prefix}…",
                key.name,
                key.scope,
                _state(key),
                f"{key.created_at:%Y-%m-%d}",
                f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
            )
            table.add_row(*(escape(visible(cell)) for cell in cells))
        out.print(table)
    out.print(f"{count_of(len(keys), 'key')}.")


def _state(key: Any) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= datetime.now(timezone.utc) else 'until'} {key.expires_at:%Y-%m-%d}"


@app.command()
def revoke(
    keys: Annotated[list[str], typer.Argument(metavar="KEY…", help="By id, or by the first characters as listed.")],
) -> None:
    """Have keys be refused from now on. A running API obeys within seconds."""
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    known = in_transaction(engine, api_keys.all_keys)
    chosen = []
    for wanted in keys:
        hits = [key for key in known if wanted == str(key.id) or wanted.rstrip("…") == key.prefix]
        if len(hits) != 1:
            fail(f"{visible(wanted)} is {'no key' if not hits else 'more than one key; give its id'}.", MISUSED)
        chosen.append(hits[0].id)
    in_transaction(engine, lambda connection: api_keys.revoke(connection, chosen))
    out.print(f"{count_of(len(set(chosen)), 'key')} revoked.")
