"""Settings of the server. They are not in the database, because each of its backups would contain the secrets."""

import configparser
import os
from contextlib import suppress
from pathlib import Path

from odoo.tools import config

from bridge import setting_name
from bridge.contract.sentences import sentence
from bridge.errors import ConfigurationError
from bridge.setting_file import UnreadableFile, read_text
from bridge.setting_name import FILE_SUFFIX
from bridge.setting_value import fault_of, strip_value

SECTION = "miasalud_crm"
ENVIRONMENT_PREFIX = "MIASALUD_"
#: The settings. The value of a secret may stand in a file of its own: the name with ``_FILE`` is that of its path.
SETTINGS = ("queue_connection_string", "queue_account_url", "manychat_api_token", "manychat_api_url")
SECRETS = ("queue_connection_string", "manychat_api_token")
#: Those that say where the queues are.
QUEUE_SETTINGS = ("queue_connection_string", "queue_account_url")


def get(name: str, default: str = "") -> str:
    """The setting ``name``: from the environment (``MIASALUD_<NAME>``), else from our section of ``odoo.conf``.

    Not through ``odoo.tools.config``, because Odoo 19 keeps only its own section. The files are read at each call:
    there are few calls, and so a changed secret needs no restart. A value has no blanks and quotes around it. An empty
    one is not set.

    :raises ConfigurationError: the file with the value cannot be used, or both the value and a file are set
    """
    variable = ENVIRONMENT_PREFIX + name.upper()
    file = FILE_SUFFIX if name in SECRETS else None
    return (
        _value(os.environ, variable, file and variable + file)
        or _value(_section(), name, file and name + file.lower())
        or default
    )


def unknown() -> list[tuple[str, str]]:
    """The names that look like settings of ours and are none.

    :return: pairs: the name, after its section of ``odoo.conf`` if it is from there; what was probably meant, or empty
    """
    known = {*SETTINGS, *(name + FILE_SUFFIX.lower() for name in SECRETS)}
    variables = {ENVIRONMENT_PREFIX + name.upper() for name in known}
    found = []
    for name, value in os.environ.items():
        if name not in variables and not setting_name.is_of_a_service(name, value):
            meant = setting_name.meant(setting_name.plain(name), ENVIRONMENT_PREFIX, variables)
            if meant is not None:  # else it is another program's
                found.append((name, meant[0] if meant else ""))
    try:
        parser = _read()
    except ConfigurationError:  # that is said where the settings are used
        parser = configparser.ConfigParser()
    for section in parser.sections():
        # In the section of Odoo only what is certainly ours; on Odoo 18 a key there has no effect, either.
        is_ours = section.replace("-", "_").strip().lower() == SECTION
        for name in parser.options(section):
            if section == SECTION and name not in known:
                meant = setting_name.meant(setting_name.plain(name), "", {each.upper() for each in known}) or [""]
                found.append((f"[{section}] {name}", meant[0].lower()))
            elif section != SECTION and (is_ours or name in known):
                found.append((f"[{section}] {name}", f"[{SECTION}] {name}"))
    return [(setting_name.shown(name), meant) for name, meant in found]


def _value(values, name: str, file_name: str | None) -> str:
    """The value of ``name``, or that in the file whose path ``file_name`` has; empty if neither is set."""
    value, path = (strip_value(values.get(each or "", "")) for each in (name, file_name))
    if value and path:
        raise ConfigurationError(
            sentence("%(one)s and %(other)s are both set: keep one of them", one=name, other=file_name)
        )
    if not path:
        return value
    try:
        value = strip_value(read_text(Path(path)))
    except FileNotFoundError:
        raise ConfigurationError(f"{file_name}: {sentence('there is no file %(file)s', file=path)}") from None
    except UnreadableFile as error:
        raise ConfigurationError(f"{file_name}: {error}") from None
    if fault := fault_of(value) if value else sentence("the file is empty"):
        raise ConfigurationError(f"{file_name}: {fault} ({path})")
    return value


def _section():
    """Our section of ``odoo.conf``, as a mapping."""
    parser = _read()
    return parser[SECTION] if parser.has_section(SECTION) else {}


def _read() -> configparser.ConfigParser:
    """``odoo.conf``, also when its comments are in another encoding."""
    # Without interpolation: connection strings contain "%".
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    file = Path(config.options.get("config") or config.rcfile)
    try:
        with suppress(OSError):  # there is none: Odoo may have its settings from the command line
            parser.read_string(file.read_bytes().decode("utf-8-sig", "replace"))
    except configparser.Error as error:
        raise ConfigurationError(
            sentence("%(file)s cannot be read (%(error)s)", file=file, error=type(error).__name__)
        ) from None
    return parser
