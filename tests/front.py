"""The example proxy of deploy/proxy, a real nginx, in front of Odoo and of the standby webhooks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local import os_packages, ports
from deploy.local.paths import ROOT

TEMPLATE = ROOT / "deploy" / "proxy" / "fail-over.conf.template"
_MAIN = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/server.conf;
}}
"""


def proxy(folder: Path, odoo: str, api: str) -> Iterator[str]:
    """The address of an nginx with our template for fail-over, in front of those two."""
    yield from nginx(folder, TEMPLATE, {"ODOO": odoo, "API": api})


def nginx(folder: Path, template: Path, values: dict[str, str]) -> Iterator[str]:
    """The address of an nginx with a template of deploy/proxy.

    :param values: of the template's variables but ``LISTEN``; addresses with or without ``http://``
    """
    os_packages.ensure(os_packages.NGINX)
    port = ports.choose()
    text = template.read_text()
    for name, value in {**values, "LISTEN": f"127.0.0.1:{port}"}.items():
        text = text.replace(f"${{{name}}}", value.removeprefix("http://"))
    (folder / "server.conf").write_text(text)
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
    server = subprocess.Popen(
        [str(os_packages.nginx()), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    )
    try:
        deadline = time.monotonic() + 30
        while ports.is_free(port):
            assert server.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)
