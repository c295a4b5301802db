-- The bots' keys: a webhook called by mistake must not fill the copy.
UPDATE manychat_api_key
   SET active = false;

-- The keys of the bridge, and of everyone else who may apply events: the copy must take no event from production.
DELETE FROM res_users_apikeys
 WHERE user_id IN (
       SELECT member.uid
         FROM res_groups_users_rel member
         JOIN ir_model_data data ON data.res_id = member.gid
        WHERE data.module = 'miasalud_crm'
          AND data.model = 'res.groups'
          AND data.name IN ('group_bridge', 'group_webhook')
);

-- What people decide in the copy reaches no customer's bot.
UPDATE manychat_write_back
   SET enabled = false;
