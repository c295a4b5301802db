"""Since when customers wait: from what the opportunities and their chatter already say.

A customer who wrote in the last week may still expect an answer. Older words wait for none: a list of all of them would
hide these.
"""


def migrate(cr, version):
    # Each value has the place in the order of events of its event: its date comes first.
    cr.execute(
        """
        UPDATE crm_lead
           SET manychat_words_at = COALESCE(
                   NULLIF(split_part(manychat_versions->>'manychat_summary', '|', 1), '')::timestamptz
                       AT TIME ZONE 'UTC',
                   manychat_last_event_date)
         WHERE manychat_summary <> '' AND manychat_words_at IS NULL
        """
    )
    # An order without an event's id at its end is a user's move.
    cr.execute(
        """
        WITH recent AS (
            SELECT lead.id, lead.manychat_words_at AS words_at,
                   lead.active AND NOT COALESCE(stage.is_won, FALSE) AS open,
                   GREATEST(CASE WHEN lead.manychat_order LIKE '%|' THEN lead.manychat_last_date END,
                       (SELECT max(message.date)
                          FROM mail_message message
                          JOIN res_users author ON author.partner_id = message.author_id
                         WHERE message.model = 'crm.lead' AND message.res_id = lead.id
                           AND author.id <> 1 AND NOT author.share
                           AND (message.message_type IN ('comment', 'email', 'sms', 'whatsapp_message')
                                OR message.mail_activity_type_id IS NOT NULL))) AS acted_at
              FROM crm_lead lead LEFT JOIN crm_stage stage ON stage.id = lead.stage_id
             WHERE lead.manychat_words_at > (now() AT TIME ZONE 'UTC') - interval '7 days'
               AND lead.manychat_answered_at IS NULL AND lead.manychat_waits_since IS NULL
        )
        UPDATE crm_lead
           SET manychat_answered_at = recent.acted_at,
               manychat_waits_since = CASE WHEN open AND words_at > COALESCE(acted_at, '-infinity') THEN words_at END
          FROM recent WHERE recent.id = crm_lead.id
        """
    )
