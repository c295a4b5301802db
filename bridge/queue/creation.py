"""Creating a queue, by Microsoft's SDK. That is rare: the SDK is imported when it is needed. Loaded into Odoo too."""

from __future__ import annotations

from typing import Any

from .. import identity
from .account import is_url
from .requests import VERSION, NoAnswer, Refused


def create(account: str, name: str, connect_seconds: float, read_seconds: float) -> None:
    """Create the queue ``name``.

    :param account: a connection string, or a whole URL (see :mod:`bridge.queue.account`), for which the process's
        identity logs in
    :raises NoAnswer:
    :raises Refused: also where the queue exists
    """
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
    from azure.storage.queue import QueueClient

    options: dict[str, Any] = {
        "api_version": VERSION,
        "connection_timeout": connect_seconds,
        "read_timeout": read_seconds,
        "retry_total": 0,
    }
    if is_url(account):
        credential: Any = identity.of_process()
        client = QueueClient(account, name, credential=credential, **options)
    else:
        client = QueueClient.from_connection_string(account, name, **options)
    try:
        with client:
            client.create_queue()
    except ResourceExistsError as error:  # also for 204, the answer if it exists with the same metadata
        raise Refused(409, _code(error)) from None
    except HttpResponseError as error:
        raise Refused(error.status_code or 0, _code(error)) from None
    except AzureError as error:
        raise NoAnswer(error) from None


def _code(error: Any) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
