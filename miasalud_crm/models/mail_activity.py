from odoo import models


class MailActivity(models.Model):
    _inherit = "mail.activity"

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        # Activities of users are not in it.
        self.env.cr.execute(
            "CREATE INDEX IF NOT EXISTS mail_activity_manychat ON mail_activity (activity_type_id, id) "
            "WHERE automated AND active"
        )
        return super().init()
