"""Old events are deleted beside everything else: bridges and people who hold some of them, and bots that go on."""

from psycopg import Connection

from tests.world import Chat, World

COUNT = 2500
OLD = "event_id LIKE 'old %'"


def run_job(world: World, name: str) -> bool:
    """Whether the scheduled action ran: Odoo lets no one start it while it runs."""
    [job] = world.odoo("ir.model.data", "search_read", [["name", "=", name]], fields=["res_id"])
    try:
        world.odoo("ir.cron", "method_direct_trigger", [job["res_id"]])
    except RuntimeError:
        return False
    return True


def add_old(connection: Connection, event_id: str) -> None:
    """Copies of an event's row, received long ago."""
    columns = "type, manychat_id, state, payload, source, occurred_at, outcome, create_uid, create_date"
    connection.execute(
        f"INSERT INTO manychat_event (event_id, received_at, {columns}) "
        f"SELECT 'old ' || n, received_at - interval '200 days' + n * interval '1 second', {columns} "
        f"FROM manychat_event, generate_series(1, {COUNT}) AS n WHERE event_id = %s",
        [event_id],
    )
    connection.commit()


def test_old_events_go_while_another_transaction_holds_one_and_bots_go_on(world: World, chat: Chat) -> None:
    applied = chat.enters(17)
    assert world.settled(applied) == ["created"]
    cluster, database = world.stack.odoo.cluster, world.stack.database
    with cluster.connect(database) as holder, cluster.connect(database, autocommit=True) as reader:

        def left() -> list[str]:
            return [name for (name,) in reader.execute(f"SELECT event_id FROM manychat_event WHERE {OLD}")]

        def deleted_but_for(names: list[str]) -> bool:
            return run_job(world, "cron_retention") and left() == names

        add_old(holder, applied)
        holder.execute("SELECT FROM manychat_event WHERE event_id = 'old 7' FOR UPDATE")
        assert world.eventually(lambda: deleted_but_for(["old 7"]))
        assert world.settled(chat.enters(18, 1)) == ["moved"]
        holder.rollback()
        assert world.eventually(lambda: deleted_but_for([]))
    assert world.odoo("manychat.event", "search_count", [["event_id", "=", applied]]) == 1
