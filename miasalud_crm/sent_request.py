"""The request of a bot, as it is kept with its event: people read it, check it again, and send it corrected."""

from bridge.contract import attribution, keys
from bridge.contract.request_headers import API_KEY, IDEMPOTENCY_KEY

#: Headers that are not kept: they let their holder in.
_SECRET = {API_KEY.lower(), "authorization", "cookie", "proxy-authorization"}
#: Headers about the connection, which the programs on the way set. A bot builder can change none of them.
_OF_THE_WAY = {"accept-encoding", "connection", "content-length", "keep-alive", "te", "transfer-encoding", "via"}
#: A server takes more and longer headers than a bot sends. They must not fill the database.
_MOST_HEADERS = 50
_HEADER_KEPT_CHARS = 1000


def of(http_request, body):
    """The request as JSON: ``method``, ``path``, ``headers`` (pairs, without the key), ``body`` (text).

    :param http_request: werkzeug's request
    :param bytes body: as received
    """
    headers = [
        [name, value[:_HEADER_KEPT_CHARS].replace("\x00", "")]
        for name, value in http_request.headers.items()
        if name.lower() not in _SECRET | _OF_THE_WAY and keys.TAG not in value
    ]
    return {
        "method": http_request.method,
        "path": http_request.path,
        "headers": headers[:_MOST_HEADERS],
        # PostgreSQL stores no NUL in a text.
        "body": body.decode("utf-8", "replace").replace("\x00", ""),
    }


def masked(sent):
    """``sent`` without a word of what it says: for a request whose person cannot be found out."""
    headers = [
        [name, attribution.masked(value) if name.lower() == IDEMPOTENCY_KEY.lower() else value]
        for name, value in sent["headers"]
    ]
    return {**sent, "headers": headers, "body": attribution.masked(sent["body"]), "masked": True}


def header(sent, name):
    """The value of a header of ``sent``, by its name in any case; ``None`` without one."""
    values = [value for each, value in sent.get("headers") or () if each.lower() == name.lower()]
    return ",".join(values) if values else None


def mentions(sent, manychat_id):
    """Whether the request names the person anywhere."""
    texts = [sent.get("body") or "", *(value for _name, value in sent.get("headers") or ())]
    return any(attribution.mentions(text, manychat_id) for text in texts)
