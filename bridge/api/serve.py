"""``python -m bridge api``: the process around the application."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path

import structlog
import uvicorn

from .. import __version__, connect
from ..contract.payloads import QUEUES, WEBHOOKS
from ..errors import ConfigurationError, UnfitTables
from ..monitoring.probes import NOT_CONFIGURED, QUEUE_ADVICE, SQL_ADVICE, BackgroundCheck
from ..settings import Settings, variable
from ..signals import ignore_meaningless, stop_signals
from .accepted import AcceptedEvents
from .app import create_app
from .context import Context
from .http_protocol import HttpProtocol
from .key_cache import KeyCacheError
from .key_store import KeyStore
from .refusals import RefusalCounts

log = structlog.get_logger()

#: Seconds for an answer of the queue to each of two tries. ManyChat gives up after 10 s; our 503 must come earlier.
QUEUE_SECONDS = 3.0
#: Seconds that a start waits for SQL, which may be down without refusing the connection.
SQL_SECONDS = 5.0
#: Seconds that a stop waits for running requests.
GRACE = 10


def open_context(settings: Settings) -> Context:
    """Open what the routes share.

    :raises ConfigurationError: a setting is missing or wrong
    """
    engine = connect.open_engine(settings)
    queues = {name: connect.open_queue(settings, name, read_seconds=QUEUE_SECONDS) for name in QUEUES.values()}
    keys = KeyStore(engine, settings.api_keys_file)
    _read_first_keys(keys, settings.api_keys_file)
    by_type = {each: queues[each.queue] for each in WEBHOOKS}
    return Context(settings, engine, by_type, keys, AcceptedEvents(engine), RefusalCounts(engine))


def _read_first_keys(keys: KeyStore, file: Path) -> None:
    """Read the keys from SQL, else from the cache.

    The webhooks put events onto the queues without SQL, so a start while SQL is down must lose no event either.

    :raises UnfitTables: SQL has no tables that this version can use
    """
    asking = BackgroundCheck(keys.refresh, SQL_ADVICE).begin(max_age=0)
    try:
        answer = asking.result(SQL_SECONDS)
    except NotInTime:
        reason = f"no answer within {SQL_SECONDS:g} seconds"
    else:
        if answer.ok:
            return
        if answer.status == NOT_CONFIGURED:
            raise UnfitTables(answer.advice)
        reason = answer.reason
    log.error("dependency_down", dependency="SQL", reason=reason)
    try:
        keys.load_from_cache()
    except KeyCacheError as problem:
        # Until SQL is up the API answers 503, and /health says that the process is alive.
        log.error("no_keys_known", path=str(file), reason=str(problem))
    else:
        log.warning("keys_from_cache", path=str(file))


def serve(settings: Settings, host: str, port: int) -> None:
    """Answer requests until a signal of :mod:`bridge.signals`. Running requests are finished first.

    :raises ConfigurationError: a setting is missing or wrong
    """
    stop = _Stop()
    listening = _listen(host, port)
    context = open_context(settings)
    config = uvicorn.Config(
        create_app(context),
        http=HttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    log.info("starting", version=__version__, address=f"http://{host}:{port}", database=context.engine.dialect.name)
    context.keys.start()
    context.refusals.start()
    _warm_up(context)
    stop.end_with(server := uvicorn.Server(config))
    server.run(sockets=[listening])
    context.keys.close()
    context.accepted.close()
    context.refusals.close()
    for queue in set(context.queues.values()):
        queue.close()
    context.engine.dispose()
    log.info("stopped", code="asked")


def _warm_up(context: Context) -> None:
    """Begin to get the identity's token and the connections to the queues, for which the first bot would wait.

    What fails now fails again at the first event, whose answer says so.
    """
    queues = set(context.queues.values())
    BackgroundCheck(lambda: [queue.depth() for queue in queues], QUEUE_ADVICE).begin(max_age=0)


class _Stop:
    """The signals while uvicorn does not handle them: before it runs, and when it raises them again afterwards.

    None is lost, and a process that was asked to stop exits with 0. The handler only sets flags, because it interrupts
    the main thread anywhere.
    """

    def __init__(self) -> None:
        self._asked = False
        self._server: uvicorn.Server | None = None
        ignore_meaningless()
        for number in stop_signals():
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self._asked = True
        if self._server:
            self._server.should_exit = True

    def end_with(self, server: uvicorn.Server) -> None:
        """Let ``server`` end at once if a signal came, or comes before the server handles signals itself."""
        self._server = server
        if self._asked:
            server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        names = f"{variable('api_host')}, {variable('api_port')}"
        reason = getattr(error, "strerror", None) or "that is no address"
        raise ConfigurationError(f"{names}: cannot listen on {host}:{port} ({reason})") from None
