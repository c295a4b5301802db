"""One story, in the order of an installation: each test goes on where the one before ended."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
import requests

from bridge import __version__
from bridge.contract.payloads import EventType
from deploy.local import images, ports

from .conftest import DATABASE, USER, Containers, stop

pytestmark = pytest.mark.timeout(900, func_only=False)
WANTED = f"18.0.{__version__}"
NEW_KEY = "print('KEY ' + env['manychat.api.key']._generate('Images')); env.cr.commit()\n"


def wait(until: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    """Wait for a program to be up. One that ends meanwhile has failed."""
    deadline = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "it is not up"
        time.sleep(0.2)


def upgrade(containers: Containers, *options: str) -> subprocess.CompletedProcess[str]:
    return containers.run_odoo("python3", "/opt/miasalud/upgrade.py", DATABASE, *options)


def set_version(containers: Containers, version: str) -> None:
    with containers.installation.cluster.connect(DATABASE) as connection:
        connection.execute("UPDATE ir_module_module SET latest_version = %s WHERE name = 'miasalud_crm'", [version])


@pytest.mark.parametrize("image", list(images.DOCKERFILES))
def test_an_image_has_a_numeric_user_a_health_check_and_a_label(image: str) -> None:
    found = json.loads(subprocess.run(images.buildah("inspect", image), capture_output=True, check=True).stdout)
    settings = found["Docker"]["config"]
    assert settings["User"] == f"{USER}:{USER}"
    assert settings["Healthcheck"]["Test"][0] == "CMD"
    assert settings["Labels"]["org.opencontainers.image.version"] == __version__


def test_the_bridge_image_runs_as_its_user_and_has_microsofts_driver_with_libcurl(containers: Containers) -> None:
    code = (
        "import ctypes, os, pyodbc; ctypes.CDLL('libcurl.so.4'); print(os.getuid(), pyodbc.drivers())\n"
        # The driver itself is loaded: its own message says that nobody listens there.
        "try: pyodbc.connect('Driver={ODBC Driver 18 for SQL Server};Server=tcp:127.0.0.1,9;Uid=x;Pwd=y', timeout=2)\n"
        "except pyodbc.Error as error: print(error.args[1])\n"
    )
    done = containers.bridge.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert f"{USER} ['ODBC Driver 18 for SQL Server']" in done.stdout
    assert "[Microsoft][ODBC Driver 18 for SQL Server]" in done.stdout


def test_a_container_without_a_running_bridge_is_not_healthy(containers: Containers) -> None:
    check = containers.bridge.run("python", "/opt/bridge/healthcheck.py", environment=containers.bridge_environment)
    assert check.returncode == 1
    assert "No answer at port" in check.stderr


def test_odoos_own_libraries_are_those_that_the_base_image_had(containers: Containers) -> None:
    code = (
        "import bridge.contract, azure.storage.queue, azure.identity\n"
        "import cryptography, requests, urllib3\n"
        "print({module.__file__.split('/')[2] for module in (cryptography, requests, urllib3)})\n"
    )
    assert containers.odoo.run("python3", "-c", code).stdout == "{'lib'}\n"  # and not /usr/local


def test_the_upgrade_step_installs_the_addon_from_a_path_that_no_volume_hides(containers: Containers) -> None:
    done = upgrade(containers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"miasalud_crm is at version {WANTED}" in done.stdout
    assert "Loading module miasalud_crm" in done.stderr


def test_the_upgrade_step_leaves_a_database_of_the_same_version_alone(containers: Containers) -> None:
    done = upgrade(containers)
    assert (done.returncode, done.stdout) == (0, f"miasalud_crm is at version {WANTED} in {DATABASE}.\n")


def test_the_upgrade_step_waits_for_odoo_to_be_stopped(containers: Containers) -> None:
    set_version(containers, "18.0.0.3.0")
    url = containers.installation.cluster.url(DATABASE)
    with psycopg.connect(url, application_name="odoo-4711"):
        done = upgrade(containers)
    assert done.returncode == 1
    assert "docker compose stop odoo" in done.stderr


def test_the_upgrade_step_upgrades_an_older_version(containers: Containers) -> None:
    done = upgrade(containers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"odoo -u on the database {DATABASE}, to version {WANTED}" in done.stdout
    with containers.installation.cluster.connect(DATABASE) as connection:
        query = "SELECT latest_version FROM ir_module_module WHERE name = 'miasalud_crm'"
        assert connection.execute(query).fetchone() == (WANTED,)


def test_the_upgrade_step_refuses_to_go_back(containers: Containers) -> None:
    set_version(containers, "18.0.0.10.0")  # and not older, as text would have it
    try:
        done = upgrade(containers)
    finally:
        set_version(containers, WANTED)
    assert done.returncode == 1
    assert "restore the backup" in done.stderr


def test_the_bridges_key_is_made_for_its_user_alone(containers: Containers) -> None:
    line = f"odoo shell --database={DATABASE} --no-http < /opt/miasalud/bridge_key.py && stat -c '%u %a' /keys/bridge"
    done = containers.run_odoo("sh", "-c", line)
    assert f"{USER} 600\n" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def odoo_server(containers: Containers) -> Iterator[subprocess.Popen[bytes]]:
    words = ["/opt/miasalud/entrypoint", "odoo", f"--database={DATABASE}", "--workers=2"]
    words += [f"--http-port={containers.odoo_port}", f"--gevent-port={containers.websocket_port}"]
    process = containers.odoo.start(containers.logs / "odoo.log", *words, environment=containers.odoo_environment)
    try:
        wait(lambda: containers.answers(containers.odoo_port, "/health"), process)
        yield process
    finally:
        if process.poll() is None:
            stop(process)


@pytest.mark.usefixtures("odoo_server")
def test_odoo_has_workers_and_a_process_for_websockets(containers: Containers) -> None:
    assert containers.answers(containers.websocket_port, "/websocket/health")
    assert "Evented Service (longpolling) running" in (containers.logs / "odoo.log").read_text()


@pytest.mark.usefixtures("odoo_server")
def test_an_event_goes_through_the_containers(containers: Containers) -> None:
    done = containers.run_bridge("db", "upgrade")
    assert done.returncode == 0, done.stderr
    check = containers.run_bridge("check")
    assert check.returncode == 0, check.stdout + check.stderr
    printed = containers.run_odoo("odoo", "shell", f"--database={DATABASE}", "--no-http", stdin=NEW_KEY).stdout
    key = next(line for line in printed.splitlines() if line.startswith("KEY ")).split()[1]

    bridge = containers.bridge.start(
        containers.logs / "bridge.log", "python", "-m", "bridge", "run", environment=containers.bridge_environment
    )
    try:
        healthcheck = ["python", "/opt/bridge/healthcheck.py"]
        wait(lambda: containers.answers(containers.metrics_port, "/health"), bridge)
        assert containers.bridge.run(*healthcheck, environment=containers.bridge_environment).returncode == 0
        spec = EventType.OPPORTUNITY.spec
        answer = requests.post(
            f"http://{ports.HOST}:{containers.odoo_port}{spec.path}",
            json=spec.example,
            headers={"X-API-KEY": key},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        wait(lambda: state(containers, answer.json()["event_id"]) == "done", bridge)
    finally:
        code = stop(bridge)
    assert code == 0, (containers.logs / "bridge.log").read_text()


def state(containers: Containers, event_id: str) -> str:
    with containers.installation.cluster.connect(DATABASE) as connection:
        row = connection.execute("SELECT state FROM manychat_event WHERE event_id = %s", [event_id]).fetchone()
    return row[0] if row else "missing"


def test_the_api_answers_and_ends_when_it_is_asked_to(containers: Containers) -> None:
    api = containers.bridge.start(
        containers.logs / "api.log", "python", "-m", "bridge", "api", environment=containers.bridge_environment
    )
    try:
        wait(lambda: containers.answers(containers.api_port, "/health"), api)
        check = containers.bridge.run("python", "/opt/bridge/healthcheck.py", str(containers.api_port))
        assert check.returncode == 0, check.stderr
    finally:
        code = stop(api)
    assert code == 0


def test_odoo_ends_when_it_is_asked_to(odoo_server: subprocess.Popen[bytes]) -> None:
    assert stop(odoo_server) == 0


@pytest.mark.parametrize("which", ["bridge", "odoo"])
def test_no_container_wrote_outside_of_its_volumes(containers: Containers, which: str) -> None:
    """So their root file systems may be read-only, as the compose files have it."""
    container = getattr(containers, which)
    line = (
        "find / -xdev -user 10001 -not -path '/tmp*' -not -path '/proc/*' "
        "-not -path '/home/bridge*' -not -path '/srv/odoo*' -not -path '/keys*' -not -path '/dev/*' 2>/dev/null"
    )
    assert container.run("sh", "-c", f"{line} || true").stdout == ""
