"""A server that stops answering while connections to it are open: nothing waits for it without end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bridge.errors import StoreUnavailable
from bridge.store import frozen
from bridge.store.engine import create_engine, in_transaction, patience

from ..freezer import Freezer
from .conftest import Store


@pytest.fixture
def freezer(store: Store) -> Iterator[Freezer]:
    url = store.engine.url
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no server")
    if not url.host or not url.port:
        pytest.skip("the server of these tests has no address")
    freezer = Freezer(url.host, url.port)
    yield freezer
    freezer.end()


def work(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.literal(1))).scalar_one())


def through(freezer: Freezer, store: Store) -> sa.Engine:
    """An engine that reaches the server by way of ``freezer``."""
    url = store.engine.url.set(host="127.0.0.1", port=freezer.port).render_as_string(hide_password=False)
    options = {"connect_args": {"connect_timeout": 2}} if store.engine.dialect.name == "postgresql" else {}
    return create_engine(url, options)


@pytest.mark.timeout(120)
def test_a_frozen_server_is_an_outage_and_is_used_again_when_it_answers(
    store: Store, freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "PING_SECONDS", 1)
    engine = through(freezer, store)
    assert in_transaction(engine, work) == 1  # the pool has a connection now
    freezer.freeze()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            in_transaction(engine, work)
    freezer.thaw()

    assert in_transaction(engine, work) == 1
    engine.dispose()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("statements", [1, 0], ids=["statement", "commit"])
def test_a_server_that_freezes_in_the_middle_of_a_transaction_is_an_outage(
    store: Store, freezer: Freezer, monkeypatch: pytest.MonkeyPatch, statements: int
) -> None:
    monkeypatch.setattr(frozen, "PING_SECONDS", 1)
    monkeypatch.setattr(frozen, "STATEMENT_SECONDS", 1)
    engine = through(freezer, store)

    def work_and_freeze(connection: sa.Connection) -> None:
        work(connection)
        freezer.freeze()
        for _ in range(statements):
            work(connection)

    with pytest.raises(StoreUnavailable, match="no answer in time"):
        in_transaction(engine, work_and_freeze)
    freezer.thaw()
    assert in_transaction(engine, work) == 1
    engine.dispose()


@pytest.mark.timeout(120)
def test_a_slow_statement_is_ended_on_the_server_too_unless_it_may_take_its_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no limit; the driver of SQL Server ends it by itself")
    monkeypatch.setattr(frozen, "STATEMENT_SECONDS", 1)
    engine = create_engine(store.engine.url.render_as_string(hide_password=False))
    asleep = sa.text("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        in_transaction(engine, lambda connection: connection.execute(sa.text("SELECT pg_sleep(100)")))
    with store.engine.connect() as connection:
        while connection.execute(asleep).scalar_one():
            pass

    def work_long(connection: sa.Connection) -> None:
        with patience(connection):
            connection.execute(sa.text("SELECT pg_sleep(2)"))

    in_transaction(engine, work_long)
    engine.dispose()


def test_the_ping_passes_while_the_server_answers_and_leaves_no_transaction(store: Store) -> None:
    if store.engine.dialect.name != "postgresql":
        pytest.skip("the others have no ping of ours, or another one")
    with store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert store.engine.dialect.do_ping(driver)  # type: ignore[arg-type]
        assert driver.info.transaction_status.name == "IDLE"  # type: ignore[union-attr]
        assert connection.execute(sa.select(sa.literal(1))).scalar_one() == 1
