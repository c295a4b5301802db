"""The requests for ManyChat: chosen, copied, sent from a terminal and tried, by a bot builder with a mouse."""

import json
import re
import subprocess
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import LANGUAGES

REQUESTS = "miasalud_crm.manychat_request_action"
MAP = "miasalud_crm.manychat_stage_map_action"
expect.set_options(timeout=PATIENCE * 1000)


def copied(odoo: OdooPage, button: str) -> str:
    """What the button puts into the clipboard."""
    odoo.page.evaluate("() => navigator.clipboard.writeText('')")
    odoo.page.locator(button).click()
    odoo.page.wait_for_function("() => navigator.clipboard.readText()")
    return str(odoo.page.evaluate("() => navigator.clipboard.readText()"))


def shown_body(odoo: OdooPage) -> str:
    return odoo.page.locator("[data-name=body] pre").inner_text()


def tried(odoo: OdooPage, body: str | None = None) -> tuple[str, Any]:
    """The status and the answer of a try, with ``body`` in place of the example."""
    if body is not None:
        odoo.page.locator("[name=try_body]").fill(body)
    odoo.click("[name=try_request]")
    status = odoo.page.locator(".o_manychat_try_result").get_attribute("data-status")
    return str(status), json.loads(odoo.page.locator(".o_manychat_try_answer").inner_text())


def counts(world: World) -> dict[str, int]:
    return {name: world.odoo(name, "search_count", []) for name in ("manychat.event", "crm.lead", "manychat.api.key")}


def test_the_channel_and_the_stage_are_written_into_the_body(odoo: OdooPage) -> None:
    odoo.open(REQUESTS)
    page = odoo.page
    assert '"channel": "WhatsApp"' in shown_body(odoo)
    assert "{{whatsapp_phone}}" in shown_body(odoo)
    page.locator("#o_manychat_request_stage").select_option(index=3)
    page.locator("#o_manychat_request_channel").select_option("Instagram")
    expect(page.locator("[data-name=body] pre")).to_contain_text('"channel": "Instagram"')
    assert "{{phone}}" in shown_body(odoo)
    assert '"stage_id": 19' in shown_body(odoo)
    page.locator("#o_manychat_request_channel").select_option("other")
    page.locator("[name=other_channel]").fill('Feria "Salud"')
    page.locator("[name=other_channel]").press("Tab")
    expect(page.locator("[data-name=body] pre")).to_contain_text(r'"channel": "Feria \"Salud\""')
    odoo.click(".o_manychat_requests [role=tab][name=contact]")
    assert r'"canal_entrada": "Feria \"Salud\""' in shown_body(odoo)
    odoo.click(".o_manychat_requests [role=tab][name=campaign_contact]")
    expect(page.locator("#o_manychat_request_channel")).to_have_count(0)


def test_the_whole_request_is_copied_at_once_with_the_header_of_a_dry_run_if_wanted(odoo: OdooPage) -> None:
    odoo.open(REQUESTS)
    assert "X-Dry-Run" not in copied(odoo, ".o_manychat_copy_all")
    odoo.page.locator("#o_manychat_request_dry_run").check()
    header = "[data-header=X-Dry-Run] .o_clipboard_button"
    expect(odoo.page.locator(header)).to_have_count(2)
    assert copied(odoo, f"{header} >> nth=0") == "X-Dry-Run"
    assert copied(odoo, f"{header} >> nth=1") == "1"
    lines = copied(odoo, ".o_manychat_copy_all").split("\n")
    assert re.fullmatch(r"POST https?://\S+/api/v1/manychat/webhook/crm-opportunity", lines[0])
    assert lines[1].startswith("X-API-KEY: <")
    assert lines[2:5] == ["Content-Type: application/json", "X-Dry-Run: 1", ""]
    assert "\n".join(lines[5:]) == shown_body(odoo)


