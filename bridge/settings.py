"""What an operator can set, from the environment or a ``.env`` file. ``.env.example`` documents every variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from .errors import ConfigurationError

PREFIX = "BRIDGE_"


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        # An empty variable is how a compose file says "not set".
        env_ignore_empty=True,
        extra="ignore",
        # An error must not quote what it was given: it may be half a connection string.
        hide_input_in_errors=True,
    )

    queue_connection_string: SecretStr | None = None
    database_url: SecretStr = SecretStr("sqlite:///miasalud.db")
    database_options: dict[str, Any] = {}
    #: The schema of the bridge's tables. A plain name: people write it into SQL.
    database_schema: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] | None = None
    #: Where `db adopt` reads; default: the bridge's own database.
    adopt_url: SecretStr | None = None
    odoo_url: str | None = None
    odoo_database: str | None = None
    odoo_login: str = "manychat_bridge"
    odoo_api_key: SecretStr | None = None
    webhook_url: str | None = None
    webhook_key: SecretStr | None = None
    #: Where the API listens. Loopback: a proxy with TLS belongs in front of it.
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    #: Where the API keeps its keys' digests, for a start while SQL is away.
    api_keys_file: Path = Path("miasalud-api-keys.json")
    #: Messages taken at once. The queue gives at most 32.
    batch_size: Annotated[int, Field(ge=1, le=32)] = 32
    #: Seconds after which a message that was neither deleted nor renewed comes again. At most the queue's 7 days.
    visibility_timeout: Annotated[int, Field(ge=2, le=7 * 24 * 3600)] = 60
    #: Attempts of one event, not counting outages, before it becomes a dead letter.
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    #: Longest pause between two looks at an empty queue, in seconds. Half a second lets a move land within one.
    poll_interval: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    #: Seconds between two looks at what was left unfinished; 0: never.
    reconcile_interval: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = 300
    #: Where `run` answers /metrics and /health; 0: nowhere. A port in use: the next free one of ten.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    metrics_host: str = "127.0.0.1"
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def require(self, *names: str) -> None:
        """
        :param names: fields that the command at hand cannot do without
        :raises ConfigurationError: some of them are not set
        """
        missing = [variable(name) for name in names if getattr(self, name) is None]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            raise ConfigurationError(f"{' and '.join(missing)} {are} not set (environment or .env; see .env.example).")


def variable(field: str) -> str:
    """The environment variable of a field of :class:`Settings`."""
    return PREFIX + field.upper()


def secret(value: SecretStr | None) -> str:
    """The text of a secret that :meth:`Settings.require` has checked."""
    assert value is not None
    return value.get_secret_value()


def load() -> Settings:
    """Read the settings.

    :raises ConfigurationError: naming each variable that is wrong
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{variable(str(item['loc'][0]))}: {item['msg']}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("\n".join(lines)) from None
    except SettingsError as error:
        # Raised for a value that should be JSON and is not; its text names the field, never the value.
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), None)
        raise ConfigurationError(f"{variable(name)}: must be a JSON object" if name else str(error)) from None
