from psycopg2.extras import Json

from odoo import api, fields, models

#: Most characters of ManyChat's own words that are kept.
MOST_WORDS = 300


class ManychatIdentity(models.Model):
    """Whether ManyChat refused what was decided about this person. A merge keeps it with the conversation."""

    _inherit = "manychat.identity"  # pylint: disable=consider-merging-classes-inherited

    unsent_at = fields.Datetime(readonly=True, copy=False)
    unsent_code = fields.Char(readonly=True, copy=False)
    unsent_message = fields.Char(readonly=True, copy=False)
    unsent_event_id = fields.Char(readonly=True, copy=False)
    unsent = fields.Boolean(
        "Refused by ManyChat", readonly=True, copy=False, help="ManyChat refused it, and no user has marked it as seen."
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            "CREATE INDEX IF NOT EXISTS manychat_identity_unsent ON manychat_identity (lead_id) WHERE unsent"
        )
        return super().init()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _forget_unsent(self):
        """Delete what ManyChat said about these people."""
        self.write({"unsent": False, "unsent_message": False, "unsent_event_id": False})

    @api.model
    def _record_write_back(self, results):
        """Take over what ManyChat answered: of each person the latest answer, whatever the order of the reports.

        A report that comes again changes nothing: what a user has marked as seen stays so.

        :param list results: of dicts, see :meth:`.CrmLead.manychat_record_write_back`
        """
        rows = [
            {
                "manychat_id": str(each["manychat_id"]),
                "code": str(each.get("code") or "")[:64],
                "message": " ".join(str(each.get("message") or "").split())[:MOST_WORDS],
                "event_id": str(each.get("event_id") or "")[:128],
                "at": each["at"],
            }
            for each in results
        ]
        self.flush_model()
        self.env.cr.execute(_RECORD, [Json(rows)])
        self.invalidate_model()


#: Of two reports of the same moment the first stays.
_RECORD = """
    UPDATE manychat_identity known
       SET unsent_at = latest.at, unsent_code = NULLIF(latest.code, ''), unsent_event_id = NULLIF(latest.event_id, ''),
           unsent_message = NULLIF(latest.message, ''), unsent = latest.code <> ''
      FROM (SELECT DISTINCT ON (sent.manychat_id) sent.manychat_id, sent.code, sent.message, sent.event_id,
                   sent.at AT TIME ZONE 'UTC' AS at
              FROM jsonb_to_recordset(%s) AS sent (manychat_id text, code text, message text, event_id text,
                                                   at timestamptz)
             ORDER BY sent.manychat_id, sent.at DESC) AS latest
     WHERE known.manychat_id = latest.manychat_id AND (known.unsent_at IS NULL OR known.unsent_at < latest.at)
"""
