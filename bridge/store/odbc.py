"""Completes SQL Server's URLs: the ODBC driver, and encryption."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import sys
from pathlib import Path

from sqlalchemy.engine import URL

#: The default driver, by its registered name.
MICROSOFTS = "ODBC Driver 18 for SQL Server"
#: Folders of the wheel ``mssql-python-odbc``, by ``ID`` and ``ID_LIKE`` of ``/etc/os-release``.
_FAMILIES = {"rhel": "rhel", "fedora": "rhel", "centos": "rhel", "suse": "suse", "alpine": "alpine"}


def complete(url: URL) -> URL:
    """``url`` with Microsoft's driver if it names no driver, and with encryption on unless it says otherwise.

    A URL with a whole ODBC string (``odbc_connect``) or a DSN stays as the operator wrote it.
    """
    query = dict(url.query)
    names = {name.lower(): name for name in query}
    if "odbc_connect" in names or not url.database:
        return url
    if "authentication" in names:
        # SQLAlchemy recognises the name only in lower case. Otherwise it also asks for Kerberos, which the driver
        # refuses (FA001).
        query["authentication"] = query.pop(names["authentication"])
    query.setdefault("driver", MICROSOFTS)
    if is_microsofts(url.set(query=query)) and "encrypt" not in names:
        # The default of version 18, but not of version 17.
        query["Encrypt"] = "yes"
    if query["driver"] == MICROSOFTS and not _is_registered(MICROSOFTS):
        query["driver"] = packaged_driver() or MICROSOFTS
    return url.set(query=query)


def is_microsofts(url: URL) -> bool:
    """Whether ``url`` names Microsoft's driver."""
    named = f"{url.query.get('driver', '')} {url.query.get('odbc_connect', '')}"
    return bool(re.search(r"ODBC[ +]Driver[ +]\d+|msodbcsql", named, re.IGNORECASE))


def packaged_driver() -> str | None:
    """Path of the driver in the wheel ``mssql-python-odbc``; ``None`` if the wheel is not installed."""
    wheel = importlib.util.find_spec("mssql_python_odbc")
    if wheel is None or wheel.origin is None or sys.platform != "linux":
        return None
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    folder = Path(wheel.origin).parent / "libs" / "linux" / _family() / machine / "lib"
    found = sorted(folder.glob("libmsodbcsql-18*"))
    return str(found[-1]) if found else None


def _family() -> str:
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return "debian_ubuntu"
    names = f"{system.get('ID', '')} {system.get('ID_LIKE', '')}".split()
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "debian_ubuntu")


def _is_registered(driver: str) -> bool:
    try:
        drivers: list[str] = importlib.import_module("pyodbc").drivers()
    except ImportError:
        return True
    return driver in drivers
