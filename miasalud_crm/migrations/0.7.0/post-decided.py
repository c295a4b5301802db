"""Each conversation has the moment of the last decision. What a user decided before is in the stage history."""


def migrate(cr, version):
    cr.execute(
        """
        UPDATE manychat_identity identity SET decided_at = decided.at
          FROM (SELECT lead_id, max(entered_at) AS at FROM manychat_stage_history
                 WHERE moved_by = 'person' AND (previous_stage_id IS NOT NULL OR user_id IS NOT NULL)
                 GROUP BY lead_id) AS decided
         WHERE decided.lead_id = identity.lead_id AND identity.decided_at IS NULL
        """
    )
