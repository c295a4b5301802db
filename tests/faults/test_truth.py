"""An examination that cannot fail proves nothing: each kind of damage, done by hand, is found.

The damage stays. This is the last file of the suite, and what it looks for is its own people's.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
import requests
import sqlalchemy as sa

from .manychat import FLOWS
from .order import Decided, Happened, Heard, may_rest_in, unmatched
from .people import Act
from .soak import SETTLING
from .system import System
from .traffic import AT_ONCE, STAGE_NUMBER, WEBHOOK, Ledger, Traffic
from .truth import Truth, Verdict, decided_by

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def at(minute: int, event_id: str = "a", received: int = 0, stage: int = 1) -> Happened:
    return Happened(NOON + timedelta(minutes=minute), NOON + timedelta(minutes=received), event_id, stage)


def by_person(minute: int, stage: int) -> Decided:
    return Decided(NOON + timedelta(minutes=minute), NOON + timedelta(minutes=minute + 1), stage)


def test_the_newest_event_stands_then_the_one_received_later_then_the_greater_id() -> None:
    assert may_rest_in([at(2, stage=7), at(1)], []) == {7}
    assert may_rest_in([at(1, received=2, stage=7), at(1, received=1)], []) == {7}
    assert may_rest_in([at(1, "b", stage=7), at(1, "a")], []) == {7}


def test_a_persons_move_stands_against_older_events_and_falls_to_newer_ones() -> None:
    assert may_rest_in([at(1)], [by_person(5, 7)]) == {7}
    assert may_rest_in([at(9)], [by_person(5, 7)]) == {1}
    assert may_rest_in([at(5)], [by_person(5, 7)]) == {1, 7}  # nobody can tell


def test_a_loss_stands_against_what_was_said_between_it_and_the_move_before() -> None:
    """The moment of the loss is less certain than that of the move: it may seem to begin before it."""
    move, loss = Decided(NOON, NOON, 7), Decided(NOON - timedelta(minutes=1), NOON + timedelta(minutes=3), 7)
    assert may_rest_in([at(2)], [move, loss]) == {1, 7}
    assert may_rest_in([at(4)], [move, loss]) == {1}
    assert may_rest_in([at(-2)], [by_person(0, 3), by_person(5, 7)]) == {7}


class Written(NamedTuple):
    """A row of ``manychat_echoes``, as far as the model looks at it."""

    stage_id: int
    written_at: datetime


def test_what_looks_like_an_echo_falls_to_a_users_move_and_only_to_that() -> None:
    heard = Heard()
    heard.add(at(1), 16, [], is_echo=False, is_taken=False)
    heard.add(at(9, "b", stage=7), 17, [Written(17, NOON)], is_echo=False, is_taken=False)
    assert heard.may_rest_in([]) == {7}
    assert heard.may_rest_in([by_person(5, 3)]) == {3, 7}


def test_a_users_move_stands_if_all_that_was_said_looks_like_an_echo() -> None:
    heard = Heard()
    heard.add(at(9, stage=7), 17, [Written(17, NOON)], is_echo=False, is_taken=False)
    assert heard.may_rest_in([by_person(5, 3)]) == {3, 7}


class Line(NamedTuple):
    """A line of the chatter."""

    res_id: int
    create_date: datetime
    create_uid: int
    after: int


def test_of_two_users_who_act_on_an_opportunity_at_once_each_has_her_own_time() -> None:
    def act(login: str, ended: int) -> Act:
        return Act("move", login, (1,), NOON, NOON + timedelta(minutes=ended), True)

    acts = [act("vendedora", 1), act("gerente", 5)]
    line = Line(1, NOON.replace(tzinfo=None), 8, after=3)
    assert decided_by(line, acts, {"vendedora": 7, "gerente": 8}).latest == NOON + timedelta(minutes=5)


def test_another_stage_than_was_written_is_the_customers() -> None:
    heard = Heard()
    heard.add(
        at(9, stage=7), 17, [Written(18, NOON), Written(17, NOON - timedelta(hours=1))], is_echo=False, is_taken=False
    )
    assert heard.may_rest_in([by_person(5, 3)]) == {7}


def test_an_echo_that_was_not_taken_for_one_is_out_of_order_unless_another_event_was() -> None:
    heard = Heard()
    heard.add(at(1), 16, [], is_echo=False, is_taken=False)
    heard.add(at(9, "echo", stage=7), 17, [], is_echo=True, is_taken=False)
    assert heard.may_rest_in([]) == {1}
    heard.add(at(8, "mistaken", stage=7), 17, [], is_echo=False, is_taken=True)
    assert heard.may_rest_in([]) == {1, 7}


def test_a_restored_opportunity_is_told_of_with_its_stage_or_not_at_all() -> None:
    assert unmatched(Counter({(None, 4): 1, (1, 2): 1}), Counter({(1, 2): 1})) == (Counter(), Counter())
    assert unmatched(Counter({(None, 4): 1}), Counter({(3, 4): 2})) == (Counter({(3, 4): 1}), Counter())
    assert unmatched(Counter({(1, 2): 1}), Counter({(2, 3): 1})) == (Counter({(2, 3): 1}), Counter({(1, 2): 1}))


class Bot:
    """What the echoing bot meets: Odoo takes three seconds for each event, and one change follows the other.

    :ivar ages: seconds from each change to the moment at which the bot sent it back
    """

    def __init__(self, changes: int) -> None:
        self.now, self.ages, self.users = 0.0, list[float](), dict[str, int]()
        self.manychat, self._made = self, [0.25 * number for number in range(changes)]

    def changes_after(self, count: int) -> list[tuple[str, int, Any]]:
        return [(str(made), STAGE_NUMBER, made) for made in self._made[count:] if made <= self.now]

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now > self._made[-1] + 10

    def is_set(self) -> bool:
        return False

    def send(self, body: dict[str, Any]) -> None:
        self.ages.append(self.now - body["state"]["stage_id"])
        self.now += 2.9


def test_the_bot_sends_no_change_back_that_it_comes_to_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product takes what comes after ten seconds for a customer's event, if the chat has gone on since."""
    bot: Any = Bot(200)
    traffic = Traffic(bot, 3)
    traffic._stop = bot
    monkeypatch.setattr("tests.faults.traffic.time", bot)
    bot.monotonic = lambda: bot.now
    monkeypatch.setattr(traffic, "_send_once", bot.send)
    traffic._echoing_bot(random.Random(3), 0)
    assert bot.ages
    assert max(bot.ages) <= AT_ONCE


