"""The page followed, block by block, and what an operator then relies on.

In place of Azure's queues stands Azurite, in place of Azure SQL a file of SQLite, in place of the certificate
authority ``certbot`` of this folder, in place of GitHub this checkout and the Odoo that the other suites run on. All
else is real: Debian, systemd, PostgreSQL, Odoo with workers, nginx.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import azurite, odoo, ports
from deploy.local.paths import ROOT, STATE

from .machine import Machine
from .page import Block, blocks

SUITE = os.environ.get("DEBIAN") or "bookworm"
HOOKS, PAGES = "hooks.example.com", "odoo.example.com"
#: The ports that the page's servers listen on.
PORTS = (80, 443, 8000, 8069, 8072, 8080, 9464, 9465)
#: Seconds for what takes a second or two on a machine that does nothing else. An event that a power cut caught between
#: Odoo and the queue waits longest: two minutes until another run may send it, and 70 seconds until Odoo's next run.
PATIENCE = 300
pytestmark = pytest.mark.timeout(2400)

_SITE = f"""
WEBHOOK_HOST={HOOKS}
ODOO_HOST={PAGES}
EMAIL=operator@example.com
REPOSITORY=file:///srv/miasalud.git
QUEUE='{{queue}}'
DATABASE_URL='sqlite:////var/lib/miasalud/miasalud.db'
"""
_SHELL = """
cd /var/lib/odoo
runuser -u odoo -- /opt/odoo/venv/bin/python /opt/odoo/odoo/odoo-bin shell --config /etc/odoo/odoo.conf --no-http \
    --log-level warn <<'END'
{script}
END
"""


def _repositories(folder: Path) -> list[Path]:
    """Bare repositories of this checkout's last commit, and of Odoo's source."""
    own, source = folder / "miasalud.git", STATE / "odoo-18.0.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, own], check=True)
    if not source.exists():
        draft = source.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        git = ["git", "--git-dir", draft, "--work-tree", odoo.chosen("18.0").source.root, "-c", "user.name=test"]
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "18.0", draft], check=True)
        subprocess.run([*git, "add", "--all", "--force"], check=True)
        subprocess.run([*git, "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "Odoo"], check=True)
        # Else every clone would look for deltas again, for minutes.
        subprocess.run([*git, "repack", "-adq", "--window=0"], check=True)
        draft.rename(source)
    return [own, source]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The Debian, before the first block."""
    if os.geteuid() != 0:
        pytest.fail("A machine in namespaces needs root.")
    if taken := [port for port in PORTS if not ports.is_free(port)]:
        pytest.fail(f"The page's servers need the ports {taken}, and they are in use here.")
    folder = tmp_path_factory.mktemp("server")
    folder.chmod(0o755)
    machine = Machine(folder, SUITE, _repositories(folder))
    with azurite.serving() as queue:
        machine.make()
        rewrite = (
            '[url "file:///srv/odoo-18.0.git"]\n\tinsteadOf = https://github.com/odoo/odoo\n[safe]\n\tdirectory = *\n'
        )
        machine.write("/etc/gitconfig", rewrite)
        machine.write("/usr/local/bin/certbot", (Path(__file__).parent / "certbot").read_text(), 0o755)
        # Its rules would be those of the machine that runs the test: they get a network of their own.
        alone = "ExecStartPre=/bin/sh -c '! ip -o link show up | grep -v LOOPBACK'"
        machine.write("/etc/systemd/system/nftables.service.d/alone.conf", f"[Service]\nPrivateNetwork=yes\n{alone}\n")
        hosts = (machine.root / "etc/hosts").read_text()
        machine.write("/etc/hosts", f"{hosts}\n127.0.0.1 {HOOKS} {PAGES}\n")
        machine.write("/root/own-values.sh", _SITE.format(queue=queue))
        try:
            machine.boot()
            yield machine
        finally:
            machine.remove()


