"""A program that STANDS IN FOR THE AZURE FUNCTIONS HOST, which no package index has.

It loads ``function_app.py`` and ``host.json`` as the host does, finds the triggers by their bindings, and calls the
functions with what the package ``azure-functions`` makes of a message. It does with a message what the host's queue
listener does (Microsoft.Azure.WebJobs.Extensions.Storage.Queues 5: QueueListener, QueueProcessor):

- it receives ``batchSize`` messages, and again when ``newBatchThreshold`` calls or fewer run;
- if the call returns, it deletes the message, by the pop receipt that it knows; if another one has the message, it
  leaves it;
- if the call raises, it makes the message visible after ``visibilityTimeout``, or, from ``maxDequeueCount`` deliveries
  on, moves it to the queue ``…-poison``; a message of such a queue just stays invisible until its lease ends.

Not as there: leases are not renewed, and all timers are called on this one instance.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import os
import re
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.storage.queue import QueueClient, QueueMessage

FOLDER = Path(__file__).parents[2] / "deploy" / "functions"
POISON = "-poison"


def load_functions(folder: Path = FOLDER) -> dict[str, tuple[dict[str, Any], Any]]:
    """The trigger's binding and the function, by the name of the function."""
    # The host's worker has the folder on its path, and imports this file.
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("function_app", folder / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        function.get_function_name(): (function.get_trigger().get_dict_repr(), function.get_user_function())
        for function in module.app.get_functions()
    }


class QueueListener(threading.Thread):
    """Listens to one queue for one function."""

    def __init__(self, name: str, queue: str, connection: str, function: Any, options: dict[str, Any], lease: int):
        super().__init__(name=name, daemon=True)
        self._queue = QueueClient.from_connection_string(connection, queue)
        self._poison = QueueClient.from_connection_string(connection, queue + POISON)
        self._has_poison = not queue.endswith(POISON)
        self._function = function
        self._options = options
        self._lease = lease
        self._pool = ThreadPoolExecutor(options["batchSize"] + options["newBatchThreshold"])
        hours, minutes, seconds = map(int, options["visibilityTimeout"].split(":"))
        self._visibility_timeout = hours * 3600 + minutes * 60 + seconds

    def run(self) -> None:
        running: set[Future[None]] = set()
        while True:
            running = {each for each in running if not each.done()}
            messages = self._receive() if len(running) <= self._options["newBatchThreshold"] else []
            running |= {self._pool.submit(self._deliver, message) for message in messages}
            if not messages:
                time.sleep(0.05)

    def _receive(self) -> list[QueueMessage]:
        count = self._options["batchSize"]
        try:
            return list(
                self._queue.receive_messages(
                    max_messages=count, messages_per_page=count, visibility_timeout=self._lease
                )
            )
        except ResourceNotFoundError:
            time.sleep(1)
            return []

    def _deliver(self, message: QueueMessage) -> None:
        _say({"host": "delivered", "function": self.name, "count": message.dequeue_count})
        try:
            self._function(message=_convert(message, self._options))
        except Exception as error:
            _say({"host": "failed", "function": self.name, "error": type(error).__name__})
            if not self._has_poison:
                return
            if (message.dequeue_count or 1) >= self._options["maxDequeueCount"]:
                _create(self._poison)
                self._poison.send_message(message.content, time_to_live=-1)
                _unless_taken(self._queue.delete_message, message)
            else:
                _unless_taken(self._queue.update_message, message, visibility_timeout=self._visibility_timeout)
        else:
            _unless_taken(self._queue.delete_message, message)


def _say(line: dict[str, Any]) -> None:
    # By the logging, which lets one thread write at a time.
    logging.getLogger("host").info("%s", json.dumps(line))


def _convert(message: QueueMessage, options: dict[str, Any]) -> Any:
    assert options["messageEncoding"] == "none"
    metadata = {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(str(message.dequeue_count), "string"),
        "InsertionTime": Datum(json.dumps(message.inserted_on.isoformat() if message.inserted_on else None), "json"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }
    return QueueMessageInConverter.decode(Datum(message.content, "string"), trigger_metadata=metadata)


def _unless_taken(request: Any, message: QueueMessage, **options: Any) -> None:
    try:
        request(message.id, message.pop_receipt, **options)
    except HttpResponseError as error:
        if error.status_code not in (400, 404):
            raise
        _say({"host": "taken", "code": str(error.error_code)})


def _create(queue: QueueClient) -> None:
    with contextlib.suppress(ResourceExistsError):
        queue.create_queue()


class Timer(threading.Thread):
    """Calls one function every so many seconds, of schedules such as ``*/30 * * * * *`` and ``0 */5 * * * *``."""

    def __init__(self, name: str, schedule: str, function: Any, faster: float):
        super().__init__(name=name, daemon=True)
        every = re.fullmatch(r"(?:0 \*/(\d+)|\*/(\d+) \*) \* \* \* \*", schedule)
        assert every, schedule
        self._seconds = (int(every[1]) * 60 if every[1] else int(every[2])) / faster
        self._function = function

    def run(self) -> None:
        while True:
            time.sleep(self._seconds)
            self._function(timer=None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lease", type=int, default=600, help="seconds; the host's is ten minutes")
    parser.add_argument("--outage-delay", type=int, help="seconds, in place of the bridge's own")
    parser.add_argument("--faster", type=float, default=1, help="how much faster timers run")
    parser.add_argument("--queues", type=json.loads, default={}, help="over host.json, as the host's variables are")
    chosen = parser.parse_args()
    # The host's worker collects the lines of all loggers.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
    functions = load_functions()
    if chosen.outage_delay:
        from bridge.worker import triggered

        triggered.OUTAGE_DELAY = chosen.outage_delay
    options = {**json.loads((FOLDER / "host.json").read_text())["extensions"]["queues"], **chosen.queues}
    for name, (binding, function) in functions.items():
        if binding["type"] == "queueTrigger":
            connection = os.environ[binding["connection"]]
            QueueListener(name, binding["queueName"], connection, function, options, chosen.lease).start()
        else:
            Timer(name, binding["schedule"], function, chosen.faster).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
