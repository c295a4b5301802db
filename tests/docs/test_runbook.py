"""The runbook: each alert, of Prometheus, of Odoo and of Azure, has its section or its row."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from .pages import PAGES, ROOT

_RULES = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in _RULES["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_names_its_section(alert: dict[str, dict[str, str]]) -> None:
    page, anchor = alert["annotations"]["runbook"].split("#")
    assert anchor == str(alert["alert"]).lower()
    assert anchor in PAGES[page].anchors


def test_each_alert_in_odoo_has_a_section() -> None:
    kinds = _kinds_of_alerts()
    assert {"Failed Events", "Quiet Bots", "ManyChat Behind"} <= set(kinds)
    headings = {anchor.replace("-", " ") for anchor in PAGES["docs/runbook.md"].anchors}
    assert [kind for kind in kinds if kind.lower() not in headings] == []


def test_each_alert_of_azure_has_a_row() -> None:
    source = (ROOT / "deploy" / "azure" / "infra" / "modules" / "alerts.bicep").read_text(encoding="utf-8")
    alerts = re.findall(r"^    name: '([a-z-]+)'$", source, re.MULTILINE)
    assert alerts
    table = PAGES["docs/runbook.md"].text.split("## Alerts of Azure")[1]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(alerts)


def _kinds_of_alerts() -> list[str]:
    """Those of the model, and those that other files add to them."""
    labels = []
    for file in sorted((ROOT / "miasalud_crm" / "models").glob("manychat_alert*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "kind":
                assert isinstance(node.value, ast.Call)
                added = [each.value for each in node.value.keywords if each.arg == "selection_add"]
                choices = added or node.value.args[:1]
                labels += [label for _name, label in ast.literal_eval(choices[0])]
    return labels
