from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load, variable

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no .env."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(variable(field), raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRIDGE_BATCH_SIZE", "33"),
        ("BRIDGE_BATCH_SIZE", "many"),
        ("BRIDGE_VISIBILITY_TIMEOUT", "0"),
        ("BRIDGE_MAX_ATTEMPTS", "0"),
        ("BRIDGE_POLL_INTERVAL", "-1"),
        ("BRIDGE_LOG_FORMAT", "xml"),
        ("BRIDGE_LOG_LEVEL", "loud"),
        ("BRIDGE_DATABASE_OPTIONS", "pool_size=1"),
        ("BRIDGE_DATABASE_OPTIONS", "[1]"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert name in str(caught.value)


def test_an_error_does_not_quote_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "hunter2")
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "0")
    monkeypatch.setenv("BRIDGE_MAX_ATTEMPTS", "0")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "BRIDGE_BATCH_SIZE" in str(caught.value)
    assert "BRIDGE_MAX_ATTEMPTS" in str(caught.value)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ODOO_URL", "")
    monkeypatch.setenv("BRIDGE_DATABASE_OPTIONS", "")
    settings = load()
    assert (settings.odoo_url, settings.database_options) == (None, {})
    with pytest.raises(ConfigurationError, match="BRIDGE_ODOO_URL"):
        settings.require("odoo_url", "odoo_login")


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUEUE_CONNECTION_STRING", "DATABASE_URL", "ODOO_API_KEY", "WEBHOOK_KEY"):
        monkeypatch.setenv(f"BRIDGE_{name}", "hunter2")
    assert "hunter2" not in repr(load())


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BRIDGE_BATCH_SIZE=7\nBRIDGE_MAX_ATTEMPTS=7\nODOO_OTHER=1\n")
    monkeypatch.setenv("BRIDGE_BATCH_SIZE", "8")
    settings = load()
    assert (settings.batch_size, settings.max_attempts) == (8, 7)


def test_the_example_file_documents_every_setting_with_its_default(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    documented = dict(line.split("=", 1) for line in example.splitlines() if line.startswith("BRIDGE_"))
    assert documented.keys() == {variable(field) for field in Settings.model_fields}

    (tmp_path / ".env").write_text(example)
    assert load() == Settings(_env_file=None)
