"""Bring a database to the addon's version in this image: install it, upgrade it, or leave it.

    python3 /opt/miasalud/upgrade.py DATABASE [--force]

It runs before Odoo's server starts. The exit code is 0 when the database has this version, else 1.
"""

import argparse
import ast
import subprocess
import sys
from pathlib import Path

import psycopg2

from odoo.release import major_version

ADDON = "miasalud_crm"
MANIFEST = Path("/opt/miasalud/addons") / ADDON / "__manifest__.py"


def main() -> None:
    """Compare, act, and look whether it worked: Odoo's own exit code is 0 also when it skipped a module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database")
    parser.add_argument("--force", action="store_true", help="upgrade also if the versions are equal")
    arguments = parser.parse_args()
    wanted = f"{major_version}.{ast.literal_eval(MANIFEST.read_text(encoding='utf-8'))['version']}"

    action = choose(arguments.database, wanted, force=arguments.force)
    if action:
        print(f"{ADDON}: odoo {action} on the database {arguments.database}, to version {wanted}", flush=True)
        options = ["--stop-after-init", "--no-http", "--workers=0", "--max-cron-threads=0", "--without-demo=all"]
        subprocess.run(["odoo", f"--database={arguments.database}", action, ADDON, *options], check=True)
        if installed(arguments.database) != ("installed", wanted):
            sys.exit(f"{ADDON} is not at version {wanted} in {arguments.database}; Odoo's messages above say why.")
    print(f"{ADDON} is at version {wanted} in {arguments.database}.")


def choose(database: str, wanted: str, *, force: bool) -> str | None:
    """Odoo's option for what is to be done; ``None`` if nothing is."""
    if not exists(database):
        return "-i"
    state, version = installed(database)
    if state in (None, "uninstalled", "to install"):
        return "-i"
    if (state, version) == ("installed", wanted) and not force:
        return None
    if version and numbers(version) > numbers(wanted):
        sys.exit(
            f"{database} has version {version} of {ADDON}, and this image has {wanted}. An older addon would delete "
            "what the newer one added: start the newer image, or restore the backup that was made before its upgrade."
        )
    if is_in_use(database):
        sys.exit(f"Odoo is running on {database}. Stop it before its upgrade: docker compose stop odoo")
    return "-u"


def numbers(version: str) -> tuple[int, ...]:
    """For comparing: 0.10 is newer than 0.9."""
    return tuple(int(part) for part in version.split("."))


def query(database: str, statement: str, *values: str) -> tuple[object, ...] | None:
    """The first row that the statement returns. PostgreSQL's address comes from libpq's variables, as Odoo's own."""
    connection = psycopg2.connect(dbname=database)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()
    finally:
        connection.close()


def exists(database: str) -> bool:
    """Whether there is such a database."""
    return query("postgres", "SELECT 1 FROM pg_database WHERE datname = %s", database) is not None


def installed(database: str) -> tuple[str | None, str | None]:
    """The addon's state and version; both ``None`` in a database that Odoo does not know, or where it never was."""
    try:
        row = query(database, "SELECT state, latest_version FROM ir_module_module WHERE name = %s", ADDON)
    except psycopg2.errors.UndefinedTable:
        return None, None
    return row or (None, None)


def is_in_use(database: str) -> bool:
    """Whether an Odoo server has connections: it would work with the old code on the new tables, and hold locks."""
    statement = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'odoo-%%'"
    return query("postgres", statement, database) is not None


if __name__ == "__main__":
    main()
