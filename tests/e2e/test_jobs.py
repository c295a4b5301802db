"""Scheduled actions that do not run: webhooks carry the events on, and the health report says so."""

from typing import Any

import requests

from tests.world import Chat, World


def health(world: World) -> dict[str, Any]:
    address = f"{world.stack.odoo_url}/api/v1/reports/health"
    return requests.get(address, headers={"X-API-KEY": world.stack.webhook_key}, timeout=30).json()


def test_events_reach_their_opportunity_while_the_job_that_sends_them_is_archived(world: World, chat: Chat) -> None:
    [job] = world.odoo("ir.model.data", "search_read", [["name", "=", "cron_relay"]], fields=["res_id"])

    def archive(active: bool) -> bool:
        # Odoo lets no one change a job while it runs.
        try:
            world.odoo("ir.cron", "write", [job["res_id"]], {"active": active})
        except RuntimeError:
            return False
        return True

    assert world.eventually(lambda: archive(False))
    try:
        assert world.settled(chat.enters(17), chat.enters(18, 1)) == ["created", "moved"]
        report = health(world)
        assert report["jobs"]["status"] == "stopped"
        assert [each["reason"] for each in report["jobs"]["stopped"]] == ["archived"]
    finally:
        assert world.eventually(lambda: archive(True))
    assert world.settled(chat.enters(19, 2)) == ["moved"]
    assert health(world)["jobs"]["status"] == "ok"
