"""The proxy of deploy/proxy, a real nginx, in front of Odoo and of the standby webhooks."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local import os_packages, ports
from deploy.local.paths import ROOT

CONFIGURATION = ROOT / "deploy" / "proxy"
_MAIN = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/conf.d/*.conf;
}}
"""


def proxy(folder: Path, odoo: str, api: str) -> Iterator[str]:
    """The address of an nginx with our template for fail-over, in front of those two."""
    yield from nginx(folder, "fail-over", inside(odoo, odoo, api))


def nginx(folder: Path, name: str, values: Mapping[str, str]) -> Iterator[str]:
    """The address of an nginx with a template of deploy/proxy.

    :param values: of the template's variables but ``LISTEN``; addresses with or without ``http://``
    """
    port = ports.choose()
    fill_in(folder, name, {**values, "LISTEN": f"127.0.0.1:{port}"})
    yield from serving(folder, [port])


def inside(odoo: str, websocket: str, api: str, rpc_from: str = "127.0.0.1/32") -> dict[str, str]:
    """The variables of the template for fail-over but ``LISTEN``."""
    return {"ODOO": odoo, "ODOO_WEBSOCKET": websocket, "API": api, "RPC_FROM": rpc_from}


def fill_in(folder: Path, name: str, values: Mapping[str, str], http: int = 0, https: int = 0) -> None:
    """Write a template's configuration, as envsubst does.

    :param http: the port in place of 80
    :param https: the port in place of 443
    """
    text = (CONFIGURATION / f"{name}.conf.template").read_text()
    for variable, value in values.items():
        text = text.replace(f"${{{variable}}}", value.removeprefix("http://"))
    assert not re.search(r"^[^#]*\$\{", text, re.MULTILINE), "a variable has no value"
    for official, port in ((80, http), (443, https)):
        text = re.sub(rf"^(\s*listen) {official}\b", rf"\1 127.0.0.1:{port}", text, flags=re.MULTILINE)
    text = text.replace("/var/log/nginx/", f"{folder}/").replace("/var/www/acme", f"{folder}/acme")
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / f"{name}.conf").write_text(text)


def serving(folder: Path, listening: list[int]) -> Iterator[str]:
    """Run nginx with what was filled in.

    :param listening: its ports
    :return: the address of the first
    """
    os_packages.ensure(os_packages.NGINX)
    snippets = folder / "snippets"
    if not snippets.exists():
        snippets.symlink_to(CONFIGURATION / "snippets")
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
    server = subprocess.Popen(
        [str(os_packages.nginx()), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    )
    try:
        deadline = time.monotonic() + 30
        while any(ports.is_free(port) for port in listening):
            assert server.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening[0]}"
    finally:
        server.terminate()
        server.wait(30)
