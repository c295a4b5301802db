"""The compose files: valid, complete, in the right order, and in production without anything that was forgotten."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings import secrets, variable
from bridge.spans import ADDRESSES

from .commands import parses, setting_names

ROOT = Path(__file__).parents[2]
DEVELOPMENT, PRODUCTION = ROOT / "docker-compose.yml", ROOT / "deploy" / "docker-compose.prod.yml"
FILES = [DEVELOPMENT, PRODUCTION]
#: Is added to :data:`PRODUCTION` if decisions go back to ManyChat.
MANYCHAT = ROOT / "deploy" / "docker-compose.manychat.yml"
#: What an operator puts there, and certbot.
OPERATORS = {"secrets", "acme"}
#: What the addon reads (miasalud_crm/configuration.py), and Odoo's image.
OF_ODOO = {"PGHOST", "PGUSER", "PGPASSWORD", "PGPASSWORD_FILE"}
#: What the API's web server reads: whose word about a client's address counts.
UVICORNS = {"FORWARDED_ALLOW_IPS"}
#: What OpenTelemetry's SDK reads in all of them; bridge/spans.py names it, too.
OPENTELEMETRYS = {ADDRESSES[0]}


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def compose(file: Path) -> Any:
    return load(file)


@pytest.fixture
def production() -> Any:
    return load(PRODUCTION)


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def is_step(service: Any) -> bool:
    """Whether it runs once, and others wait for it."""
    return service["restart"] == "no"


@pytest.mark.parametrize("file", [*FILES, MANYCHAT], ids=lambda file: file.name)
def test_it_follows_the_specification(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def answers(command: list[str]) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_docker_compose_itself_reads_it(file: Path) -> None:
    programs = [["docker", "compose"], ["docker-compose"]]
    program = next((each for each in programs if answers([*each, "version"])), None)
    if program is None:
        pytest.skip("there is no docker compose on this machine")
    variables = dict.fromkeys(re.findall(r"\$\{(\w+):\?", file.read_text(encoding="utf-8")), "x")
    command = [*program, "--file", str(file), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr


def test_each_image_is_built_from_a_file_that_exists(file: Path, compose: Any) -> None:
    builds = [service["build"] for service in compose["services"].values() if "build" in service]
    assert builds
    for build in builds:
        context = (file.parent / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]).is_file()


def test_each_file_of_the_checkout_that_is_mounted_exists(file: Path, compose: Any) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    sources = [source for source in (mount.split(":")[0] for mount in mounts) if source.startswith(".")]
    assert sources
    missing = [each for each in sources if Path(each).parts[0] not in OPERATORS and not (file.parent / each).exists()]
    assert missing == []


def test_each_named_volume_network_and_secret_is_declared(compose: Any) -> None:
    for service in compose["services"].values():
        named = {mount.split(":")[0] for mount in service.get("volumes", []) if not mount.startswith(".")}
        assert named <= compose["volumes"].keys()
        assert set(service.get("networks", [])) <= compose["networks"].keys()
        assert set(service.get("secrets", [])) <= compose.get("secrets", {}).keys()


def test_images_of_others_have_an_exact_tag(compose: Any) -> None:
    """Else a restart may bring another version, with tables of another format."""
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    assert images
    for image in images:
        assert re.search(r":[\w.-]*\d[\w.-]*$", image), image
        assert not image.endswith("latest")


def test_settings_are_spelt_as_the_bridge_and_the_addon_read_them(compose: Any) -> None:
    addon = (ROOT / "odoo.conf.example").read_text(encoding="utf-8")
    for name, service in compose["services"].items():
        variables = set(service.get("environment", {}))
        if "miasalud-bridge" in service["image"]:
            assert variables - UVICORNS - OPENTELEMETRYS <= setting_names(), name
        if "miasalud-odoo" in service["image"]:
            rest = {each.removesuffix("_FILE") for each in variables - OF_ODOO - OPENTELEMETRYS}
            assert all(each.removeprefix("MIASALUD_").lower() in addon for each in rest), name


def test_commands_of_the_bridge_exist(compose: Any) -> None:
    services = [each for each in compose["services"].values() if "miasalud-bridge" in each["image"]]
    direct = [each["command"] for each in services if "command" in each and "entrypoint" not in each]
    in_shell = re.findall(r"python -m bridge ([^;&]+)", str([each.get("command") for each in services]))
    commands = [*direct, *(re.sub(r"\$\{\w+:-(.+?)\}", r"\1", each).split() for each in in_shell)]
    assert ["db", "upgrade"] in commands
    assert [command for command in commands if not parses(command)] == []


@pytest.mark.parametrize("service", ["bridge", "api"])
def test_an_upgrade_goes_from_the_addon_to_the_tables_to_the_bridges(compose: Any, service: str) -> None:
    services = compose["services"]
    assert services[service]["depends_on"]["bridge-upgrade"] == {"condition": "service_completed_successfully"}
    assert services["bridge-upgrade"]["depends_on"]["odoo"] == {"condition": "service_healthy"}
    assert services["odoo"]["depends_on"]["odoo-upgrade"] == {"condition": "service_completed_successfully"}
    # The webhooks depend on none of that: the API that is there takes them.
    assert not services["proxy"].get("depends_on")


def test_what_runs_on_restarts_is_checked_and_has_an_end_to_its_logs(compose: Any) -> None:
    for name, service in compose["services"].items():
        if is_step(service):
            assert service["healthcheck"] == {"disable": True}, name
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


@pytest.mark.parametrize("service", ["odoo", "bridge"])
def test_what_the_images_check_themselves_is_left_to_them(compose: Any, service: str) -> None:
    assert "healthcheck" not in compose["services"][service]
    dockerfile = ROOT / compose["services"][service]["build"]["dockerfile"]
    assert re.search(r"^HEALTHCHECK .*--start-period=", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)


def test_odoo_runs_with_workers_and_the_proxy_sends_websockets_to_their_port(compose: Any) -> None:
    odoo, proxy = compose["services"]["odoo"], compose["services"]["proxy"]["environment"]
    assert any(word.startswith("--workers=") for word in odoo["command"])
    settings = (ROOT / "deploy" / "odoo" / "odoo.conf").read_text(encoding="utf-8")
    assert re.search(r"^proxy_mode = True$", settings, re.MULTILINE)
    port = re.search(r"^gevent_port = (\d+)$", settings, re.MULTILINE)
    assert port
    address = odoo["networks"]["default"]["ipv4_address"]
    assert proxy["ODOO"] == f"{address}:8069"
    assert proxy["ODOO_WEBSOCKET"] == f"{address}:{port[1]}"
    assert proxy["API"] == f"{compose['services']['api']['networks']['default']['ipv4_address']}:8000"


def test_the_proxy_has_every_variable_of_its_templates(file: Path, compose: Any) -> None:
    proxy = compose["services"]["proxy"]
    templates = [each.split(":")[0] for each in proxy["volumes"] if ".template:" in each]
    assert templates
    for template in templates:
        text = (file.parent / template).read_text(encoding="utf-8")
        assert set(re.findall(r"\$\{(\w+)\}", text)) <= proxy["environment"].keys(), template


def test_variables_without_a_default_are_explained_at_the_top(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    head = text[: text.index("\nx-")]
    assert [name for name in set(re.findall(r"\$\{(\w+):\?", text)) if f"{name}=" not in head] == []


def test_each_variable_of_an_operator_is_in_the_docs(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    explained = text[: text.index("\nx-")] + (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert [name for name in used if name not in explained] == []


def test_the_api_believes_the_proxys_network_about_addresses(compose: Any) -> None:
    trusted = compose["services"]["api"]["environment"]["FORWARDED_ALLOW_IPS"]
    assert trusted == compose["networks"]["default"]["ipam"]["config"][0]["subnet"]


def test_production_publishes_the_proxys_ports_and_no_other(production: Any) -> None:
    ports = {name: service["ports"] for name, service in production["services"].items() if "ports" in service}
    assert ports == {"proxy": ["80:80", "443:443"]}


def test_production_keeps_each_container_small_and_closed(production: Any) -> None:
    for name, service in production["services"].items():
        assert service["mem_limit"], name
        assert service["read_only"] is True, name
        assert "/tmp" in service["tmpfs"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_production_has_its_secrets_in_files_that_git_leaves_out(production: Any) -> None:
    secret = {variable(name) for name in secrets()} | {"PGPASSWORD", "POSTGRES_PASSWORD"}
    secret |= {"MIASALUD_QUEUE_CONNECTION_STRING"}
    assert {"BRIDGE_DATABASE_URL", "BRIDGE_ODOO_API_KEY"} < secret
    for name, service in production["services"].items():
        variables = service.get("environment", {})
        assert not secret & variables.keys(), name
        for each, value in variables.items():
            if each.removesuffix("_FILE") in secret:
                assert Path(value).parent == Path("/run/secrets"), name
                assert Path(value).name in service["secrets"], name
    left_out = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/deploy/secrets/", "/deploy/.env"} <= set(left_out)
    assert {Path(each["file"]).parts[0] for each in production["secrets"].values()} == {"secrets"}


def test_a_stop_leaves_time_to_finish(compose: Any) -> None:
    for name in ("odoo", "bridge"):
        assert int(compose["services"][name]["stop_grace_period"].removesuffix("s")) >= 30


def test_the_token_of_manychat_reaches_odoo_and_the_bridges_and_no_other(production: Any) -> None:
    added = load(MANYCHAT)
    name = "manychat_api_token"
    assert added["secrets"] == {name: {"file": f"secrets/{name}"}}
    assert added["secrets"].keys().isdisjoint(production["secrets"])
    variables = {"odoo": f"MIASALUD_{name.upper()}_FILE", "bridge": f"{variable(name)}_FILE"}
    assert added["services"] == {
        service: {"environment": {setting: f"/run/secrets/{name}"}, "secrets": [name]}
        for service, setting in variables.items()
    }
    # Without it, production does not ask for the file.
    assert all(name not in str(service) for service in production["services"].values())
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    assert f"COMPOSE_FILE={PRODUCTION.name}:{MANYCHAT.name}" in page
    assert f"COMPOSE_FILE={PRODUCTION.name}:{MANYCHAT.name}" in MANYCHAT.read_text(encoding="utf-8")


def test_docker_compose_adds_the_token_to_production() -> None:
    program = next((each for each in (["docker", "compose"], ["docker-compose"]) if answers([*each, "version"])), None)
    if program is None:
        pytest.skip("there is no docker compose on this machine")
    variables = dict.fromkeys(re.findall(r"\$\{(\w+):\?", PRODUCTION.read_text(encoding="utf-8")), "x")
    command = [*program, "--file", str(PRODUCTION), "--file", str(MANYCHAT), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    with_token = {name for name, service in services.items() if "manychat_api_token" in str(service.get("secrets"))}
    assert with_token == {"odoo", "bridge"}
    assert "odoo_api_key" in str(services["bridge"]["secrets"])
    assert "postgres_password" in str(services["odoo"]["secrets"])
