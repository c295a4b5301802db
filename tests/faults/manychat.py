"""The stand-in for ManyChat in a process of its own: what a busy test does must not delay the calls that it counts."""

from __future__ import annotations

import multiprocessing
from multiprocessing.managers import BaseManager, NamespaceProxy
from typing import Any

from tests.manychat_stand_in import ManyChatStandIn

#: What Odoo's administrator chooses: setting → field or tag of the stand-in.
TARGETS = {
    "stage_field_id": 11,
    "stage_id_field_id": 12,
    "salesperson_field_id": 13,
    "status_field_id": 14,
    "won_tag_id": 21,
    "lost_tag_id": 22,
}
#: ManyChat's numbers of the stages in which a flow starts when a person moves an opportunity there → flow.
FLOWS = {18: "content1", 22: "content2"}


class _Proxy(NamespaceProxy):
    """Reading an attribute copies it; setting one sets it over there."""

    _exposed_ = (
        *("__getattribute__", "__setattr__"),
        *("start", "stop", "stop_for", "bot_sets", "most_in_a_second", "changes_after"),
    )

    def start(self) -> None:
        self._callmethod("start")

    def stop(self) -> None:
        self._callmethod("stop")

    def stop_for(self, seconds: float) -> None:
        self._callmethod("stop_for", (seconds,))

    def bot_sets(self, person: str, values: dict[int, Any]) -> None:
        self._callmethod("bot_sets", (person, values))

    def most_in_a_second(self) -> int:
        return int(self._callmethod("most_in_a_second"))  # type: ignore[call-overload]

    def changes_after(self, count: int) -> list[tuple[str, int, Any]]:
        return list(self._callmethod("changes_after", (count,)))  # type: ignore[call-overload]


class _Manager(BaseManager):
    pass


_Manager.register("StandIn", ManyChatStandIn, _Proxy)


class ManyChatProcess:
    """:ivar stand_in: a :class:`ManyChatStandIn`, of which attributes and the methods of ``_Proxy`` can be used"""

    def __init__(self) -> None:
        self._manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        self._manager.start()
        self.stand_in: Any = self._manager.StandIn()  # type: ignore[attr-defined]

    def close(self) -> None:
        self._manager.shutdown()
