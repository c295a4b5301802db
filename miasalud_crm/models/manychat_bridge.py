from datetime import timedelta

from odoo import api, fields, models

from .. import cron_threads
from ..rights import bridge_only

#: A bridge shows itself every 30 seconds; after this long without a sign it is not counted as alive.
ALIVE = timedelta(minutes=2)
#: Discards told in one answer; there is another in half a minute.
DISCARDS_TOLD = 500


class ManychatBridge(models.Model):
    """A running bridge process, known by its heartbeat."""

    _name = "manychat.bridge"
    _description = "ManyChat Bridge"
    _order = "last_seen desc"

    name = fields.Char(required=True, readonly=True)
    version = fields.Char(readonly=True)
    last_seen = fields.Datetime(readonly=True)

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
        """Forget processes that ended long ago: each start has a new name. The newest stays, to say since when."""
        week_ago = fields.Datetime.subtract(fields.Datetime.now(), days=7)
        (self.search([("last_seen", "<", week_ago)]) - self.search([], limit=1)).unlink()

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def heartbeat(self, name, version):
        """Note that a bridge is alive. For the group “ManyChat Bridge”, over RPC.

        :param str name: which process, e.g. host and process id
        :param str version: of the distribution ``miasalud-bridge``
        :return dict: ``discarded``: events that people gave up here, of which no bridge has reported yet that it closed
            their dead letters: ``retries`` of each by event id
        :raises AccessError: the caller is not in that group
        """
        # Events may be waiting, and no webhook may come for hours to find out.
        cron_threads.restart_if_dead()
        # One statement, so that two processes of one name do not collide.
        self.env.cr.execute(
            """
            INSERT INTO manychat_bridge (name, version, last_seen) VALUES (%s, %s, now() AT TIME ZONE 'UTC')
            ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, last_seen = EXCLUDED.last_seen
            """,
            [str(name)[:256], str(version)[:64]],
        )
        events = self.env["manychat.event"].search([("discard_to_report", "=", True)], limit=DISCARDS_TOLD)
        return {"discarded": {event.event_id: event.retries for event in events}}

    @api.model
    @bridge_only
    def get_active(self):
        """The bridges that have shown themselves lately. For the group “ManyChat Bridge”, over RPC: its health report
        and `status` tell of them.

        :return list: of dicts, newest first: ``name``, ``version``, ``seconds`` since the last sign of life
        :raises AccessError: the caller is not in that group
        """
        now = fields.Datetime.now()
        lately = self.search([("last_seen", ">", now - ALIVE)])
        return [
            {
                "name": bridge.name,
                "version": bridge.version,
                "seconds": max((now - bridge.last_seen).total_seconds(), 0),
            }
            for bridge in lately
        ]
