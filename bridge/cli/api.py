"""``python -m bridge api``."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import MISUSED, fail, load_settings


def api(
    host: Annotated[str | None, typer.Option(help="Where to listen. Default: BRIDGE_API_HOST, else loopback.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: BRIDGE_API_PORT, else 8000.")] = None,
) -> None:
    """Serve the standby webhooks and the REST API until stopped. /docs describes them; `key create` makes keys."""
    try:
        from ..api.serve import serve
    except ModuleNotFoundError as error:
        fail(f"The API needs {error.name}. In a checkout, run: pip install '.[worker,api]'", MISUSED)
    settings = load_settings()
    serve(settings, host or settings.api_host, port or settings.api_port)
