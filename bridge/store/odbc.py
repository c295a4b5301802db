"""Completes SQL Server's URLs: the ODBC driver, and encryption."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import platform
import re
import sys
from pathlib import Path

from sqlalchemy.engine import URL

from ..errors import BadDatabaseUrl

#: The default driver, by its registered name.
MICROSOFTS = "ODBC Driver 18 for SQL Server"
#: Folders of the wheel ``mssql-python-odbc``, by ``ID`` and ``ID_LIKE`` of ``/etc/os-release``.
_FAMILIES = {"rhel": "rhel", "fedora": "rhel", "centos": "rhel", "suse": "suse", "alpine": "alpine"}


#: Microsoft Entra's logins that its driver knows on Linux, in lower case, and as they are written.
_ENTRA = {
    name.lower(): name for name in ("ActiveDirectoryMsi", "ActiveDirectoryServicePrincipal", "ActiveDirectoryPassword")
} | {"activedirectoryintegrated": "ActiveDirectoryIntegrated"}
#: Those that need a user and a password.
_WITH_PASSWORD = {"activedirectoryserviceprincipal", "activedirectorypassword"}
#: Names of the same in Microsoft's other drivers.
_MANAGED_IDENTITY = {"activedirectorymanagedidentity", "activedirectorymsi"}
#: The driver loads it by itself, and for these logins only; so without it no token is asked for, and the login times
#: out. Any of its names will do.
_LIBCURL = ("libcurl.so.4", "libcurl.so.3", "libcurl.so")


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


def authentication(url: URL) -> str:
    """The URL's ``Authentication``, in lower case; empty if it has none."""
    for name, value in url.query.items():
        if name.lower() == "authentication":
            return str(value).strip().lower()
    whole = next((str(value) for name, value in url.query.items() if name.lower() == "odbc_connect"), "")
    found = re.search(r"(?:^|;)\s*Authentication\s*=\s*(\w+)", whole, re.IGNORECASE)
    return found[1].lower() if found else ""


def require_usable(url: URL) -> None:
    """Refuse a login that this driver, or this machine, does not have.

    :param url: completed
    :raises BadDatabaseUrl: says what to write or to install
    """
    login = authentication(url)
    if not login.startswith("activedirectory"):
        return
    if not is_microsofts(url):
        raise BadDatabaseUrl("Authentication= needs Microsoft's ODBC driver: leave out driver=, or use a SQL login")
    if login not in _ENTRA and sys.platform != "win32":
        instead = "ActiveDirectoryMsi" if login in _MANAGED_IDENTITY else f"one of {', '.join(_ENTRA.values())}"
        raise BadDatabaseUrl(f"Microsoft's ODBC driver has no such Authentication= on this system: write {instead}")
    if login in _WITH_PASSWORD and url.database and not (url.username and url.password):
        raise BadDatabaseUrl(
            f"{_ENTRA[login]} needs a user and a password in the URL; for an application, its client id and its secret"
        )
    if sys.platform == "linux" and not any(map(_can_load, _LIBCURL)):
        raise BadDatabaseUrl(
            "a login by Microsoft Entra needs the library libcurl.so.4, which this machine lacks: "
            "apt-get install libcurl4"
        )


def missing_library(url: URL) -> str:
    """The library that the packaged driver of ``url`` lacks to be loaded; empty if that is not known.

    unixODBC says only that it found no file.
    """
    driver = str(url.query.get("driver", ""))
    if not driver.startswith("/"):
        return ""
    try:
        ctypes.CDLL(driver)
    except OSError as error:
        named = re.match(r"(?:\S*/)?(lib[\w.+-]+): ", str(error))
        return named[1] if named and named[1] not in driver else ""
    return ""


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


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