@pytest.fixture(scope="module")
def seconds() -> Iterator[dict[str, float]]:
    """How long each block took; printed at the end."""
    took: dict[str, float] = {}
    yield took
    print(f"\n{SUITE}: " + ", ".join(f"{name} {value:.0f} s" for name, value in took.items()))


def eventually(look: Callable[[], object]) -> object:
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(1)
    return seen


def in_odoo(machine: Machine, script: str) -> str:
    done = machine.run(_SHELL.format(script=script))
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def key(machine: Machine) -> Callable[[], str]:
    """The bots' key, made at the first call."""
    made: list[str] = []

    def get() -> str:
        if not made:
            script = 'print("webhook key:", env["manychat.api.key"]._generate("Bots"))\nenv.cr.commit()'
            made.append(in_odoo(machine, script).split("webhook key: ")[1].split()[0])
        return made[0]

    return get


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.name)
def test_block(machine: Machine, key: Callable[[], str], seconds: dict[str, float], block: Block) -> None:
    began = time.monotonic()
    variables = {"WEBHOOK_KEY": key()} if block.name.startswith("8.") else {}
    if restores := block.name.startswith("11."):
        # What the backup of section 10 has not got.
        send(machine, key(), "after-the-backup", 18)
        eventually(lambda: stage_of(machine, "after-the-backup") == 18)
    done = machine.run(block.text, **variables)
    seconds[block.name] = time.monotonic() - began
    print(done.stdout[-6000:])
    assert done.returncode == 0, block.name
    if block.name.startswith("1."):
        assert (
            machine.run("cp /root/own-values.sh /etc/miasalud/site.sh; chmod 600 /etc/miasalud/site.sh").returncode == 0
        )
    if restores:
        assert stage_of(machine, "after-the-backup") == 18


def send(machine: Machine, key: str, person: str, stage: int) -> dict[str, str]:
    """The answer to an event, over HTTPS, from outside the product."""
    body = json.dumps({"manychat_id": person, "first_name": "Ana", "state": {"stage_id": stage}})
    url = f"https://{HOOKS}/api/v1/manychat/webhook/crm-opportunity"
    done = machine.run(f"curl --silent --show-error --fail-with-body {url} -H 'X-API-KEY: {key}' --json '{body}'")
    assert done.returncode == 0, done.stdout
    return dict(json.loads(done.stdout))


def stage_of(machine: Machine, person: str) -> int:
    """ManyChat's number of the stage in which the one opportunity of a person is; 0 without one."""
    script = f"""
leads = env["crm.lead"].search([("x_manychat_id", "=", "{person}")])
row = env["manychat.stage.map"].search([("stage_id", "=", leads.stage_id.id)]) if len(leads) == 1 else None
print("stage:", row.manychat_stage_id if row else 0, len(leads))
"""
    return int(in_odoo(machine, script).split("stage: ")[1].split()[0])


def failed_units(machine: Machine) -> str:
    # The kernel's modules are those of the machine below.
    return machine.run("systemctl list-units --failed --plain --no-legend | grep -v modules-load || true").stdout


def test_all_units_run(machine: Machine) -> None:
    assert failed_units(machine) == ""
    units = "odoo nginx postgresql miasalud-bridge@1 miasalud-bridge@2 miasalud-api miasalud-purge.timer"
    assert machine.run(f"systemctl is-active {units}").returncode == 0


def test_an_event_moves_the_opportunity(machine: Machine, key: Callable[[], str]) -> None:
    send(machine, key(), "one", 17)
    eventually(lambda: stage_of(machine, "one") == 17)
    send(machine, key(), "one", 19)
    eventually(lambda: stage_of(machine, "one") == 19)


def test_the_standby_takes_events_while_odoo_is_stopped(machine: Machine, key: Callable[[], str]) -> None:
    assert machine.run("systemctl stop odoo").returncode == 0
    send(machine, key(), "two", 18)
    assert machine.run("systemctl start odoo").returncode == 0
    eventually(lambda: stage_of(machine, "two") == 18)


