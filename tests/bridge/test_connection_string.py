"""Connection strings as operators paste them."""

from __future__ import annotations

import pytest

from bridge.connect import open_queue
from bridge.connection_string import fault_in
from bridge.contract.payloads import DEAD_LETTER_QUEUE
from bridge.errors import ConfigurationError
from bridge.settings import Settings

from .conftest import Cli

KEY = "aHVudGVyMg" * 8 + "aHVudG=="
AZURE = "EndpointSuffix=core.windows.net"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (f"AccountName=account;AccountKey=hunter2;{AZURE}", "AccountKey is not whole"),
        (f"AccountName=account;AccountKey={KEY[:-1]};{AZURE}", "AccountKey is not whole"),
        (f"AccountName=account;AccountKey={KEY[:40]}%3D%3D;{AZURE}", "AccountKey is not whole"),
        (f"AccountName=account;AccountKey=;{AZURE}", "AccountKey is missing"),
        (f"AccountName=account;AcountKey={KEY};{AZURE}", "AccountKey is missing"),
        (f"AccountKey={KEY};{AZURE}", "AccountName is missing"),
        (f"AccountName=;AccountKey={KEY};{AZURE}", "AccountName is missing"),
        (f"AccountName=an account;AccountKey={KEY};{AZURE}", "letters and digits"),
        (f"AccountName=<account>;AccountKey={KEY};{AZURE}", "placeholder"),
        (f"AccountName=account;AccountKey={{your key}};{AZURE}", "placeholder"),
        (f"AccountName=account;AccountKey={KEY};AccountName=other;{AZURE}", "AccountName stands twice"),
        (f"AccountName = account; AccountKey = {KEY};{AZURE}", "blank"),
        (f"AccountName=account;AccountKey={KEY};QueueEndpoint=http://127.0.0.1:x/account", "QueueEndpoint"),
        (f"AccountName=account;AccountKey={KEY};QueueEndpoint=https://a b/", "QueueEndpoint"),
        (f"DefaultEndpointsProtocol=ftp;AccountName=account;AccountKey={KEY};{AZURE}", "must be https"),
        ("DefaultEndpointsProtocol=https", "between quotes"),
        (KEY, "key alone"),
        ("?sv=2025-01-05&ss=q&sig=hunter2", "SAS alone"),
        ("sv=2025-01-05&ss=q&sig=hunter2%3D", "SAS alone"),
        ("SharedAccessSignature=sv=1&sig=hunter2", "no QueueEndpoint"),
        ("BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=hunter2", "QueueEndpoint"),
        ("QueueEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=hunter2", ".queue."),
        ("Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=R;SharedAccessKey=hunter2=", "Service Bus"),
        (f"QueueEndpoint=https://account.queue.core.windows.net;SharedAccessSignature={KEY}", "not an Azure Storage"),
        ("hunter2", "not an Azure Storage connection string"),
        ("AccountName=account;hunter2", "no equals sign"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_service_is_asked(written: str, words: str) -> None:
    settings = Settings(_env_file=None, queue_connection_string=written)
    with pytest.raises(ConfigurationError) as caught:
        open_queue(settings, DEAD_LETTER_QUEUE)
    said = str(caught.value)
    assert said.startswith("BRIDGE_QUEUE_CONNECTION_STRING: ")
    assert words in said
    assert "hunter2" not in said
    assert KEY[:20] not in said


@pytest.mark.parametrize(
    "written",
    [
        f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};{AZURE}",
        f"AccountName=account;AccountKey={KEY};{AZURE};",
        f"AccountName=account;AccountKey={KEY}",
        f"accountname=account;accountkey={KEY};endpointsuffix=core.chinacloudapi.cn",
        f"AccountName=account;AccountKey={KEY};QueueEndpoint=http://azurite:10001/account;",
        f"AccountName=account;AccountKey={KEY};BlobEndpoint=https://x/;QueueEndpoint=https://queues.example.org/",
        "QueueEndpoint=https://account.queue.core.windows.net/;SharedAccessSignature=?sv=1&ss=q&sig=x%3D",
        "QueueEndpoint=account.queue.core.windows.net;SharedAccessSignature=sv=1&ss=q&sig=x",
        f"AccountName=account;SharedAccessSignature=sv=1&sig=x;{AZURE}",
        "UseDevelopmentStorage=true",
    ],
)
def test_what_azure_shows_is_taken(written: str) -> None:
    assert fault_in(written) is None
    open_queue(Settings(_env_file=None, queue_connection_string=written), DEAD_LETTER_QUEUE).close()


def test_check_and_run_name_the_fault(cli: Cli) -> None:
    wrong = f"AccountName=account;AccountKey=hunter2;{AZURE}"
    checked = cli("check", queue_connection_string=wrong)
    assert checked.returncode == 1
    line = next(line for line in checked.stdout.splitlines() if "queue" in line)
    assert "BRIDGE_QUEUE_CONNECTION_STRING: AccountKey is not whole" in line
    assert "None" not in line
    ran = cli("run", queue_connection_string=wrong)
    assert ran.returncode == 2
    assert "AccountKey is not whole" in ran.stderr
