"""The two settings for the queues: what operators write into them, and what they are told."""

from __future__ import annotations

import pytest

from bridge.errors import BadQueueAccount
from bridge.queue.account import choose, complete_url

from .conftest import Cli, World

AZURE = "https://miasalud.queue.core.windows.net"
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
CONNECTION_STRING = f"DefaultEndpointsProtocol=https;AccountName=miasalud;AccountKey={SECRET};EndpointSuffix=x"
NAMES = ("THE_STRING", "THE_URL")


@pytest.mark.parametrize(
    "written",
    [
        AZURE,
        f"{AZURE}/",
        f"{AZURE}///",
        "miasalud",
        "MiaSalud",
        "miasalud.queue.core.windows.net",
        "miasalud.queue.core.windows.net/",
        "HTTPS://MIASALUD.QUEUE.CORE.WINDOWS.NET/",
        "http://miasalud.queue.core.windows.net",
        "https://miasalud.queue.core.windows.net:443/",
        "https://miasalud.blob.core.windows.net/",
        "https://miasalud.table.core.windows.net",
        "https://miasalud.dfs.core.windows.net/",
        "https://miasalud.privatelink.queue.core.windows.net",
        f"{AZURE}/manychat-contact-queue",
    ],
)
def test_what_names_the_account_is_its_url(written: str) -> None:
    assert complete_url(written) == AZURE


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("https://acct.queue.core.chinacloudapi.cn/", "https://acct.queue.core.chinacloudapi.cn"),
        ("https://acct.blob.core.usgovcloudapi.net", "https://acct.queue.core.usgovcloudapi.net"),
        ("acct.z12.blob.storage.azure.net", "https://acct.z12.queue.storage.azure.net"),
        ("https://127.0.0.1:10001/devstoreaccount1/", "https://127.0.0.1:10001/devstoreaccount1"),
        ("https://queues.example.com", "https://queues.example.com"),
    ],
)
def test_other_clouds_and_hosts_stay_what_they_are(written: str, url: str) -> None:
    assert complete_url(written) == url


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (CONNECTION_STRING, "connection string"),
        (f"{AZURE}/?sv=2024&sp=raup&sig={SECRET}", "SharedAccessSignature"),
        (f"https://user:{SECRET}@miasalud.queue.core.windows.net", "password"),
        ("https://miasalud-secondary.queue.core.windows.net", "-secondary"),
        ("http://127.0.0.1:10001/devstoreaccount1", "connection string"),
        ("http://queues.example.com", "https"),
        ("https://", "not a URL"),
        ("ftp://miasalud.queue.core.windows.net", "not a URL"),
        ("mia salud", "not a URL"),
        ("https://[::1", "not a URL"),
        ("a", "not a URL"),
        ("https://x:99999999/", "not a URL"),
    ],
)
def test_what_cannot_be_a_url_is_a_sentence_without_the_secret(written: str, words: str) -> None:
    with pytest.raises(BadQueueAccount, match=words) as caught:
        choose("", written, NAMES)
    assert NAMES[1] in str(caught.value)
    assert SECRET not in str(caught.value)


def test_exactly_one_of_the_two_is_set() -> None:
    assert choose("", "", NAMES) == ""
    assert choose(CONNECTION_STRING, "", NAMES) == CONNECTION_STRING
    assert choose("", "miasalud", NAMES) == AZURE
    with pytest.raises(BadQueueAccount, match="THE_STRING and THE_URL are both set"):
        choose(CONNECTION_STRING, AZURE, NAMES)
    with pytest.raises(BadQueueAccount, match="THE_STRING: this is a URL: set THE_URL"):
        choose(AZURE, "", NAMES)


@pytest.mark.parametrize("command", ["run", "check", "reconcile"])
def test_the_commands_name_the_settings(world: World, cli: Cli, command: str) -> None:
    both = cli(command, queue_account_url="miasalud")
    neither = cli(command, queue_connection_string="")
    for result, words in ((both, "both set"), (neither, "Set BRIDGE_QUEUE_CONNECTION_STRING or")):
        said = result.stdout + result.stderr
        assert result.returncode == (1 if command == "check" else 2)
        assert words in said
        assert "BRIDGE_QUEUE_ACCOUNT_URL" in said


def test_without_its_library_a_login_by_identity_says_what_to_install(world: World, cli: Cli) -> None:
    hidden = world.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['azure.identity'] = None\n")
    cli.environment |= {"PYTHONPATH": f"{hidden}:{cli.environment['PYTHONPATH']}", "BRIDGE_QUEUE_CONNECTION_STRING": ""}
    result = cli.start("run", queue_account_url="miasalud")

    assert result.returncode == 2
    assert "BRIDGE_QUEUE_ACCOUNT_URL" in result.stderr
    assert "pip install azure-identity" in result.stderr
