"""``python -m bridge check``: try each dependency as the bridge uses it, and say what to do if it fails."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
import sqlalchemy as sa
import typer
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from ..connect import open_engine, open_manychat, open_odoo, open_queue
from ..contract.payloads import OUTBOUND_QUEUE
from ..errors import ManyChatUnavailable, Outage
from ..monitoring import health, probes
from ..queue import require_rights
from ..settings import Settings, variable
from ..settings_sources import env_file
from ..store import manychat_writes
from ..store import url as urls
from ..store.engine import read
from ..worker.write_back.pace import PacedManyChat
from ..write_back import Rules
from .console import FAILED, JsonLines, load_settings, out, print_json, visible

#: Seconds for the answer of the API's /health, which uses no other service.
API_SECONDS = 3


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    :ivar advice: what to do; empty if nothing
    """

    dependency: str
    tried: str
    ok: bool
    answer: str
    advice: str = ""


def check(as_json: JsonLines = False) -> None:
    """Try the queue, the database and Odoo, and say what to do about a failure.

    ManyChat too, if decisions go back there: whether it takes the token, and has the fields and tags.

    Exits with 1 if any of them fails.
    """
    failed = False
    settings = load_settings()
    # On standard error: a line on standard output is a finding.
    typer.echo(f"Settings: the environment, and {env_file() or f'no file .env in {Path.cwd()}'}", err=True)
    for finding in findings(settings):
        failed |= not finding.ok
        if as_json:
            print_json(asdict(finding))
            continue
        mark = Text("ok    ", style="green") if finding.ok else Text("FAILED", style="red")
        advice = f" → {finding.advice}" if finding.advice else ""
        # soft_wrap: one finding is one line, also for grep.
        out.print(mark, visible(f"{finding.dependency:<5}  {finding.tried}: {finding.answer}{advice}"), soft_wrap=True)
    if failed:
        sys.exit(FAILED)


def findings(settings: Settings) -> Iterator[Finding]:
    """One finding for each dependency, as soon as it is checked."""
    yield _finding("queue", "try each right, make missing queues", lambda: _queue(settings), probes.QUEUE_ADVICE)
    yield _finding("SQL", "connect, read the tables' revision, write a row", lambda: _sql(settings), probes.SQL_ADVICE)
    yield _finding("Odoo", "log in, apply an empty batch", lambda: _odoo(settings), probes.ODOO_ADVICE)
    yield from _manychat(settings)
    yield _api(settings)


def _finding(dependency: str, tried: str, attempt: Callable[[], str], advice: str) -> Finding:
    result = probes.check(attempt, advice)
    return Finding(dependency, tried, result.ok, result.value or result.reason, result.advice)


def _queue(settings: Settings) -> str:
    depths = []
    # A bridge without the token leaves what goes back to ManyChat to others.
    for name in (*probes.ALL_QUEUES, *([OUTBOUND_QUEUE] if settings.manychat_api_token else [])):
        queue = open_queue(settings, name)
        receives = name in (*probes.PATHS, OUTBOUND_QUEUE)
        require_rights(queue, "read", "add", *(("update", "process") if receives else ()))
        depths.append(f"{name} {probes.check_queue(queue).depth}")
        queue.close()
    return "messages waiting: " + ", ".join(depths)


def _sql(settings: Settings) -> str:
    engine = open_engine(settings)
    try:
        sql = probes.check_sql(engine)
    finally:
        engine.dispose()
    file = urls.file_of(engine.url)
    name = f"{sql.dialect}{f' {file}' if file else ''}"
    if sql.store is None:
        return f"{name}, no tables yet: `run` makes them"
    return ", ".join([name, f"revision {sql.revision}", *health.notices(sql.store), *_notices_of_file(file)])


def _notices_of_file(file: Path | None) -> Iterator[str]:
    if file and (mode := file.stat().st_mode & 0o777) & 0o077:
        yield f"other users can open this file (mode {mode:04o}), to prevent it: chmod 600 {file}*"


def _odoo(settings: Settings) -> str:
    odoo = open_odoo(settings)
    try:
        found = probes.check_odoo(odoo)
        return f"Odoo {found.version}, database {found.database}, user {found.login}"
    finally:
        odoo.close()


def _manychat(settings: Settings) -> Iterator[Finding]:
    """Write-back is optional: nothing is said of it where it has no token and is off."""
    engine = open_engine(settings)
    try:
        rules = _rules(engine)
        if settings.manychat_api_token:
            yield _finding(
                "ManyChat", "log in, read its fields and tags", lambda: _account(settings, engine, rules), _TOKEN_ADVICE
            )
        elif rules.enabled:
            why = "it is on in Odoo, and this bridge has no token"
            yield Finding("ManyChat", "look for the token", False, why, _TOKEN_ADVICE)
    finally:
        engine.dispose()


_TOKEN_ADVICE = (
    f"Give {variable('manychat_api_token')} the token that ManyChat shows under Settings ▸ API, or switch *Tell "
    "ManyChat* off in Odoo."
)


def _rules(engine: sa.Engine) -> Rules:
    """What administrators set; off if SQL does not say, which is another finding."""
    try:
        return read(engine, manychat_writes.rules)
    except (Outage, SQLAlchemyError):
        return Rules()


def _account(settings: Settings, engine: sa.Engine, rules: Rules) -> str:
    client = open_manychat(settings)
    try:
        # At the pace that all bridges keep: too many calls may stop the account.
        paced = PacedManyChat(client, engine, settings.manychat_calls_per_second, threading.Event())
        name = paced.call(client.get_account).get("name") or "?"
        if not rules.enabled:
            return f"account {name}; writing is off in Odoo"
        there = {("field", each["id"]) for each in paced.call(client.get_fields) if "id" in each}
        there |= {("tag", each["id"]) for each in paced.call(client.get_tags) if "id" in each}
    finally:
        client.close()
    lacking = [(kind, target) for kind, target in rules.targets() if (kind, target.id) not in there]
    if lacking:
        missing = [f"{kind} {target.name or target.id}" for kind, target in lacking]
        raise ManyChatUnavailable(
            f"the account {name} has no {', no '.join(missing)}: press *Refresh* under *Tell ManyChat* in Odoo, which "
            "says what to make"
        )
    return f"account {name}; it has every field and tag that Odoo writes"


def _api(settings: Settings) -> Finding:
    """The API is optional: no answer is fine, a wrong answer is a failure."""
    url = f"http://{settings.api_host}:{settings.api_port}/health"
    try:
        answer = requests.get(url, timeout=API_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return Finding("API", f"GET {url}", True, "no answer: `python -m bridge api` does not run there (optional)")
    if answer.status_code == 200 and _is_ours(answer):
        return Finding("API", f"GET {url}", True, "it answers; its keys: `python -m bridge key list`")
    advice = f"Give the API a free port: {variable('api_port')}."
    return Finding("API", f"GET {url}", False, f"something else answers there (HTTP {answer.status_code})", advice)


def _is_ours(answer: requests.Response) -> bool:
    try:
        return bool(answer.json() == {"status": "ok"})
    except ValueError:
        return False
