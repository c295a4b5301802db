from odoo import api, fields, models

from bridge.contract.agreements import SILENT_AFTER

from .. import relay_thread
from ..rights import bridge_only

#: Most processes in the answer about those that have ended.
ENDED_SHOWN = 100
#: Most discarded events in one answer to a heartbeat. The next heartbeat comes half a minute later.
DISCARDS_PER_ANSWER = 500
#: The first version of the bridge that takes decisions: major and minor number.
TAKES_DECISIONS = (0, 7)


class ManychatBridge(models.Model):
    """A bridge process: it runs while its heartbeat is recent, unless it has said that it ends."""

    _name = "manychat.bridge"
    _description = "ManyChat Bridge"
    _order = "last_seen desc"

    name = fields.Char(required=True, readonly=True)
    version = fields.Char(readonly=True)
    last_seen = fields.Datetime(readonly=True)
    stopped = fields.Boolean(readonly=True, help="The process has said that it ends. A killed one says nothing.")
    write_back = fields.Char(
        readonly=True,
        help="Whether the process can write to ManyChat. Empty: it never does, is of an older release, or is new.",
    )
    stuck = fields.Char(
        "Standing Still", readonly=True, help="Queues from which the process takes no events any more, though it runs."
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute("CREATE UNIQUE INDEX IF NOT EXISTS manychat_bridge_name_unique ON manychat_bridge (name)")

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _gc_bridges(self):
        """Delete processes that ended long ago: each start has a new name. The newest one stays, for its date."""
        week_ago = fields.Datetime.subtract(fields.Datetime.now(), days=7)
        (self.search([("last_seen", "<", week_ago)]) - self.search([], limit=1)).unlink()

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def heartbeat(self, name, version, stuck=(), write_back=None):
        """Record that a bridge is alive. For the group “ManyChat Bridge”, over RPC.

        :param str name: of the process, e.g. host and process id
        :param str version: of the distribution ``miasalud-bridge``
        :param list stuck: queues whose consumer stands still: the process does not count as running then
        :param str write_back: of :class:`bridge.contract.outcomes.WriteBackState`; none from an older bridge
        :return dict: ``discarded``: events that users discarded in Odoo, and whose dead letters no bridge has reported
            as closed: event id → ``retries``; ``keys``: all keys that bots may use now, as dicts with the fields of
            :class:`bridge.contract.keys.OdooKey`; the standby API takes these too; ``takes_refusals``:
            :meth:`record_refusals` exists; ``settings``: see :meth:`_settings`
        :raises AccessError: the caller is not in that group
        """
        # Events may be waiting, and it may be hours until the next webhook call notices it.
        relay_thread.wake_after_commit(self.env.cr)
        # One statement, so that two processes of the same name do not conflict.
        self.env.cr.execute(
            """
            INSERT INTO manychat_bridge (name, version, stuck, write_back, stopped, last_seen)
                 VALUES (%s, %s, %s, %s, false, now() AT TIME ZONE 'UTC')
            ON CONFLICT (name) DO UPDATE
                    SET version = EXCLUDED.version, stuck = EXCLUDED.stuck, write_back = EXCLUDED.write_back,
                        stopped = EXCLUDED.stopped, last_seen = EXCLUDED.last_seen
            """,
            [
                str(name)[:256],
                str(version)[:64],
                ", ".join(map(str, stuck))[:256] or None,
                str(write_back or "")[:64] or None,
            ],
        )
        events = self.env["manychat.event"].search([("discard_to_report", "=", True)], limit=DISCARDS_PER_ANSWER)
        return {
            "discarded": {event.event_id: event.retries for event in events},
            "keys": self.env["manychat.api.key"].sudo()._for_standby(),
            "takes_refusals": True,
        }

    @api.model
    @bridge_only
    def get_active(self):
        """Bridges with a recent heartbeat. For the group “ManyChat Bridge”, over RPC: health report and ``status``.

        :return list: of dicts, newest first: ``name``, ``version``, ``seconds`` since the last heartbeat, ``stuck``
            (queues whose consumer stands still)
        :raises AccessError: the caller is not in that group
        """
        return [
            {**bridge._as_json(), "stuck": bridge.stuck.split(", ") if bridge.stuck else []}
            for bridge in self._running()
        ]

    @api.model
    @bridge_only
    def get_ended(self):
        """Bridges that do not run any more. For the group “ManyChat Bridge”, over RPC: ``status``.

        :return list: of dicts, newest first, 100 at most: ``name``, ``version``, ``seconds`` since the last heartbeat,
            ``stopped`` (it has said that it ends; else it was killed, or its machine or network is down)
        :raises AccessError: the caller is not in that group
        """
        limit = fields.Datetime.now() - SILENT_AFTER
        ended = self.search(["|", ("stopped", "=", True), ("last_seen", "<=", limit)], limit=ENDED_SHOWN)
        return [{**bridge._as_json(), "stopped": bridge.stopped} for bridge in ended]

    @api.model
    @bridge_only
    def sign_off(self, name):
        """Record that a bridge ends. For the group “ManyChat Bridge”, over RPC.

        It does not count as running from now on. The alert still waits: a bridge that is restarted is back by then.

        :param str name: as in :meth:`heartbeat`
        :return bool: always ``True``
        :raises AccessError: the caller is not in that group
        """
        bridges = self.search([("name", "=", str(name)[:256])])
        bridges.write({"stopped": True, "last_seen": fields.Datetime.now()})
        return True

    # ------------------------------------------------------------
    # Business methods
    # ------------------------------------------------------------

    @api.model
    def _running(self):
        """Those with a recent heartbeat that have not signed off. One that stands still is among them."""
        return self.search([("stopped", "=", False), ("last_seen", ">", fields.Datetime.now() - SILENT_AFTER)])

    def _takes_decisions(self):
        """Whether it takes what users decide off its queue. The version that a person's own build has counts as new."""
        self.ensure_one()
        numbers = (self.version or "").split(".")[:2]
        return not all(number.isdecimal() for number in numbers) or tuple(map(int, numbers)) >= TAKES_DECISIONS

    def _as_json(self):
        self.ensure_one()
        seconds = max((fields.Datetime.now() - self.last_seen).total_seconds(), 0)
        return {"name": self.name, "version": self.version, "seconds": seconds}
