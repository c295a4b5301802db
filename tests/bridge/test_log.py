from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bridge import log

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    log.configure("json", "DEBUG", stream)
    yield stream
    logging.getLogger().handlers, logging.getLogger().level = handlers, level
    structlog.reset_defaults()


def test_a_field_that_is_not_allowed_is_dropped_and_named(stream: io.StringIO) -> None:
    structlog.get_logger().info("event_applied", event_id="e1", phone="+34611222333", payload={"nombre_lead": "Ana"})

    line = json.loads(stream.getvalue())
    assert (line["event"], line["event_id"], line["level"]) == ("event_applied", "e1", "info")
    assert line["dropped"] == ["payload", "phone"]
    assert "611222333" not in stream.getvalue()


def test_every_field_that_the_code_logs_is_allowed() -> None:
    """Else the line would lose it, which nothing else shows."""
    lacking = set()
    for path in Path(log.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            logger = node.func.value
            if isinstance(logger, ast.Name) and logger.id == "log" and node.func.attr in LEVELS:
                names = {keyword.arg for keyword in node.keywords if keyword.arg}
                lacking |= {(path.name, name) for name in names - log.ALLOWED - {"exc_info"}}
    assert lacking == set()


def test_an_exception_is_told_by_its_kind_and_place_never_by_its_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("Ana García, +34611222333")
    except ValueError:
        structlog.get_logger().error("failed", exc_info=True)

    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError"
    assert any("test_log.py" in place for place in line["where"])
    assert "Ana" not in stream.getvalue()


def test_a_librarys_warning_comes_without_its_values(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("Failed to send %s", "+34611222333")
    logging.getLogger("some.library").warning("Failed to send +34611222333")
    logging.getLogger("urllib3.connectionpool").warning("Retrying %s", "/queue?sig=hunter2")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["logger"]) for line in lines] == [("library", "some.library")] * 2
    assert "611222333" not in stream.getvalue()


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log.configure("console", "INFO", stream)
    structlog.get_logger().info("event_applied", event_id="e1")
    structlog.get_logger().debug("not this")
    structlog.reset_defaults()

    assert "event_applied" in stream.getvalue()
    assert "event_id=e1" in stream.getvalue().replace("'", "")
    assert "not this" not in stream.getvalue()
