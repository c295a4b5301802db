"""Addresses of the system before this one: 410, with the address that has the data now.

The old system kept contacts in Odoo too, and read and wrote them at ``/api/v1/odoo/contacts/``. Contacts are in SQL
only now, so programs that used these addresses must change. 410 says so for good, where 404 looks like a slip
(RFC 9110, 15.5.11).
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from ..contract.webhook import WebhookError

#: What begins so is gone.
PATH = "/api/v1/odoo"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

#: Without a key: a program that still has a key of the old system must read the answer, too.
router = APIRouter(include_in_schema=False)


@router.api_route(PATH, methods=METHODS)
@router.api_route(f"{PATH}/{{rest:path}}", methods=METHODS)
async def _gone(rest: str = "") -> Response:
    raise WebhookError(
        410,
        "gone",
        "Contacts are no longer stored in Odoo. Read and change them at /api/v1/contacts/, with a key of this API; "
        "opportunities are at /api/v1/opportunities/.",
    )
