"""The state that all routes share: settings, database, queues, keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from anyio import CapacityLimiter
from fastapi import Request

from ..contract.payloads import EventType
from ..contract.throttle import Throttle
from ..queue import Queue
from ..settings import Settings
from .accepted import AcceptedEvents
from .key_store import KeyStore
from .refusals import RefusalCounts

#: Events put onto their queues concurrently.
THREADS = 40
#: Questions of bots that wait for SQL concurrently. While SQL hangs, each keeps its thread after it was answered.
ASKING_THREADS = 8


@dataclass(frozen=True)
class Context:
    """One running API.

    :ivar queues: the queue of each type of event; several types may share one
    :ivar threads: only for the webhooks: a request that waits for SQL must not delay an event
    :ivar asking: only for questions about people
    """

    settings: Settings
    engine: sa.Engine
    queues: Mapping[EventType, Queue]
    keys: KeyStore
    accepted: AcceptedEvents
    refusals: RefusalCounts
    throttle: Throttle = field(default_factory=Throttle)
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(THREADS))
    asking: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(ASKING_THREADS))

    @staticmethod
    def of(request: Request) -> Context:
        context = request.app.state.bridge
        assert isinstance(context, Context)
        return context
