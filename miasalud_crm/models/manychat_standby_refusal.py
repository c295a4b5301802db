from psycopg2.extras import Json

from odoo import api, fields, models

from ..rights import managers_only
from .manychat_event import retention_limit

#: Codes of the standby for requests without a valid key.
WITHOUT_KEY = ("missing_key", "wrong_key", "key_in_address")


class ManychatStandbyRefusal(models.Model):
    """How often the standby refused requests while Odoo was down: a row for each day, bot, webhook and answer.

    A bridge reports the counts. The standby keeps nothing of what the requests said, so they are no deliveries.
    """

    _name = "manychat.standby.refusal"
    _description = "Request Refused by the Standby"
    _order = "last_at desc, id desc"
    _rec_name = "key_name"

    digest = fields.Char(readonly=True, help="By which the bridge names the row.")
    key_name = fields.Char("Bot", readonly=True, help="Description of the key; empty without a valid key.")
    key_prefix = fields.Char("Beginning of the Key", readonly=True)
    address = fields.Char(
        readonly=True, help="Where requests without a valid key came from. Empty: many addresses together."
    )
    path = fields.Char("Webhook", readonly=True)
    code = fields.Char("Answer", readonly=True, help="The code of the answer, or how the key was wrong.")
    count = fields.Integer("Requests", readonly=True, aggregator="sum")
    seen_count = fields.Integer("Seen", readonly=True, help="How many of them a user has marked as seen.")
    first_at = fields.Datetime("First", readonly=True)
    last_at = fields.Datetime("Latest", readonly=True, index=True)

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("key_name", "key_prefix", "address")
    def _compute_display_name(self):
        for row in self:
            row.display_name = row.key_name or row.key_prefix or row.address or self.env._("Without a valid key")

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_standby_refusal_digest_unique "
            "ON manychat_standby_refusal (digest)"
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
    def _record(self, refusals):
        """Take over ``refusals``, which are totals: those that are known already change nothing.

        :param list refusals: of dicts, see :meth:`.ManychatBridge.record_refusals`
        """
        self.env.cr.execute(_RECORD, {"refusals": Json(refusals), "wrong": list(WITHOUT_KEY)})
        self.invalidate_model()

    @api.model
    def _unseen(self, since, without_key):
        """Rows with requests after ``since`` that no user has marked as seen.

        :param bool without_key: those without a valid key, or the others
        """
        rows = self.search([("last_at", ">=", since), ("code", "in" if without_key else "not in", WITHOUT_KEY)])
        return rows.filtered(lambda row: row.count > row.seen_count)

    @api.model
    def _counts(self, since):
        """How many requests came after ``since``.

        :return tuple: those with a valid key, those without
        """
        rows = self.search([("last_at", ">=", since)])
        without_key = rows.filtered(lambda row: row.code in WITHOUT_KEY)
        return sum((rows - without_key).mapped("count")), sum(without_key.mapped("count"))

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.autovacuum
    def _gc_refusals(self):
        """Delete the counts that are older than the retention time of events."""
        self.search([("last_at", "<", retention_limit(self.env))]).unlink()


#: The name of a bot whose wrong key begins like one of ours comes from our list.
_RECORD = """
    INSERT INTO manychat_standby_refusal AS known (digest, key_name, key_prefix, address, path, code, count, seen_count,
                                                   first_at, last_at, create_date, write_date)
    SELECT sent.digest,
           CASE WHEN sent.code <> ALL (%(wrong)s) THEN sent.key_name
                ELSE (SELECT api_key.name FROM manychat_api_key api_key WHERE api_key.prefix = sent.key_prefix
                       ORDER BY api_key.id DESC LIMIT 1) END,
           sent.key_prefix, sent.address, sent.path, sent.code, sent.requests, 0,
           date_trunc('second', sent.first_at AT TIME ZONE 'UTC'),
           date_trunc('second', sent.last_at AT TIME ZONE 'UTC'),
           now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
      FROM jsonb_to_recordset(%(refusals)s) AS sent (digest text, key_name text, key_prefix text, address text,
                                                     path text, code text, requests int,
                                                     first_at timestamptz, last_at timestamptz)
        ON CONFLICT (digest) DO UPDATE
       SET count = GREATEST(known.count, EXCLUDED.count), last_at = GREATEST(known.last_at, EXCLUDED.last_at),
           write_date = EXCLUDED.write_date
"""
