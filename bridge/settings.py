"""The bridge's settings, read from the environment or a ``.env`` file.

``make generate`` writes ``.env.example`` and ``docs/settings.md`` from the descriptions below.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from . import server_address
from .errors import ConfigurationError
from .setting_name import FILE_SUFFIX
from .settings_sources import ENV_FILE, PREFIX, env_file, merge, require_usable


def _header(secret: SecretStr) -> SecretStr:
    """:raises ValueError: it has a character that cannot stand in the header of a request"""
    if not re.fullmatch(r"[!-~]*", secret.get_secret_value()):
        raise ValueError("it has a blank or a letter that no key has. Copy it again")
    return secret


Key = Annotated[SecretStr, AfterValidator(_header)]
ServerAddress = Annotated[str, AfterValidator(server_address.check)]
ManyChatAddress = Annotated[str, AfterValidator(server_address.check_manychat)]


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
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

    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the bridge's database: Azure SQL, SQL Server, PostgreSQL, or SQLite for a "
        "try-out. It has no default.\n\nOn Azure SQL, log in with a SQL login (percent-encode special "
        "characters in its password), with the machine's managed identity, or with a user-assigned identity by its "
        "client id. The connection is encrypted unless the URL says `Encrypt=no`. A managed identity becomes a "
        "database user by `CREATE USER [NAME] FROM EXTERNAL PROVIDER`. The bridge creates a SQLite file for its own "
        "user alone (mode 0600); an existing file keeps its mode.",
        examples=[
            "mssql+pyodbc://USER:PASSWORD@SERVER.database.windows.net/DATABASE",
            "mssql+pyodbc://@SERVER.database.windows.net/DATABASE?Authentication=ActiveDirectoryMsi",
            "mssql+pyodbc://CLIENT_ID@SERVER.database.windows.net/DATABASE?Authentication=ActiveDirectoryMsi",
            "postgresql+psycopg://USER:PASSWORD@SERVER/DATABASE",
            "sqlite:////var/lib/miasalud/miasalud.db",
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

    odoo_url: ServerAddress | None = Field(
        None, description="Address of Odoo. Only opportunities need Odoo.", examples=["http://localhost:8069"]
    )
    odoo_database: str | None = Field(None, description="Name of Odoo's database.")
    odoo_login: str = Field(
        "manychat_bridge",
        description="Login of the user that the addon creates for the bridge. This user can apply events, report their "
        "outcomes and read their state, and nothing else.",
    )
    odoo_api_key: Key | None = Field(
        None,
        description="API key of that user, from CRM ▸ Configuration ▸ ManyChat ▸ Keys ▸ New Key ▸ For the bridge.",
    )

    manychat_api_token: Key | None = Field(
        None,
        description="Token of ManyChat's API (ManyChat: Settings ▸ API), if decisions go back to ManyChat. Without it "
        "the bridge makes no request to ManyChat. With it, an administrator still switches that on in Odoo, under "
        "CRM ▸ Configuration ▸ ManyChat ▸ Tell ManyChat. Give all bridges the same one.",
    )
    manychat_api_url: ManyChatAddress = Field(
        "https://api.manychat.com",
        description="Address of ManyChat's API, if requests go through a proxy of yours: by HTTPS, or on this machine.",
    )
    manychat_calls_per_second: Annotated[float, Field(ge=0.1, le=8)] = Field(
        8,
        description="Calls to ManyChat in a second, of all bridges together. ManyChat allows 10 writes, and may take "
        "no calls for 24 hours after more. 8 is the most, because a call may be late and meet the next ones. Leave a "
        "part to other programs that use the same token.",
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

    webhook_url: ServerAddress | None = Field(
        None, description="Address of the webhooks for `send`. Default: `BRIDGE_ODOO_URL`."
    )
    webhook_key: Key | None = Field(
        None, description="Webhook key for `send`, made in Odoo: the value of the `X-API-KEY` header."
    )

    batch_size: Annotated[int, Field(ge=1, le=32)] = Field(
        32, description="Number of messages that the bridge receives at once. Azure gives 32 at most."
    )
    concurrent_batches: Annotated[int, Field(ge=1, le=8)] = Field(
        3,
        description="Number of batches of one queue that the bridge has in hand at once when there is a backlog. While "
        "Odoo applies some, the bridge prepares the next. One more than Odoo has workers is enough: more make nothing "
        "faster. 1 leaves most of Odoo to its users while the bridge catches up.",
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
    # It lets a move land within one second.
    poll_interval: Annotated[float, Field(ge=0.05, le=60)] = Field(
        0.7,
        description="Longest pause between two checks of the empty queue of opportunities, in seconds: an event after "
        "a quiet time waits this long at most. While events come, the pauses are much shorter. The queues for which no "
        "customer waits are checked a ninth as often.",
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
        """Make one source of environment and file: the library would merge the two values of a JSON object.

        :raises ConfigurationError: names the variables that are unknown, or cannot be what was meant
        """
        environment, file = sources["env_settings"], sources["dotenv_settings"]
        assert isinstance(environment, EnvSettingsSource)
        assert isinstance(file, EnvSettingsSource)
        environment.env_vars = merge(
            os.environ, file.env_vars, [variable(name) for name in cls.model_fields], list(map(variable, secrets()))
        )
        return sources["init_settings"], environment

    def require(self, *names: str) -> None:
        """
        :param names: fields that the command at hand cannot do without
        :raises ConfigurationError: some of them are not set
        """
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ConfigurationError(" ".join([*map(_missing, missing), where_to_set(*missing)]))


def secrets() -> list[str]:
    """The fields whose value may stand in a file of its own: those that are secret."""
    return [name for name, field in Settings.model_fields.items() if _is_secret(field.annotation)]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _missing(name: str) -> str:
    """A sentence about a field that is not set."""
    is_empty = os.environ.get(variable(name)) is not None
    example, *others = Settings.model_fields[name].examples or [""]
    advice = f" For example: {example}" if example else ""
    advice += f", or to try the bridge: {others[-1]}" if others and others[-1].startswith("sqlite") else ""
    return f"{variable(name)} is {'empty in the environment' if is_empty else 'not set'}.{advice and advice + '.'}"


def where_to_set(*names: str) -> str:
    """A sentence that says where the operator sets these fields."""
    them, file = ("it", env_file()) if len(names) == 1 else ("them", env_file())
    read = f"the file {file}" if file else f"a file .env in {Path.cwd()} (there is none)"
    files = [variable(name) + FILE_SUFFIX for name in names if name in secrets()]
    by_file = f", or name a file with the value in {' and '.join(files)}" if files else ""
    return f"Set {them} in the environment or in {read}{by_file}. .env.example explains all settings."


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
    require_usable(Path(ENV_FILE))
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{variable(str(item['loc'][0]))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("\n".join(lines)) from None
    except (SettingsError, RecursionError):
        # Raised for a value that should be JSON and is not, or is too deep.
        raise ConfigurationError(f"{variable('database_options')}: must be a JSON object") from None
