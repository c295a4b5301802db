"""The funnel as a sales manager reads it: channel by stage, four measures, of all opportunities of the large system."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from .. import large
from ..case import Bench
from ..measure import Result, Row, Sample, Spread, Target, WrongAnswer
from ..people import CHANNELS
from ..system import BenchStack

MEASURES = ("entered:count_distinct", "advanced:count_distinct", "conversion:avg", "hours:avg")
#: Reads in each round.
READS = 3
_LOGIN = "bench.manager"


def run(bench: Bench) -> Result:
    stack = large.system(bench)
    manager = _Manager(stack)
    _check(manager.read(), bench.sizes.opportunities)

    def read(_round: int) -> Sample:
        meter = stack.meter()
        began = time.perf_counter()
        for _ in range(READS):
            groups = manager.read()
        sample = Sample(READS, time.perf_counter() - began, meter.seconds())
        _check(groups, bench.sizes.opportunities)
        return sample

    samples = bench.interleave({"channel by stage": read})["channel by stage"]
    seconds = Spread.of([1 / sample.rate for sample in samples])
    count = bench.sizes.opportunities
    cpu = {name: Spread.of([s.cpu_ms[name] for s in samples]).median for name in ("odoo", "postgres")}
    return Result(
        f"The funnel of {count:,} opportunities in {large.STAYS} stages each",
        [Row("channel by stage, four measures", "s", seconds, cpu)],
        [Target("channel by stage, four measures", seconds, 0.8, "s", at_least=False)],
    )


class _Manager:
    """A sales manager in a browser."""

    def __init__(self, stack: BenchStack) -> None:
        self._stack = stack
        password = "only-on-this-machine"
        is_18 = stack.odoo.source.version == "18.0"
        manager = [["module", "=", "sales_team"], ["name", "=", "group_sale_manager"]]
        [group] = stack.rpc("ir.model.data", "search_read", manager, fields=["res_id"])
        stack.rpc("res.users", "create", {
            "name": "Gerente", "login": _LOGIN, "password": password,
            "groups_id" if is_18 else "group_ids": [(4, group["res_id"])],
        })  # fmt: skip
        self._method = "read_group" if is_18 else "formatted_read_group"
        self._session = stack.session()
        self._post("/web/session/authenticate", {"db": stack.database, "login": _LOGIN, "password": password})

    def read(self) -> list[dict[str, Any]]:
        """The groups, of the twelve months that the screen shows first."""
        since = (datetime.now(timezone.utc) - timedelta(days=365)).strftime("%Y-%m-%d %H:%M:%S")
        groups = ["channel", "map_id"]
        fields_first = [list(MEASURES), groups] if self._method == "read_group" else [groups, list(MEASURES)]
        options = {"lazy": False} if self._method == "read_group" else {}
        parameters = {
            "model": "manychat.funnel",
            "method": self._method,
            "args": [[["entered_at", ">=", since]], *fields_first],
            "kwargs": options,
        }
        found: list[dict[str, Any]] = self._post(f"/web/dataset/call_kw/manychat.funnel/{self._method}", parameters)
        return found

    def _post(self, path: str, parameters: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters}
        answer = self._session.post(self._stack.odoo_url + path, json=body, timeout=300).json()
        if "error" in answer:
            raise WrongAnswer(answer["error"]["data"]["debug"])
        return answer["result"]


def _check(groups: list[dict[str, Any]], opportunities: int) -> None:
    """Each opportunity entered each stage once, and advanced from all but its last one.

    :raises WrongAnswer:
    """

    def total(measure: str) -> int:
        return sum(group.get(measure, group.get(f"{measure}:count_distinct", 0)) for group in groups)

    # The template's own person, and those of other cases, entered the first stage.
    entered, advanced = total("entered"), total("advanced")
    if not 0 <= entered - opportunities * large.STAYS <= opportunities or len(groups) < len(CHANNELS) * large.STAYS:
        raise WrongAnswer(f"{entered} entries in {len(groups)} groups")
    if not 0 <= advanced - opportunities * (large.STAYS - 1) <= opportunities:
        raise WrongAnswer(f"{advanced} advanced")
