"""Programs that read contacts of Odoo from the system before this one learn where the contacts are now."""

from __future__ import annotations

import pytest

from .api import Api


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["contacts", "contacts/", "contacts/12", "contacts/?limit=5", "campaigns/3/sync", ""])
@pytest.mark.parametrize("key", [None, "read", "a key of the old system"])
def test_old_addresses_are_gone_and_say_where_the_data_is(api: Api, method: str, path: str, key: str | None) -> None:
    answer = api(method, f"/api/v1/odoo/{path}", key=key)
    assert answer.status_code == 410
    assert answer.json()["code"] == "gone"
    assert "/api/v1/contacts/" in answer.json()["message"]


def test_the_description_does_not_offer_them(api: Api) -> None:
    assert [path for path in api("GET", "/openapi.json", key=None, status=200)["paths"] if "odoo" in path] == []
