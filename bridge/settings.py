"""The bridge's settings, read from the environment or a ``.env`` file.

``make generate`` writes ``.env.example`` and ``docs/settings.md`` from the descriptions below.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .errors import ConfigurationError
from .setting_value import fault_of, strip_value

PREFIX = "BRIDGE_"


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        # Windows editors put a byte order mark before the first line.
        env_file_encoding="utf-8-sig",
        # An empty variable is how a compose file says "not set".
        env_ignore_empty=True,
        extra="ignore",
        # An error must not quote what it was given: it may be half a connection string.
        hide_input_in_errors=True,
    )

    queue_connection_string: SecretStr | None = Field(
        None,
        description="Connection string of the Azure Storage account that holds the queues (Azure portal: Access keys), "
        "or of Azurite.\n\nIt may have a shared access signature (SAS) in place of the key. The SAS needs the service "
        "queue (`ss=q`), the resource types container and object (`srt=co`) and the rights read, add, update and "
        "process (`sp=raup`), and the right create only while a queue is missing. For Odoo, read and add are enough.",
    )
    queue_account_url: str | None = Field(
        None,
        description="URL of the storage account, in place of the connection string: the machine's identity logs in, "
        "and no key is needed. See docs/identity.md. Needs the extra `identity`.",
        examples=["https://ACCOUNT.queue.core.windows.net"],
    )

    database_url: SecretStr = Field(
        SecretStr("sqlite:///miasalud.db"),
        description="SQLAlchemy URL of the bridge's database: Azure SQL, SQL Server, PostgreSQL or SQLite. The default "
        "file is in the working directory.\n\nOn Azure SQL, log in with a SQL login (percent-encode special "
        "characters in its password), with the machine's managed identity, or with a user-assigned identity by its "
        "client id. The connection is encrypted unless the URL says `Encrypt=no`. A managed identity becomes a "
        "database user by `CREATE USER [NAME] FROM EXTERNAL PROVIDER`.",
        examples=[
            "mssql+pyodbc://USER:PASSWORD@SERVER.database.windows.net/DATABASE",
            "mssql+pyodbc://@SERVER.database.windows.net/DATABASE?Authentication=ActiveDirectoryMsi",
            "mssql+pyodbc://CLIENT_ID@SERVER.database.windows.net/DATABASE?Authentication=ActiveDirectoryMsi",
        ],
    )
    database_options: dict[str, Any] = Field(
        {},
        description="More options for `sqlalchemy.create_engine`, as a JSON object.",
        examples=['{"pool_size": 10, "fast_executemany": false}'],
    )
    # A plain name: people write it into SQL.
    database_schema: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] | None = Field(
        None,
        description="A schema for the bridge's tables only, in a database that has other tables too. `db upgrade` "
        "creates it. Default: the default schema of the database user.",
    )
    adopt_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the database that `db adopt` reads. Default: `BRIDGE_DATABASE_URL`."
    )

    odoo_url: str | None = Field(
        None, description="Address of Odoo. Only opportunities need Odoo.", examples=["http://localhost:8069"]
    )
    odoo_database: str | None = Field(None, description="Name of Odoo's database.")
    odoo_login: str = Field(
        "manychat_bridge",
        description="Login of the user that the addon creates for the bridge. This user can apply events, report their "
        "outcomes and read their state, and nothing else.",
    )
    odoo_api_key: SecretStr | None = Field(
        None,
        description="API key of that user, from CRM ▸ Configuration ▸ ManyChat ▸ Keys ▸ New Key ▸ For the bridge.",
    )

    api_host: str = Field(
        "127.0.0.1",
        description="Address that the API listens on. The API speaks plain HTTP: put a proxy with TLS in front of it "
        "(`deploy/proxy/`).",
    )
    api_port: Annotated[int, Field(ge=1, le=65535)] = Field(8000, description="Port that the API listens on.")
    api_keys_file: Path = Field(
        Path("miasalud-api-keys.json"),
        description="File in which the API stores the digests of its keys (never a key), so that the webhooks work "
        "when the API starts while SQL is unavailable. The API uses the file for seven days at most. In a container, "
        "put it on a volume.",
    )

    webhook_url: str | None = Field(None, description="Address of the webhooks for `send`. Default: `BRIDGE_ODOO_URL`.")
    webhook_key: SecretStr | None = Field(
        None, description="Webhook key for `send`, made in Odoo: the value of the `X-API-KEY` header."
    )

    batch_size: Annotated[int, Field(ge=1, le=32)] = Field(
        32, description="Number of messages that the bridge receives at once. Azure gives 32 at most."
    )
    visibility_timeout: Annotated[int, Field(ge=2, le=7 * 24 * 3600)] = Field(
        60,
        description="Seconds that a received message stays invisible to other bridges. The bridge renews this while it "
        "works; a message of a bridge that died is delivered again after this time.",
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        5,
        description="Attempts to apply one event before it becomes a dead letter. Attempts during an outage do not "
        "count.",
    )
    # Half a second lets a move land within one second.
    poll_interval: Annotated[float, Field(ge=0.05, le=60)] = Field(
        0.5, description="Longest pause between two checks of an empty queue, in seconds."
    )
    reconcile_interval: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = Field(
        300,
        description="Seconds between two searches for unfinished events, for example events whose message was lost. "
        "0: never.",
    )

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0,
        description="Port on which `run` serves `/metrics` (Prometheus) and `/health`. 0: none. Several bridges on one "
        "machine take the next free ports, ten at most.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address that the metrics port listens on; 0.0.0.0 for a Prometheus on another machine. Metrics "
        "need no key: keep the port off the internet.",
    )

    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Format of the log. auto: console on a terminal, else json."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that the log shows."
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Strip what stands around the values.

        :raises ConfigurationError: names the variables whose values cannot be what was meant
        """
        environment, file = sources["env_settings"], sources["dotenv_settings"]
        for source in (environment, file):
            assert isinstance(source, EnvSettingsSource)
            source.env_vars = _stripped(source.env_vars)
        return sources["init_settings"], environment, file

    def require(self, *names: str) -> None:
        """
        :param names: fields that the command at hand cannot do without
        :raises ConfigurationError: some of them are not set
        """
        missing = [variable(name) for name in names if getattr(self, name) is None]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            raise ConfigurationError(f"{' and '.join(missing)} {are} not set (environment or .env; see .env.example).")


def _stripped(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """The variables of ours, stripped. An empty one is not set.

    :raises ConfigurationError:
    """
    stripped = {}
    for name, value in variables.items():
        # The byte order mark of an --env-file becomes part of its first name.
        own = name.strip("\ufeff \t").upper()
        if own.startswith(PREFIX) and (text := strip_value(value or "")):
            stripped[own.lower()] = text
    if faults := [f"{name.upper()}: {fault}" for name, text in stripped.items() if (fault := fault_of(text))]:
        raise ConfigurationError("\n".join(faults))
    return dict(stripped)


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
    _require_readable(Path(".env"))
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


def _require_readable(file: Path) -> None:
    """Refuse a file of which the library would skip a line: the variable in it would have its default instead.

    :raises ConfigurationError: names the line
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            wrong = [binding.original.line for binding in parse_stream(lines) if binding.error]
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file.absolute()} cannot be read as UTF-8 ({type(error).__name__})") from None
    if wrong:
        raise ConfigurationError(f"{file.absolute()}: line {wrong[0]} is not NAME=VALUE, or its quotes are not closed")
