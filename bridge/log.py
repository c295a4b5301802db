"""Structured logs: one line for each thing that happened, and nothing in them about people.

A line may hold only the fields of :data:`ALLOWED`; whatever else is passed is dropped, and the line says that. So a
phone number, a name or an e-mail address cannot get into the log by somebody's oversight. For the same reason the text
of an exception is never logged, only its kind and where it was raised.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

#: Fields that a log line may hold.
ALLOWED = frozenset(
    {
        "event",
        "level",
        "timestamp",
        # what it is about
        "event_id",
        "manychat_id",
        "message_id",
        "type",
        "queue",
        "lead_id",
        "clock_is_wrong",
        # what became of it
        "outcome",
        "code",
        "attempts",
        "retry_in",
        "ms",
        "count",
        # what was asked of the API, and by whose key (its name)
        "path",
        "key",
        "table",
        "row_id",
        "address",
        # the process and what it depends on
        "dependency",
        "reason",
        "down_seconds",
        "queues",
        "database",
        "version",
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


def configure(log_format: str = "auto", level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up logging for the process.

    :param log_format: ``json``, ``console``, or ``auto``: ``console`` on a terminal, else ``json``
    :param stream: default: standard error
    """
    stream = stream or sys.stderr
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
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    _tame_libraries()


def only_allowed(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop fields that are not in :data:`ALLOWED`, naming them."""
    unknown = sorted(line.keys() - ALLOWED)
    for name in unknown:
        del line[name]
    if unknown:
        line["dropped"] = unknown
    return line


def exception_without_text(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace ``exc_info`` by the exception's kind and the places it passed: its text may quote people's data."""
    given = line.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        line["error"] = kind(error)
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        line["where"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    return line


def kind(error: BaseException) -> str:
    """An exception's class, which is safe to log when its text is not."""
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


class _Library(logging.Handler):
    """Log lines of libraries: who warned, and the words before their values were put in."""

    def emit(self, record: logging.LogRecord) -> None:
        # record.msg, not getMessage(): the arguments may hold URLs with signatures or people's data.
        text = str(record.msg) if record.args else record.name
        structlog.get_logger().log(record.levelno, "library", logger=record.name, reason=text[:200])


def _tame_libraries() -> None:
    root = logging.getLogger()
    root.handlers = [_Library()]
    root.setLevel(logging.WARNING)
    # urllib3 warns of each connection it tries again, the SDK of each odd answer: an outage is one line of ours.
    for name in ("urllib3", "azure"):
        logging.getLogger(name).setLevel(logging.ERROR)
