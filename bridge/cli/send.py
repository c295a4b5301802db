"""``python -m bridge send``: post a payload to the webhook as ManyChat does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from ..contract.errors import ContractError
from ..contract.payloads import WEBHOOKS, EventType, Payload, own_fields
from ..contract.strict_json import parse_json
from ..errors import ConfigurationError
from ..settings import secret
from .console import FAILED, MISUSED, fail, load_settings, visible

#: Seconds; ManyChat itself gives up after 10.
TIMEOUT = 30
#: Most bytes that are sent: far more than the webhooks take, so that their answer can be seen.
LARGEST = 10 * 1024 * 1024


def send(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file with one payload as JSON; - for standard input.")],
    event_type: Annotated[
        EventType | None, typer.Option("--type", help="The type of the event. Default: guessed from the fields.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="URL of the webhooks' server. Default: BRIDGE_WEBHOOK_URL, else BRIDGE_ODOO_URL.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The API key. Default: BRIDGE_WEBHOOK_KEY.")] = None,
) -> None:
    """Post a payload to the webhook as ManyChat does, and print the answer.

    Exits with 1 if the webhook does not accept it.
    """
    settings = load_settings()
    body = _read(file)
    kind = event_type or _guess(body)
    url = url or settings.webhook_url or settings.odoo_url
    if not url:
        settings.require("webhook_url")
    if not key:
        settings.require("webhook_key")
        key = secret(settings.webhook_key)
    answer = post(str(url), key, kind, body)
    typer.echo(f"HTTP {answer.status}", err=True)
    typer.echo(visible(answer.body))
    if not answer.accepted:
        sys.exit(FAILED)


def _read(file: str) -> bytes:
    try:
        if file == "-":
            body = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b""
        else:
            with Path(file).open("rb") as opened:
                body = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        fail(f"{file[:200]} cannot be read: {getattr(error, 'strerror', None) or 'that is no file name'}.", MISUSED)
    if len(body) > LARGEST:
        fail(f"{file} is longer than {LARGEST:,} bytes: no webhook takes it.", MISUSED)
    return body


def _guess(body: bytes) -> EventType:
    try:
        guessed = guess_type(parse_json(body))
    except ContractError as error:
        fail(f"{error.message} Give --type to send it nevertheless.", MISUSED)
    if guessed is None:
        fail("The payload's fields fit several types: give --type.", MISUSED)
    return guessed


@dataclass(frozen=True)
class Answer:
    """An HTTP answer.

    :ivar body: as text; JSON if the webhook itself answered
    """

    status: int
    body: str

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


def guess_type(payload: Mapping[str, Any]) -> EventType | None:
    """The type that alone has some fields of ``payload``; ``None`` if several types are possible."""
    without = []
    for event_type in WEBHOOKS:
        required = {name for name, field in event_type.model.model_fields.items() if field.is_required()}
        # A type with a required field of its own (an opportunity's state) is there if the field is.
        if distinctive := required - Payload.model_fields.keys():
            if distinctive <= payload.keys():
                return event_type
        else:
            without.append(event_type)
    hits = [event_type for event_type in without if own_fields(event_type, without) & payload.keys()]
    return hits[0] if len(hits) == 1 else None


def post(url: str, key: str, event_type: EventType, body: bytes) -> Answer:
    """Post ``body`` unchanged.

    :param url: of the server, without the path
    :raises ConfigurationError: no server answers there, or HTTP cannot carry the address or the key
    """
    method, path = event_type.route
    try:
        response = requests.request(
            method,
            url.rstrip("/") + path,
            data=body,
            headers={"Content-Type": "application/json", "X-API-KEY": key},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise ConfigurationError(f"No answer from {url} ({type(error).__name__}). Is Odoo running there?") from None
    except (UnicodeError, ValueError):
        raise ConfigurationError(
            f"Nothing was sent to {url}: neither an address nor a key may have letters such as ñ, or control "
            "characters. Check --url and --key."
        ) from None
    return Answer(response.status_code, response.text)
