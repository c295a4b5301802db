"""Structured logs: one line for each thing that happened, without personal data.

A line may have only the fields of :data:`ALLOWED`. Any other field is dropped, and the line names it. So a programming
mistake cannot put a phone number, a name or an e-mail address into the log. For the same reason the text of an
exception is never logged, only its class and where it was raised.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from io import StringIO
from typing import Any, TextIO, cast

import structlog

#: Fields that a log line may hold.
ALLOWED = frozenset(
    {
        "event",
        "level",
        "timestamp",
        # what it is about
        "event_id",
        "trace_id",
        "manychat_id",
        "message_id",
        "type",
        "queue",
        "lead_id",
        "clock_is_wrong",
        # its outcome
        "outcome",
        "code",
        "attempts",
        "retry_in",
        "until",
        "ms",
        "count",
        # the request to the API, and the name of its key
        "path",
        "key",
        "table",
        "names",
        "row_id",
        "address",
        # the process and its dependencies
        "dependency",
        "reason",
        "down_seconds",
        "queues",
        "database",
        "version",
        "revision",
        "known",
        "pid",
        "port",
        "signal",
        "seconds",
        "error",
        "where",
        "logger",
        "dropped",
    }
)


def configure(
    log_format: str = "auto",
    level: str = "INFO",
    stream: TextIO | None = None,
    *,
    host: logging.Logger | None = None,
) -> None:
    """Set up logging for the process.

    :param log_format: ``json``, ``console``, or ``auto``: ``console`` on a terminal, else ``json``
    :param stream: default: standard error
    :param host: gets the lines instead, with their levels: of a program that collects the lines of the libraries too
    """
    stream = stream or sys.stderr or StringIO()  # a process may have none
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exception_without_text,
            only_allowed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=(lambda *_: host) if host else structlog.WriteLoggerFactory(file=_patient(stream)),
        cache_logger_on_first_use=False,
    )
    if host is None:
        _tame_root()
    # urllib3 warns at each broken connection, Azure's libraries at each unusual answer. Our log has one line for an
    # outage. In their lower levels they log addresses with signatures.
    for name in ("urllib3", "azure"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _patient(stream: TextIO) -> TextIO:
    return cast(TextIO, _Patient(stream))


class _Patient:
    """A stream whose disk may be full, or whose reader may be gone: events are applied nevertheless."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def only_allowed(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop fields that are not in :data:`ALLOWED`, and name them in the line."""
    unknown = sorted(line.keys() - ALLOWED)
    for name in unknown:
        del line[name]
    if unknown:
        line["dropped"] = unknown
    return line


def exception_without_text(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace ``exc_info`` by the exception's class and places: its text may quote personal data."""
    given = line.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        line["error"] = kind(error)
        line["where"] = places(error)
    return line


def places(error: BaseException) -> list[str]:
    """Where an exception came from, the innermost place last: eight at most."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]


def kind(error: BaseException) -> str:
    """The class of an exception, which is safe to log when its text is not."""
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


class _Library(logging.Handler):
    """Log lines of libraries, without the values in their messages."""

    def emit(self, record: logging.LogRecord) -> None:
        # record.msg, not getMessage(): the arguments may hold URLs with signatures, or personal data. Without any, a
        # library's message may hold them; ours, of the modules that also work in Odoo, does not.
        text = str(record.msg) if record.args or record.name.startswith("bridge.") else record.name
        structlog.get_logger().log(record.levelno, "library", logger=record.name, reason=text[:200])


def _tame_root() -> None:
    root = logging.getLogger()
    root.handlers = [_Library()]
    root.setLevel(logging.WARNING)
