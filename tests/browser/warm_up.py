"""Odoo's web client, built before the first page asks for it."""

import re
from typing import Any

import requests

#: What the web client fetches later, when a list, graph or pivot is first drawn.
_LATER = ["web.assets_backend_lazy", "web.chartjs_lib"]
#: Building it all takes ~10 s on an idle machine and minutes on one that is busy with other tests (seconds).
_TIMEOUT = 400


def build_bundles(stack: Any) -> None:
    """Has Odoo bundle its scripts and styles now, which it keeps: no page, and no test, has to wait for it later."""
    session = requests.Session()
    who = {"db": stack.database, "login": "admin", "password": stack.admin_password}
    session.post(f"{stack.odoo_url}/web/session/authenticate", json={"params": who}, timeout=_TIMEOUT)
    page = session.get(f"{stack.odoo_url}/odoo", timeout=_TIMEOUT).text
    files = set(re.findall(r"""["'](/web/assets/[^"']+)["']""", page))
    assert files, page
    for bundle in _LATER:
        parts = session.get(f"{stack.odoo_url}/web/bundle/{bundle}", timeout=_TIMEOUT).json()
        files |= {part["src"] for part in parts if part["src"]}
    for file in sorted(files):
        session.get(stack.odoo_url + file, timeout=_TIMEOUT).raise_for_status()
