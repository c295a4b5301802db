from odoo import api, fields, models

from ..apply.state import HOME, bridge_user_id, in_language, moment
from ..rights import bridge_only

#: Since when decisions are recorded, in naive UTC: each later move by a user is one.
SINCE_PARAMETER = "miasalud_crm.decisions_since"

# Of several conversations of an opportunity, the past is that of the first one: merged ones had another opportunity.
# Odoo's history does not say who lost an opportunity. A stage that was deleted has no name.
_MOVES = (
    """
    WITH {home}, periods AS (
        SELECT identity.manychat_id, history.id, history.lead_id, {stage} AS stage, stage.is_won, history.stage_id,
               history.entered_at, history.left_at, history.lost, history.moved_by, history.user_id, history.event_id,
               lag({stage}) OVER earlier AS stage_before, lag(history.lost) OVER earlier AS was_lost
          FROM manychat_identity identity
          CROSS JOIN home
          JOIN manychat_stage_history history ON history.lead_id = identity.lead_id
          LEFT JOIN crm_stage stage ON stage.id = history.stage_id
         WHERE identity.manychat_id = ANY(%(manychat_ids)s)
           AND NOT EXISTS (SELECT FROM manychat_identity other
                            WHERE other.lead_id = identity.lead_id
                              AND (other.sequence, other.id) < (identity.sequence, identity.id))
        WINDOW earlier AS (PARTITION BY identity.id ORDER BY history.id)
    ), moves AS (
        SELECT manychat_id, lead_id, id, 1 AS part, CASE WHEN was_lost IS NOT TRUE THEN stage_before END AS stage_from,
               stage AS stage_to, entered_at AS moment, moved_by, user_id, event_id,
               CASE WHEN is_won THEN 'won' ELSE 'open' END AS status
          FROM periods WHERE stage IS NOT NULL
         UNION ALL
        SELECT manychat_id, lead_id, id, 2, stage, NULL, left_at, 'other', NULL, NULL, 'lost' FROM periods WHERE lost
    )
    SELECT manychat_id, lead_id, format('%%s-%%s', id, part) AS key, stage_from, stage_to, {moment} AS moment, moved_by,
           user_id, event_id, status
      FROM moves
     WHERE CASE WHEN event_id IS NULL THEN moved_by <> 'chat' AND moment < %(since)s::timestamp ELSE true END
     ORDER BY manychat_id, id, part
""".replace("{home}", HOME)
    .replace("{stage}", in_language("stage.name"))
    .replace("{moment}", moment("moment"))
)


class CrmLead(models.Model):
    """What SQL lacks of the time before decisions were recorded: the moves by users."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _manychat_begin_decisions(self):
        """Note that decisions are recorded from now on. Each installation and upgrade runs this; the first one counts.

        Earlier code decides nothing, and this code does only once the transaction of the upgrade is over.
        """
        parameters = self.env["ir.config_parameter"].sudo()
        if not parameters.get_param(SINCE_PARAMETER):
            parameters.set_param(SINCE_PARAMETER, fields.Datetime.to_string(fields.Datetime.now()))

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def manychat_get_stage_history(self, manychat_ids):
        """The moves of opportunities that SQL may lack: users' from before decisions were recorded, and the chat's.

        For the group “ManyChat Bridge”, over RPC. Users' later moves have decisions of their own.

        :param list manychat_ids: of people; 1,000 at most
        :return list: dicts of ``manychat_id``, ``lead_id``, ``key`` (always the same for a move), ``stage_from`` and
            ``stage_to`` (names; ``None`` where it was in no stage), ``moment``, ``moved_by``, ``user_id``,
            ``event_id`` (of the chat's event; else ``None``) and ``status`` after the move, oldest first
        :raises AccessError: the caller is not in that group
        """
        since = self.env["ir.config_parameter"].sudo().get_param(SINCE_PARAMETER) or "-infinity"
        self.env["manychat.stage.history"].flush_model()
        parameters = {
            "manychat_ids": [str(each) for each in manychat_ids][:1000],
            "since": since,
            "bridge_user": bridge_user_id(self.env),
        }
        self.env.cr.execute(_MOVES, parameters)
        return self.env.cr.dictfetchall()
