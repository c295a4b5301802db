"""Settings of the server. They are not in the database, because each of its backups would contain the secrets."""

import configparser
import os

from odoo.tools import config

from bridge.setting_value import strip_value

SECTION = "miasalud_crm"
ENVIRONMENT_PREFIX = "MIASALUD_"


def get(name: str, default: str = "") -> str:
    """The setting ``name``: from the environment (``MIASALUD_<NAME>``), else from our section of ``odoo.conf``.

    Not through ``odoo.tools.config``, because Odoo 19 keeps only its own section. The file is read at each call: there
    are few calls, and so a changed secret needs no restart. A value has no blanks and quotes around it. An empty one
    is not set.
    """
    if value := strip_value(os.environ.get(ENVIRONMENT_PREFIX + name.upper(), "")):
        return value
    # Without interpolation: connection strings contain "%".
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(config.options.get("config") or config.rcfile, encoding="utf-8-sig")
    return strip_value(parser.get(SECTION, name, fallback="")) or default
