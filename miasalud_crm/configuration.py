"""Settings of the server. They are not in the database, because each of its backups would contain the secrets."""

import configparser
import os

from odoo.tools import config

SECTION = "miasalud_crm"
ENVIRONMENT_PREFIX = "MIASALUD_"


def get(name: str, default: str = "") -> str:
    """The setting ``name``: from the environment (``MIASALUD_<NAME>``), else from our section of ``odoo.conf``.

    Not through ``odoo.tools.config``, because Odoo 19 keeps only its own section. The file is read at each call: there
    are few calls, and so a changed secret needs no restart.
    """
    value = os.environ.get(ENVIRONMENT_PREFIX + name.upper())
    if value:
        return value
    # Without interpolation: connection strings contain "%".
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(config.options.get("config") or config.rcfile, encoding="utf-8")
    return parser.get(SECTION, name, fallback=default)
