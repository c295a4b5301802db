"""The bridge as Azure Functions: queue triggers for the events, timers for the work beside them.

What happens to an event is `bridge.worker`'s, the same as in `python -m bridge run`. docs/azure.md compares the two.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache

import azure.functions as func

from bridge import log, settings
from bridge.contract.payloads import OUTBOUND_QUEUE, QUEUES
from bridge.queue import Message
from bridge.worker.triggered import POISON, TriggeredBridge

app = func.FunctionApp()


opening = threading.Lock()


def bridge() -> TriggeredBridge:
    """Opened at the first call, so that a wrong setting is an error in the log and not a host without functions."""
    # The host makes several first calls at once.
    with opening:
        return _open()


@cache
def _open() -> TriggeredBridge:
    loaded = settings.load()
    log.configure("json", loaded.log_level, host=logging.getLogger("miasalud"))
    return TriggeredBridge(loaded)


def received(message: func.QueueMessage) -> Message:
    """The message as the bridge's own client of the queue receives it."""
    return Message(
        str(message.id),
        # host.json sets messageEncoding to none: what is on the queue comes as it is.
        message.get_body().decode("utf-8", errors="replace"),
        message.insertion_time or datetime.now(timezone.utc),
        str(message.pop_receipt),
        message.dequeue_count or 1,
    )


def process(queue: str) -> Callable[[func.QueueMessage], None]:
    """The function for one queue."""

    def run(message: func.QueueMessage) -> None:
        bridge().process(queue, received(message))

    return run


for name, queue in QUEUES.items():
    for suffix in ("", POISON):
        trigger = app.queue_trigger(arg_name="message", queue_name=queue + suffix, connection="QUEUES")
        app.function_name(name + suffix.replace("-", "_"))(trigger(process(queue + suffix)))


def write_back(message: func.QueueMessage) -> None:
    bridge().write_back(received(message))


# Without the token, the messages are for bridges that have it.
if os.environ.get("BRIDGE_MANYCHAT_API_TOKEN") or os.environ.get("BRIDGE_MANYCHAT_API_TOKEN_FILE"):
    trigger = app.queue_trigger(arg_name="message", queue_name=OUTBOUND_QUEUE, connection="QUEUES")
    app.function_name("write_back")(trigger(write_back))


# The host calls each timer on one instance at a time, however many there are.
@app.timer_trigger(arg_name="timer", schedule="*/30 * * * * *")
def heartbeat(timer: func.TimerRequest) -> None:
    bridge().heartbeat()


@app.timer_trigger(arg_name="timer", schedule="*/10 * * * * *")
def report(timer: func.TimerRequest) -> None:
    bridge().report()


@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
def reconcile(timer: func.TimerRequest) -> None:
    bridge().reconcile()
