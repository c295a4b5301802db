"""Stage changes are posted to our webhook, and to one of Odoo's own automations, about the same opportunities."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from urllib.parse import urlsplit

from .. import drain, events, people, webhook_load
from ..case import Bench
from ..measure import OURS, Result, Row, Sample, Spread, Target, WrongAnswer, cpu_row, rate_row, ratio
from ..queries import counted, logged
from ..system import BenchStack
from ..webhook_load import Load

AUTOMATION = "Odoo's automation"
CLIENTS = (1, 4, 16)
PATH = "/api/v1/manychat/webhook/crm-opportunity"
#: People about whom the requests are: more than answers of the automation in one run.
PEOPLE = 960
_numbers = itertools.count()


class Webhooks:
    """Both webhooks of one system."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.stack = bench.stack
        self.port = urlsplit(self.stack.odoo_url).port or 0
        self._hook = _make_automation(self.stack)
        self._people = people.add(self.stack, events.new_run("HOOK"), PEOPLE)

    def ours(self, number: int) -> tuple[tuple[str, int], bytes]:
        """What a request is about, a person and a stage; and the request."""
        person, stage = self._next(number)
        body = events.opportunity_payload(person, stage, datetime.now(timezone.utc))
        headers = {"X-API-KEY": self.stack.webhook_key}
        return (person, stage), webhook_load.request(self.stack.odoo_url + PATH, body, headers)

    def automation(self, number: int) -> tuple[tuple[str, int], bytes]:
        person, stage = self._next(number)
        body = {"manychat_id": person, "stage_id": self.stack.stages[stage][0]}
        return (person, stage), webhook_load.request(self.stack.odoo_url + self._hook, body, {})

    def _next(self, _number: int) -> tuple[str, int]:
        # The people in turns; with each turn another stage, so that each request has something to write.
        turn, person = divmod(next(_numbers), PEOPLE)
        stages = self.stack.open_stages[1:8]
        return self._people[person], stages[(turn + person) % len(stages)]

    def sample(self, clients: int, make: Callable[[int], tuple[tuple[str, int], bytes]]) -> tuple[Sample, Load]:
        meter = self.stack.meter()
        load = webhook_load.send(self.port, clients, make, seconds=self._bench.sizes.load_seconds)
        cpu = meter.seconds()
        if load.refused:
            raise WrongAnswer(f"{len(load.refused)} requests failed: {load.refused[0]}")
        figures = {"p50": load.quantile_ms(0.5), "p99": load.quantile_ms(0.99)}
        return Sample(len(load.taken), load.seconds, cpu, figures), load

    def measure_ours(self, clients: int, *, is_drained: bool) -> Sample:
        stack = self.stack
        [(known,)] = stack.query("SELECT count(*) FROM manychat_event")
        sample, load = self.sample(clients, self.ours)
        [(now,)] = stack.query("SELECT count(*) FROM manychat_event")
        if now - known != len(load.sent):
            raise WrongAnswer(f"{len(load.sent)} requests were accepted, and Odoo has {now - known} events of them")
        self.wait_until_queued(or_done=is_drained)
        if is_drained:
            self._require_stages(load.sent)
        return sample

    def wait_until_queued(self, *, or_done: bool = False) -> None:
        """Until nothing of ours is under way that would disturb what is measured next.

        :param or_done: wait until a bridge has applied all events
        """
        under_way = "SELECT count(*) FROM manychat_event WHERE state = 'pending' OR (state = 'queued' AND %s)"
        drain.wait_until(lambda: self.stack.query(under_way, or_done) == [(0,)], "the webhooks' events", 0.1)

    def clear(self) -> None:
        """Forget what nobody drained: no bridge of another part is to work on it."""
        self.stack.query("DELETE FROM manychat_event WHERE state IN ('pending', 'queued')")
        self.stack.empty_queues()

    def measure_automation(self, clients: int) -> Sample:
        sample, load = self.sample(clients, self.automation)
        self._require_stages(load.sent)
        return sample

    def _require_stages(self, sent: Sequence[tuple[str, int]]) -> None:
        # Of a person with two requests under way at once, either may be the last one: those do not count.
        stages: dict[str, set[int]] = {}
        for person, stage in sent:
            stages.setdefault(person, set()).add(self.stack.stages[stage][0])
        rows = dict(
            self.stack.query("SELECT x_manychat_id, stage_id FROM crm_lead WHERE x_manychat_id = ANY(%s)", list(stages))
        )
        wrong = [person for person, several in stages.items() if len(several) == 1 and rows[person] not in several]
        if wrong:
            raise WrongAnswer(f"{len(wrong)} of {len(stages)} opportunities are not in the stage that was sent")