@pytest.mark.parametrize("webhook", ["opportunity", "contact", "campaign_assignment", "campaign_contact"])
def test_the_copied_command_sends_the_request_from_a_terminal(odoo: OdooPage, world: World, webhook: str) -> None:
    odoo.open(REQUESTS)
    odoo.click(f".o_manychat_requests [role=tab][name={webhook}]")
    if webhook == "opportunity":
        odoo.page.locator("#o_manychat_request_channel").select_option("other")
        odoo.page.locator("[name=other_channel]").fill('Feria d\'été $HOME `id` "x"')
        odoo.page.locator("[name=other_channel]").press("Tab")
        expect(odoo.page.locator("[data-name=body] pre")).to_contain_text("été")
    odoo.page.locator("#o_manychat_request_dry_run").check()
    command = copied(odoo, ".o_manychat_copy_curl")
    placeholder = re.findall(r"X-API-KEY: (<[^>]+>)'", command)[0]
    # The address is what the company would give ManyChat; the test's Odoo is beside it.
    command = re.sub(r"'https?://[^/]+/", f"'{world.stack.odoo_url}/", command, count=1)
    command = command.replace(placeholder, world.stack.webhook_key)
    answer = subprocess.run(["sh", "-c", command + " --silent"], capture_output=True, text=True, check=True)
    said = json.loads(answer.stdout)
    assert said["status"] == "valid", said
    assert said["payload"]["manychat_id"] == "1234567890"
    if webhook == "opportunity":
        assert said["payload"]["channel"] == 'Feria d\'été $HOME `id` "x"'


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_request_is_tried_and_nothing_is_stored(sign_in: SignIn, world: World, phone: bool) -> None:
    odoo = sign_in("manager", phone=phone)
    odoo.open(REQUESTS)
    before = counts(world)
    status, answer = tried(odoo)
    assert (status, answer["status"]) == ("200", "valid")
    assert answer["stage"]
    assert answer["warnings"] == []
    broken = '{"manychat_id": "1", "first_name": "Ana "La Güera"", "state": {"stage_id": 17}}'
    status, answer = tried(odoo, broken)
    assert (status, answer["code"]) == ("400", "not_json")
    assert [each["field"] for each in answer["errors"]] == ["first_name"]
    expect(odoo.page.locator(".o_manychat_try_result")).to_contain_text("to_json")
    status, answer = tried(odoo, '{"manychat_id": "1", "entry_date": "ayer", "state": {"stage_id": 17}}')
    assert status == "200"
    expect(odoo.page.locator(".o_manychat_try_warnings li code")).to_have_text("entry_date")
    odoo.click("[name=restore_example]")
    expect(odoo.page.locator("[name=restore_example]")).to_have_count(0)
    expect(odoo.page.locator(".o_manychat_try_result")).to_have_count(0)
    assert tried(odoo)[0] == "200"
    assert counts(world) == before
    assert odoo.overflow() == 0


def test_a_row_of_the_stage_map_opens_its_request(odoo: OdooPage, world: World) -> None:
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 20]], fields=["name"])
    odoo.open(MAP)
    odoo.click(f".o_data_row:has-text('{row['name']}') button[name=action_open_request]")
    assert '"stage_id": 20' in shown_body(odoo)
    assert odoo.page.locator("#o_manychat_request_stage").input_value() == str(row["id"])
    odoo.open(MAP, record=row["id"])
    odoo.click("button[name=action_open_request]")
    assert '"stage_id": 20' in shown_body(odoo)


def test_a_card_of_the_stage_map_opens_its_request_on_the_phone(sign_in: SignIn, world: World) -> None:
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 20]], fields=["name"])
    odoo = sign_in("manager", phone=True)
    odoo.open(MAP, "kanban")
    odoo.click(f".o_kanban_record:has-text('{row['name']}') [name=action_open_request]")
    assert '"stage_id": 20' in shown_body(odoo)


@pytest.mark.parametrize("language", LANGUAGES, indirect=True)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_each_button_has_a_name_of_its_own_and_each_field_a_label(sign_in: SignIn, phone: bool) -> None:
    odoo = sign_in("administrator", phone=phone)
    odoo.open(REQUESTS)
    odoo.page.locator("#o_manychat_request_dry_run").check()
    names = odoo.page.locator(".o_manychat_requests .o_clipboard_button").evaluate_all(
        "buttons => buttons.map(button => button.getAttribute('aria-label'))"
    )
    assert len(names) > 8
    assert all(names)
    assert len(set(names)) == len(names)
    unnamed = (
        odoo.page.locator(".o_manychat_requests")
        .locator("input, select, textarea")
        .evaluate_all(
            "fields => fields.filter(each => !each.labels.length && !each.getAttribute('aria-label') "
            "&& !each.getAttribute('aria-labelledby')).map(each => each.outerHTML)"
        )
    )
    assert unnamed == []
    assert odoo.overflow() == 0
