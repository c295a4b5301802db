"""ManyChat's API, as far as Odoo asks it: whose account it is, and which custom fields, tags and flows it has.

Odoo only reads here, and only when an administrator presses a button. The bridge writes.

Shapes of the answers: ManyChat's OpenAPI text, https://api.manychat.com/swagger.
"""

import time
from functools import partial
from urllib.parse import urlsplit

import requests

from bridge import manychat_answers
from bridge.errors import (
    ConfigurationError,
    ManyChatMisconfigured,
    ManyChatRefused,
    ManyChatStopped,
    ManyChatUnavailable,
)
from bridge.server_address import is_private

from . import configuration
from .queues import is_neutralized

ADDRESS = "https://api.manychat.com"
#: Seconds to connect, and for an answer; together for all of it. A person waits for it.
TIMEOUT = (3, 5)
#: Most characters of ManyChat's own words that are shown.
MOST_WORDS = 300

#: Kinds of what an account has.
FIELD, TAG, FLOW = "field", "tag", "flow"


class NoAnswer(Exception):
    """ManyChat did not do what it was asked.

    :ivar status: ``neutralized`` (this database is a copy), ``not_configured``, ``malformed`` (a setting is wrong),
        ``unreachable``, ``refused`` (it does not accept the token), ``limited`` (the account has passed its limits) or
        ``error`` (ManyChat reports one)
    :ivar detail: for people, without the token
    """

    def __init__(self, status, detail=""):
        super().__init__(detail or status)
        self.status = status
        self.detail = detail


def account(env):
    """The account of the token.

    :return dict: ``name``, ``id`` and more, as ManyChat has them
    :raises NoAnswer:
    """
    return _ask(env, "page/getInfo", dict)


def require_token(env):
    """:raises NoAnswer: no token is set that ManyChat could be asked with; ManyChat is not asked"""
    _settings(env)


def items(env):
    """All custom fields, tags and flows of the account.

    :return list: of dicts: ``kind``; ``remote_id``, text; ``name``; ``field_type``, of fields; ``folder``, of flows
    :raises NoAnswer: nothing is known then: no list is returned in part
    """
    fields, tags = _ask(env, "page/getCustomFields", list), _ask(env, "page/getTags", list)
    flows = _ask(env, "page/getFlows", dict)
    try:
        folders = {each["id"]: each["name"] for each in flows.get("folders") or ()}
        return [
            *(_item(FIELD, each["id"], each["name"], field_type=each.get("type")) for each in fields),
            *(_item(TAG, each["id"], each["name"]) for each in tags),
            *(
                _item(FLOW, each["ns"], each["name"], folder=folders.get(each.get("folder_id")))
                for each in flows.get("flows") or ()
            ),
        ]
    except (AttributeError, KeyError, TypeError):
        raise NoAnswer("error", "the lists have another form than ManyChat documents") from None


def _item(kind, remote_id, name, field_type=None, folder=None):
    return {
        "kind": kind,
        "remote_id": str(remote_id),
        "name": str(name).strip() or str(remote_id),
        "field_type": field_type or False,
        "folder": folder or False,
    }


def _ask(env, path, shape):
    """The ``data`` of ManyChat's answer, which has the type ``shape``.

    :raises NoAnswer:
    """
    token, address = _settings(env)
    until = time.monotonic() + sum(TIMEOUT)
    try:
        # No redirect: the token is for this address only.
        with (
            manychat_answers.Session() as http,
            http.get(
                f"{address}/fb/{path}",
                headers={"Accept": "application/json"},
                auth=partial(_with_token, token),
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            body = manychat_answers.read_body(response, until)
    except requests.RequestException as error:
        raise NoAnswer("unreachable", f"{urlsplit(address).hostname}: {type(error).__name__}") from None
    except ManyChatUnavailable as error:
        raise NoAnswer("unreachable", f"{urlsplit(address).hostname}: {error}") from None
    data, status = _data(response, body), response.status_code
    if status != 200 or not isinstance(data, shape):
        raise NoAnswer("error", f"HTTP {status}")
    return data


def _with_token(token, request):
    # As `auth`, which a .netrc file does not replace.
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _data(response, body):
    status = f"HTTP {response.status_code}"
    try:
        return manychat_answers.read_data(response, body)
    except ManyChatMisconfigured as error:
        raise NoAnswer("refused", _shown(error.words) or status) from None
    except ManyChatStopped as error:
        raise NoAnswer("limited", _shown(error.words) or status) from None
    except ManyChatUnavailable:
        raise NoAnswer("unreachable" if response.status_code >= 500 else "error", status) from None
    except ManyChatRefused as error:
        raise NoAnswer("error", _shown(error.message) or status) from None


def _shown(words):
    return " ".join(words.split())[:MOST_WORDS]


def _settings(env):
    """The token and the address.

    :raises NoAnswer: ManyChat cannot be asked
    """
    if is_neutralized(env):
        raise NoAnswer("neutralized")
    try:
        token = configuration.get("manychat_api_token")
        address = configuration.get("manychat_api_url", ADDRESS).rstrip("/")
    except ConfigurationError as error:
        raise NoAnswer("malformed", str(error)) from None
    if not token:
        raise NoAnswer("not_configured")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise NoAnswer("malformed", "manychat_api_token")
    if not is_private(address):
        raise NoAnswer("malformed", "manychat_api_url")
    return token, address