def test_the_sockets_of_browsers_reach_odoo(machine: Machine) -> None:
    upgrade = (
        "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: x'"
    )
    # Odoo was started a moment ago, and its process for open sockets comes up last.
    eventually(lambda: '"pass"' in machine.run(f"curl -fsS https://{PAGES}/websocket/health").stdout)
    key = upgrade.replace("Key: x", "Key: dGhlIHNhbXBsZSBub25jZQ==")
    origin = f"-H 'Origin: https://{PAGES}'"
    done = machine.run(
        f"curl -sS -i --http1.1 --max-time 5 {key} {origin} https://{PAGES}/websocket?version=18.0-5 || true"
    )
    assert "101 Switching Protocols" in done.stdout or "101 SWITCHING PROTOCOLS" in done.stdout.upper(), done.stdout


def test_a_reboot_loses_nothing(machine: Machine, key: Callable[[], str]) -> None:
    for number in range(5):
        send(machine, key(), f"reboot-{number}", 20)
    machine.shut_down()
    machine.boot()
    eventually(lambda: machine.run(f"curl -fsS https://{HOOKS}/health").returncode == 0)
    for number in range(5):
        eventually(lambda number=number: stage_of(machine, f"reboot-{number}") == 20)  # type: ignore[misc]
    test_all_units_run(machine)


def test_a_power_cut_loses_nothing(machine: Machine, key: Callable[[], str]) -> None:
    for number in range(5):
        send(machine, key(), f"cut-{number}", 20)
    machine.kill()
    machine.boot()
    for number in range(5):
        eventually(lambda number=number: stage_of(machine, f"cut-{number}") == 20)  # type: ignore[misc]


def test_a_wrong_setting_does_not_loop(machine: Machine) -> None:
    spoil = "sed -i.good 's/^BRIDGE_METRICS_PORT=.*/BRIDGE_METRICS_PORT=x/' /etc/miasalud/bridge.env"
    machine.run(f"{spoil}; systemctl restart miasalud-bridge@1 || true")
    state = "systemctl show -p ActiveState -p NRestarts -p ExecMainStatus miasalud-bridge@1"
    eventually(lambda: "ActiveState=failed" in machine.run(state).stdout)
    assert set(machine.run(state).stdout.split()) >= {"NRestarts=0", "ExecMainStatus=2"}
    assert "BRIDGE_METRICS_PORT" in machine.run("journalctl -u miasalud-bridge@1 -n 20 --no-pager").stdout
    machine.run("mv /etc/miasalud/bridge.env.good /etc/miasalud/bridge.env; systemctl restart miasalud-bridge@1")
    assert machine.run("systemctl is-active miasalud-bridge@1").returncode == 0


def test_a_frozen_bridge_is_restarted(machine: Machine) -> None:
    """Stopped by a signal it gives systemd no sign of life, as when it stands still."""
    before = machine.run("systemctl show -p MainPID --value miasalud-bridge@2").stdout.strip()
    machine.run(f"kill -STOP {before}")
    restarted = "systemctl show -p NRestarts --value miasalud-bridge@2"
    deadline = time.monotonic() + 300
    while machine.run(restarted).stdout.strip() == "0":
        assert time.monotonic() < deadline
        time.sleep(2)
    assert "watchdog" in machine.run("journalctl -u miasalud-bridge@2 --no-pager | grep -i watchdog").stdout.lower()


def test_the_purge_runs(machine: Machine) -> None:
    assert machine.run("systemctl start miasalud-purge").returncode == 0


def test_secrets_are_readable_by_their_owners_only(machine: Machine) -> None:
    listed = machine.run("stat -c '%a %U:%G %n' /etc/miasalud/site.sh /etc/miasalud/bridge.env /etc/odoo/odoo.conf")
    modes = [line.split()[:2] for line in listed.stdout.splitlines()]
    assert modes == [["600", "root:root"], ["600", "root:root"], ["640", "root:odoo"]]
    assert machine.run("stat -c %a /var/lib/miasalud/miasalud.db").stdout.strip() == "600"
