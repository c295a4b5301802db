"""The templates for Azure: they hang together, and fit the bridge that they run.

``bicep build`` checks them too where Bicep is installed. BICEP_TYPES_AZ=DIR, a clone of Azure/bicep-types-az, compares
each resource with the types that Microsoft publishes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.contract.payloads import DEAD_LETTER_QUEUE, OUTBOUND_QUEUE, QUEUES
from bridge.errors import ManyChatUnavailable
from bridge.monitoring import health

from . import bicep, bicep_types
from .bicep import Expression, Loop, Resource, Template
from .commands import log_events, parses, setting_names

AZURE = Path(__file__).parents[2] / "deploy" / "azure"
INFRA = AZURE / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
#: Built-in roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "19e7f393-937e-4f77-808e-94535e297925": "Storage Queue Data Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
}


def template(name: str) -> Template:
    return bicep.read(INFRA / name)


def resource(name: str, symbol: str) -> Resource:
    return next(each for each in template(name).resources if each.symbol == symbol)


def containers(symbol: str) -> Any:
    return resource("modules/apps.bicep", symbol).body["properties"]["template"]["containers"]


each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


@each_file
def test_file_is_bicep(file: Path) -> None:
    assert bicep.read(file).faults == []


@each_file
def test_each_name_in_an_expression_is_declared(file: Path) -> None:
    read = bicep.read(file)
    symbols = {each.symbol for each in [*read.resources, *read.modules]}
    declared = {*read.params, *read.variables, *symbols, *read.loop_names, *read.outputs, *bicep.FUNCTIONS}
    assert read.used_names - declared == set()


@each_file
def test_each_declared_name_is_used(file: Path) -> None:
    read = bicep.read(file)
    assert {*read.params, *read.variables} - read.used_names == set()


@each_file
def test_modules_get_what_they_ask_for(file: Path) -> None:
    read = bicep.read(file)
    for module in read.modules:
        target = bicep.read(file.parent / module.path)
        required = {name for name, has_default in target.params.items() if not has_default}
        assert required <= module.params.keys(), module.symbol
        assert module.params.keys() <= target.params.keys(), module.symbol
    known = {
        (module.symbol, output) for module in read.modules for output in bicep.read(file.parent / module.path).outputs
    }
    assert read.used_outputs <= known


def test_queues_are_those_of_the_registry() -> None:
    variables = template("modules/storage.bicep").variables
    assert sorted(variables["eventQueues"]) == sorted(QUEUES.values())
    assert variables["deadLetterQueue"] == DEAD_LETTER_QUEUE
    assert variables["outboundQueue"] == OUTBOUND_QUEUE
    made = resource("modules/storage.bicep", "queues")
    assert made.body["name"] == Expression("queue")
    assert (
        "[for queue in concat(eventQueues, [outboundQueue, deadLetterQueue])"
        in (INFRA / "modules/storage.bicep").read_text()
    )


def test_each_queue_with_events_has_a_scale_rule_that_logs_in_by_identity() -> None:
    assert template("modules/storage.bicep").outputs["eventQueues"] == Expression("eventQueues")
    apps = next(each for each in template("main.bicep").modules if each.symbol == "apps")
    assert apps.params["queues"] == Expression("storage.outputs.eventQueues")
    scale = resource("modules/apps.bicep", "bridge").body["properties"]["template"]["scale"]
    rules = scale["rules"]
    assert isinstance(rules, Loop)
    assert rules.items == Expression("queues")
    queue = rules.value["azureQueue"]
    assert queue["queueName"] == Expression(rules.variable)
    assert queue["identity"] == Expression("identityId")
    # Without a bridge no decision of an Odoo user comes back, and no event of an empty queue is missed.
    assert scale["minReplicas"] == 1


def test_settings_exist_in_the_bridge() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    named = set(re.findall(r"name: '(BRIDGE_[A-Z_]+)'", text))
    assert named
    assert named - setting_names() == set()


def test_commands_exist_in_the_bridge() -> None:
    apps = template("modules/apps.bicep")
    commands = [containers(symbol)[0]["args"] for symbol in ("bridge", "api")]
    commands += [module.params["arguments"] for module in apps.modules]
    assert len(commands) == 5
    assert [command for command in commands if not parses(command)] == []


def test_probes_ask_the_port_that_answers_them() -> None:
    environment = {
        symbol: (INFRA / "modules/apps.bicep").read_text().split(f"name: '{symbol}'")[1].split("probes: [")[0]
        for symbol in ("bridge", "api")
    }
    for symbol, setting, port in (("bridge", "METRICS", "metricsPort"), ("api", "API", "apiPort")):
        # A probe comes from outside the container: loopback would not do.
        assert f"{{ name: 'BRIDGE_{setting}_HOST', value: '0.0.0.0' }}" in environment[symbol]
        assert f"{{ name: 'BRIDGE_{setting}_PORT', value: string({port}) }}" in environment[symbol]
        asked = [probe["httpGet"] for probe in containers(symbol)[0]["probes"]]
        assert asked == [{"path": "/health", "port": Expression(port)}] * len(asked)
        assert {probe["type"] for probe in containers(symbol)[0]["probes"]} >= {"Liveness", "Readiness"}


def test_identity_has_no_more_than_the_roles_it_needs() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    named = set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", text))
    assert named == ROLES.keys()


def test_secrets_are_secure_parameters_and_references_to_the_vault() -> None:
    for file in FILES:
        for name in re.findall(r"^param (\w*(?:Key|password|secret)) string", file.read_text(), re.MULTILINE):
            assert f"@secure()\nparam {name} string" in file.read_text(), file.name
    secrets = template("modules/apps.bicep").variables["secrets"]
    assert [each.keys() for each in secrets] == [{"name", "keyVaultUrl", "identity"}]
    assert [each for each in template("modules/apps.bicep").variables["settings"] if "KEY" in each["name"]] == [
        {"name": "BRIDGE_ODOO_API_KEY", "secretRef": secrets[0]["name"]}
    ]


def test_the_token_of_manychat_is_optional_and_the_bridges_only() -> None:
    main = (INFRA / "main.bicep").read_text()
    assert "@secure()\nparam manychatApiToken string = ''\n" in main
    assert "manychatApiTokenUri: !empty(manychatApiToken) ? vault.outputs.manychatApiTokenUri : ''" in main
    assert "@secure()\nparam manychatApiToken string\n" in (INFRA / "modules/vault.bicep").read_text()
    secret = resource("modules/vault.bicep", "token").body
    assert secret["properties"]["value"] == Expression("manychatApiToken")
    address = template("modules/vault.bicep").outputs["manychatApiTokenUri"]
    assert isinstance(address, Expression)
    assert address.text.endswith(f"secrets/{secret['name']}'")
    apps = (INFRA / "modules/apps.bicep").read_text()
    assert "{ name: 'BRIDGE_MANYCHAT_API_TOKEN', secretRef: 'manychat-api-token' }" in apps
    assert "{ name: 'manychat-api-token', keyVaultUrl: manychatApiTokenUri, identity: identityId }" in apps
    body = {
        each: re.split(r"\n(?:resource|module) ", apps.split(f"resource {each} ")[1])[0] for each in ("bridge", "api")
    }
    assert "secrets: concat(secrets, manychatSecrets)" in body["bridge"]
    assert "env: concat(settings, manychatSettings, [" in body["bridge"]
    assert apps.count("manychatSecrets") == 2
    assert apps.count("manychatSettings") == 2
    assert "manychat" not in body["api"]


def test_account_and_server_are_closed_to_old_tls_and_passwords() -> None:
    account = resource("modules/storage.bicep", "account").body["properties"]
    assert account["minimumTlsVersion"] == "TLS1_2"
    assert account["allowBlobPublicAccess"] is False
    assert account["supportsHttpsTrafficOnly"] is True
    server = resource("modules/database.bicep", "server").body["properties"]
    assert server["administrators"]["azureADOnlyAuthentication"] is True
    assert resource("modules/vault.bicep", "vault").body["properties"]["enableRbacAuthorization"] is True


def test_alerts_look_for_lines_that_the_bridge_writes() -> None:
    text = (INFRA / "modules/alerts.bicep").read_text()
    named = set(re.findall(r'event == "(\w+)"', text))
    for words in re.findall(r"event in \(([^)]*)\)", text):
        named |= set(re.findall(r'"(\w+)"', words))
    assert len(named) >= 8
    assert named - log_events() == set()
    watch = next(each for each in template("modules/apps.bicep").modules if each.symbol == "watch")
    assert f'ContainerName_s == "{watch.params["container"]}"' in text


def test_alerts_read_fields_that_the_health_report_has_once() -> None:
    """Its lines come one by one into the log, without what they belong to."""
    text = (INFRA / "modules/alerts.bicep").read_text()
    fields = set(re.findall(r'\\\\"(\w+)\\\\": ', text)) - {"status"}
    assert fields == {"waiting_seconds", "stopped_until"}
    source = Path(health.__file__).read_text()
    assert {name: source.count(f'"{name}":') for name in fields} == dict.fromkeys(fields, 1)


def test_what_concerns_manychat_is_no_page() -> None:
    queries = {each["name"]: each for each in template("modules/alerts.bicep").variables["queries"]}
    excluded = f'tostring(line.dependency) != "{ManyChatUnavailable.dependency}"'
    assert excluded in (INFRA / "modules/alerts.bicep").read_text()
    assert {name for name in queries if "manychat" in name} == {
        "manychat-stopped",
        "manychat-behind",
        "manychat-refuses",
    }
    assert {each["severity"] for name, each in queries.items() if "manychat" in name} == {Expression("ticket")}


def test_parameters_are_those_of_the_template() -> None:
    parameters = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert parameters.keys() == template("main.bicep").params.keys()
    for name, has_default in template("main.bicep").params.items():
        variable = re.fullmatch(r"\$\{([A-Z_]+)(=?).*\}", parameters[name]["value"])
        assert variable, name
        # azd asks for a value that is required, and not for one with a default.
        assert has_default == bool(variable[2]), name


def test_hooks_find_their_scripts_and_variables() -> None:
    project = yaml.safe_load((AZURE / "azure.yaml").read_text())
    outputs = template("main.bicep").outputs.keys()
    for hook in project["hooks"].values():
        script = (AZURE / hook["run"]).read_text()
        assert os.access(AZURE / hook["run"], os.X_OK)
        for variable in re.findall(r'"\$\{(\w+):\?\}"', script):
            service = re.fullmatch(r"SERVICE_(\w+)_IMAGE_NAME", variable)
            assert service[1].lower() in project["services"] if service else variable in outputs
    for service in project["services"].values():
        assert (AZURE / service["project"] / service["docker"]["path"]).is_file()
    tagged = {
        name
        for name in project["services"]
        if f"'azd-service-name': '{name}'" in (INFRA / "modules/apps.bicep").read_text()
    }
    assert tagged == project["services"].keys()


def test_user_of_the_database_gets_what_the_bridge_and_its_upgrade_need() -> None:
    sql = (AZURE / "database-user.sql").read_text()
    assert set(re.findall(r"ALTER ROLE (\w+)", sql)) == {"db_datareader", "db_datawriter", "db_ddladmin"}


@pytest.mark.skipif(shutil.which("bicep") is None, reason="Bicep is not installed, and no package index has it")
def test_bicep_builds_it() -> None:
    command = ["bicep", "build", "--stdout", str(INFRA / "main.bicep")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("BICEP_TYPES_AZ" not in os.environ, reason="BICEP_TYPES_AZ names no clone of Azure/bicep-types-az")
@each_file
def test_resources_have_the_properties_that_azure_publishes(file: Path) -> None:
    published = bicep_types.Published(Path(os.environ["BICEP_TYPES_AZ"]))
    read = bicep.read(file)
    assert [fault for each in read.resources for fault in bicep_types.faults(each, read, published)] == []


def test_scripts_are_sound() -> None:
    scripts = sorted(map(str, AZURE.glob("*.sh")))
    assert len(scripts) == 2
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, *scripts], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_page_lists_the_alerts_and_the_variables() -> None:
    page = (AZURE.parents[1] / "docs" / "azure.md").read_text(encoding="utf-8")
    alerts = template("modules/alerts.bicep").variables
    listed = page.split("### Alerts")[1].split("###")[0]
    for each in [*alerts["queries"], *alerts["metrics"]]:
        assert re.search(rf"\b{each['name']}\b", listed), each["name"]
    parameters = (INFRA / "main.parameters.json").read_text()
    for variable in re.findall(r"^\| `([A-Z_]+)` \|", page.split("### Settings")[1].split("###")[0], re.MULTILINE):
        assert f"${{{variable}=" in parameters, variable
    for variable in re.findall(r"azd env set(?:-secret)? ([A-Z_]+)", page):
        assert re.search(rf"\$\{{{variable}=?\}}", parameters), variable
