import psycopg2
from psycopg2.extras import Json

from odoo import api, fields, models

from ..rights import managers_only
from .manychat_event import retention_limit

#: Rows of one day about keys that are ours, and as many about others. What comes beyond them is counted without its
#: address: attackers have many.
MOST_PER_DAY = 500
#: Makes processes write one after the other, without waiting: PostgreSQL's advisory lock.
LOCK = 5_170_401


class ManychatWrongKey(models.Model):
    """How many requests came without a valid key: a row for each day, address and beginning of the key.

    Their contents are not kept: anybody can send them.
    """

    _name = "manychat.wrong.key"
    _description = "Requests without a Valid Key"
    _order = "last_at desc, id desc"
    _rec_name = "key_name"

    day = fields.Date(readonly=True, index=True, help="In UTC.")
    address = fields.Char(
        readonly=True,
        help="Where the requests came from. ManyChat has several addresses. Behind a proxy it is the client's if "
        "odoo.conf says proxy_mode = True, else the proxy's. Empty: many addresses together.",
    )
    prefix = fields.Char(
        "Beginning of the Key", readonly=True, help="Empty if the request had no key, or one of another form."
    )
    reason = fields.Selection(
        [
            ("revoked", "Revoked"),
            ("expired", "Expired"),
            ("mistyped", "Mistyped"),
            ("in_address", "In the Address"),
            ("unknown", "Unknown"),
            ("missing", "Missing"),
        ],
        "Key",
        readonly=True,
        help="Revoked, Expired: a key of this list. Mistyped: it begins like a key of this list, and is another. In "
        "the Address: the key belongs into the header X-API-KEY. Unknown: no key of this list begins like it. Missing: "
        "the request had no key.",
    )
    key_name = fields.Char("Bot", readonly=True, help="Description of the key that begins like this.")
    path = fields.Char("Latest Webhook", readonly=True)
    count = fields.Integer("Requests", readonly=True, aggregator="sum")
    seen_count = fields.Integer("Seen", readonly=True, help="How many of them a user has marked as seen.")
    first_at = fields.Datetime("First", readonly=True)
    last_at = fields.Datetime("Latest", readonly=True)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("key_name", "prefix", "address")
    def _compute_display_name(self):
        for row in self:
            row.display_name = row.key_name or row.prefix or row.address or self.env._("Without a valid key")

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_wrong_key_what_unique "
            "ON manychat_wrong_key (day, address, prefix, reason)"
        )

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_seen(self):
        """Mark these requests as seen: the alert is about those that come from now on."""
        for row in self.sudo():
            row.seen_count = row.count

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _add(self, counts):
        """Add ``counts`` in one statement that waits for no other transaction.

        :param list counts: of dicts, see :func:`..wrong_keys.write`
        :return bool: False if another process is writing: nothing was added
        """
        try:
            with self.env.cr.savepoint(flush=False):
                self.env.cr.execute(
                    _ADD, {"counts": Json(counts), "lock": LOCK, "most": MOST_PER_DAY}, log_exceptions=False
                )
                return bool(self.env.cr.rowcount)
        except psycopg2.errors.SerializationFailure:
            return False

    @api.model
    def _unseen(self, since):
        """Rows with requests after ``since`` that no user has marked as seen."""
        return self.search([("last_at", ">=", since)]).filtered(lambda row: row.count > row.seen_count)

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _gc_wrong_keys(self):
        """Delete the counts that are older than the retention time of events."""
        self.search([("day", "<", retention_limit(self.env).date())]).unlink()


_ADD = """
    INSERT INTO manychat_wrong_key AS known (day, address, prefix, reason, key_name, path, count, seen_count,
                                             first_at, last_at, create_date, write_date)
    SELECT sent.day, place.address, place.prefix, sent.reason, max(sent.key_name), max(sent.path), sum(sent.count), 0,
           min(sent.first_at), max(sent.last_at), now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
      FROM (SELECT pg_try_advisory_xact_lock(%(lock)s) AS is_free OFFSET 0) AS queue,
           jsonb_to_recordset(%(counts)s) AS sent (day date, address text, prefix text, reason text, key_name text,
                                                   path text, count int, first_at timestamp, last_at timestamp),
           LATERAL (SELECT EXISTS (SELECT FROM manychat_wrong_key row
                                    WHERE (row.day, row.address, row.prefix, row.reason)
                                          = (sent.day, sent.address, sent.prefix, sent.reason))
                           OR (SELECT count(*) FROM manychat_wrong_key row
                                WHERE row.day = sent.day AND (row.key_name = '') = (sent.key_name = '')
                              ) < %(most)s AS has_room) AS room,
           LATERAL (SELECT CASE WHEN has_room THEN sent.address ELSE '' END AS address,
                           CASE WHEN has_room OR sent.key_name <> '' THEN sent.prefix ELSE '' END AS prefix) AS place
     WHERE queue.is_free
     GROUP BY sent.day, place.address, place.prefix, sent.reason
        ON CONFLICT (day, address, prefix, reason) DO UPDATE
       SET count = known.count + EXCLUDED.count, path = EXCLUDED.path, last_at = EXCLUDED.last_at,
           key_name = EXCLUDED.key_name, write_date = EXCLUDED.write_date
"""