@pytest.fixture
def person(system: System, request: pytest.FixtureRequest) -> tuple[str, Ledger]:
    """Somebody who was created and moved by the chat, and then moved by a user."""
    manychat_id, ledger = f"MC-TRUTH-{request.node.name}", Ledger()
    for minute, stage in enumerate((17, 19)):
        state = {"stage_id": stage, "date": (NOON + timedelta(minutes=minute)).isoformat(), "summary": "Hola"}
        body = {"manychat_id": manychat_id, "first_name": "Prueba", "state": state}
        url = f"{system.odoo_url}{WEBHOOK}crm-opportunity"
        answer = requests.post(url, json=body, headers={"X-API-KEY": system.webhook_key}, timeout=60)
        ledger.accepted.add(answer.json()["event_id"])
    truth = Truth(system)
    assert system.wait_until(lambda: truth.backlog_of(ledger) == 0 and truth.has_settled(), SETTLING)
    leads = system.rpc("crm.lead", "search", [["x_manychat_id", "=", manychat_id]])
    (row,) = system.rpc("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 18]], fields=["stage_id"])
    system.act_as("vendedora", "crm.lead", "write", leads, {"stage_id": row["stage_id"][0]})
    assert system.wait_until(truth.has_settled, SETTLING)
    truth.close()
    return manychat_id, ledger


def _outcome_forgotten(system: System, event_id: str, _lead: int) -> None:
    _change_sql(system, "DELETE FROM audit WHERE event_id = :one", event_id)


def _mover_forgotten(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunity_stages SET user_id = 2 WHERE moved_by = 'person' AND lead_id = :one", lead)


def _revenue_changed(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunities SET expected_revenue = 7 WHERE lead_id = :one", lead)


def _status_changed(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunities SET status = 'won' WHERE lead_id = :one", lead)


def _stage_id_changed(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunities SET stage_id = 4711 WHERE lead_id = :one", lead)


def _merged_by_mistake(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunities SET merged_into = lead_id WHERE lead_id = :one", lead)


def _decided_move_forgotten(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "DELETE FROM opportunity_stages WHERE moved_by = 'person' AND lead_id = :one", lead)


def _decided_status_changed(system: System, _event_id: str, lead: int) -> None:
    statement = "UPDATE opportunity_stages SET status = 'lost' WHERE moved_by = 'person' AND lead_id = :one"
    _change_sql(system, statement, lead)


def _decided_move_turned(system: System, _event_id: str, lead: int) -> None:
    statement = """
        UPDATE opportunity_stages SET stage_from = stage_to, stage_to = stage_from
         WHERE moved_by = 'person' AND lead_id = :one
    """
    _change_sql(system, statement, lead)


def _decision_not_stored(system: System, _event_id: str, lead: int) -> None:
    statement = "UPDATE manychat_event SET outcome = 'discarded' WHERE type = 'decision' AND lead_id = %s"
    _change(system, statement, lead)


def _mover_of_odoo_forgotten(system: System, _event_id: str, lead: int) -> None:
    statement = """
        UPDATE manychat_event SET payload = jsonb_set(payload::jsonb, '{user_id}', '4711')
         WHERE type = 'decision' AND lead_id = %s
    """
    _change(system, statement, lead)


def _shown_otherwise(system: System, _event_id: str, lead: int) -> None:
    system.manychat.bot_sets(_person_of(system, lead), {STAGE_NUMBER: 20})


def _flow_twice(system: System, _event_id: str, lead: int) -> None:
    system.manychat.started = [*system.manychat.started, (_person_of(system, lead), FLOWS[18])]


def _person_of(system: System, lead: int) -> str:
    (row,) = system.database_rows("SELECT manychat_id FROM manychat_identity WHERE lead_id = %s", lead)
    return str(row.manychat_id)


def _stage_changed(system: System, _event_id: str, lead: int) -> None:
    _change(system, "UPDATE crm_lead SET stage_id = (SELECT max(id) FROM crm_stage) WHERE id = %s", lead)


def _field_forgotten(system: System, _event_id: str, lead: int) -> None:
    _change_sql(system, "UPDATE opportunities SET summary = NULL WHERE lead_id = :one", lead)


def _change_sql(system: System, statement: str, one: object) -> None:
    engine = sa.create_engine(system.database_url)
    with engine.begin() as connection:
        assert connection.execute(sa.text(statement), {"one": one}).rowcount == 1
    engine.dispose()


def _history_doubled(system: System, _event_id: str, lead: int) -> None:
    _change(
        system,
        """
        INSERT INTO mail_tracking_value (mail_message_id, field_id, old_value_integer, new_value_integer, create_uid)
        SELECT value.mail_message_id, value.field_id, 1, 2, value.create_uid
          FROM mail_tracking_value value JOIN mail_message message ON message.id = value.mail_message_id
          JOIN ir_model_fields field ON field.id = value.field_id AND field.name = 'stage_id'
         WHERE message.model = 'crm.lead' AND message.res_id = %s ORDER BY value.id LIMIT 1
        """,
        lead,
    )


def _change(system: System, statement: str, lead: int) -> None:
    with system.odoo.cluster.connect(system.database) as connection:
        assert connection.execute(statement, [lead]).rowcount == 1


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_outcome_forgotten, lambda verdict: verdict.lost),
        (_stage_changed, lambda verdict: verdict.out_of_order),
        (_history_doubled, lambda verdict: verdict.doubled),
        (_field_forgotten, lambda verdict: verdict.not_in_sql),
        (_mover_forgotten, lambda verdict: verdict.out_of_order),
        (_revenue_changed, lambda verdict: verdict.not_in_sql),
        (_status_changed, lambda verdict: verdict.not_in_sql),
        (_stage_id_changed, lambda verdict: verdict.not_in_sql),
        (_merged_by_mistake, lambda verdict: verdict.not_in_sql),
        (_decided_move_forgotten, lambda verdict: verdict.lost),
        (_decided_status_changed, lambda verdict: verdict.lost),
        (_decided_move_turned, lambda verdict: verdict.out_of_order),
        (_decision_not_stored, lambda verdict: verdict.lost),
        (_mover_of_odoo_forgotten, lambda verdict: verdict.lost),
        (_shown_otherwise, lambda verdict: verdict.not_in_manychat),
        (_flow_twice, lambda verdict: verdict.flows_twice),
    ],
)
def test_damage_is_found(
    system: System,
    person: tuple[str, Ledger],
    damage: Callable[[System, str, int], None],
    found: Callable[[Verdict], list[str]],
) -> None:
    manychat_id, ledger = person
    statement = "SELECT lead_id FROM manychat_identity WHERE manychat_id = %s"
    lead: Any = system.database_rows(statement, manychat_id)[0].lead_id
    event_id = max(ledger.accepted)
    statement = "SELECT event_id FROM manychat_event WHERE type = 'decision' AND manychat_id = %s"
    decisions = [row.event_id for row in system.database_rows(statement, manychat_id)]
    truth = Truth(system)

    def mine() -> list[str]:
        signs = (event_id, manychat_id, f"opportunity {lead} ", f"opportunity {lead}:", *decisions)
        return [line for line in found(truth.examine(ledger)) if any(sign in line for sign in signs)]

    assert mine() == []
    damage(system, event_id, lead)
    assert len(mine()) == 1
    truth.close()