def run(bench: Bench) -> Result:
    hooks = Webhooks(bench)
    bench.stack.empty_queues()
    for make in (hooks.ours, hooks.automation):  # what is loaded once
        webhook_load.send(hooks.port, 4, make, count=60)
    rows: list[Row] = []
    targets: list[Target] = []
    for clients in reversed(CLIENTS):
        ours, peer = _alone(bench, hooks, clients, rows)
        if clients == max(CLIENTS):
            p99 = ratio(ours, peer, lambda sample: sample.figures["p99"])
            targets += [
                Target(f"times {AUTOMATION}, {clients} clients", ratio(ours, peer), 6, "×", at_least=True),
                Target(f"p99 beside {AUTOMATION}'s, {clients} clients", p99, 1 / 6, "×", at_least=False),
            ]
    queries = queries_of_a_webhook(hooks)
    rows.append(Row("queries of a webhook", "queries", queries))
    targets.append(Target("queries of a webhook", queries, 4, "queries", at_least=False))
    ours, peer = _while_draining(bench, hooks, rows)
    targets.append(Target(f"times {AUTOMATION}, a bridge draining", ratio(ours, peer), 4, "×", at_least=True))
    return Result("Stage changes posted to a webhook", rows, targets, has_peer=True)


def _alone(bench: Bench, hooks: Webhooks, clients: int, rows: list[Row]) -> Sequence[Sequence[Sample]]:
    """Ours and the automation's samples while no bridge runs."""
    samples = bench.interleave(
        {
            f"{OURS}, {clients} clients": lambda _round: hooks.measure_ours(clients, is_drained=False),
            f"{AUTOMATION}, {clients} clients": lambda _round: hooks.measure_automation(clients),
        }
    )
    under = f"{clients} client{'s' if clients > 1 else ''}"
    for what, each in zip((OURS, AUTOMATION), samples.values(), strict=True):
        rows.append(rate_row(what, each, under))
    for what, each in zip((OURS, AUTOMATION), samples.values(), strict=True):
        for quantile in ("p50", "p99"):
            spread = Spread.of([sample.figures[quantile] for sample in each])
            rows.append(Row(f"{what}, {quantile}", "ms", spread, under=under))
    rows.append(dataclasses.replace(cpu_row(*samples.values(), AUTOMATION), under=under))
    hooks.clear()
    return list(samples.values())


def _while_draining(bench: Bench, hooks: Webhooks, rows: list[Row]) -> Sequence[Sequence[Sample]]:
    """The same while a bridge applies what our webhook accepts; the automation has done its work when it answers."""
    clients = max(CLIENTS)
    with drain.bridges(bench.stack):
        samples = bench.interleave(
            {
                f"{OURS}, a bridge draining": lambda _round: hooks.measure_ours(clients, is_drained=True),
                f"{AUTOMATION}, again": lambda _round: hooks.measure_automation(clients),
            }
        )
    for what, each in zip((OURS, AUTOMATION), samples.values(), strict=True):
        rows.append(rate_row(what, each, "a bridge draining"))
    return list(samples.values())


def queries_of_a_webhook(hooks: Webhooks) -> Spread:
    """Of several requests one after the other, beginning with what both workers have loaded."""
    counts = []
    with logged(hooks.stack):
        for number in range(14):
            _about, content = hooks.ours(number)
            with counted(hooks.stack) as statements:
                assert webhook_load.is_ok(webhook_load.post(hooks.port, content))
            if number >= 4:
                counts.append(float(statements.queries_beside("INSERT INTO manychat_event")))
    return Spread.of(counts)


def _make_automation(stack: BenchStack) -> str:
    """Odoo's own webhook that moves an opportunity; its path."""
    [model] = stack.rpc("ir.model", "search", [["model", "=", "crm.lead"]])
    [rule] = stack.rpc("base.automation", "create", [{
        "name": "Webhook of a bot",
        "model_id": model,
        "trigger": "on_webhook",
        "record_getter": "model.search([('x_manychat_id', '=', payload.get('manychat_id'))], limit=1)",
        "action_server_ids": [(0, 0, {
            "name": "Move it",
            "model_id": model,
            "state": "code",
            "code": "record.write({'stage_id': payload['stage_id']})",
        })],
    }])  # fmt: skip
    [row] = stack.rpc("base.automation", "read", [rule], ["url"])
    return urlsplit(row["url"]).path
