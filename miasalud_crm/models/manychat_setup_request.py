from odoo import api, models

from ..public_address import webhook_address
from ..sentences import menu_path

KEYS = "miasalud_crm.manychat_api_key_menu"
SETTINGS = "miasalud_crm.manychat_settings_menu"


class ManychatSetup(models.AbstractModel):
    """The messages to an administrator: what to do, where, why, and the exact names of the settings.

    A sales manager copies them, and sends them to the administrator of Odoo or of the server.
    """

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    def _request(self, title, text, why, to_do):
        """The message for one step.

        :param str title: of the step
        :param str text: its present state
        :param str why: what does not work without it
        :param list to_do: what to do, one sentence each
        """
        lines = [f"{number}. {line}" for number, line in enumerate(to_do, 1)]
        return "\n".join(
            [
                self.env._("Hello,"),
                "",
                self.env._(
                    "Our Odoo %(address)s (database %(database)s) needs something for ManyChat that only an "
                    "administrator can do: %(title)s.",
                    address=self.env["ir.config_parameter"].sudo().get_param("web.base.url", ""),
                    database=self.env.cr.dbname,
                    title=title,
                ),
                "",
                self.env._("State: %s", text),
                "",
                self.env._("To do:"),
                *lines,
                "",
                self.env._("Why: %s", why),
                "",
                self.env._(
                    "When it is done, the step “%(step)s” turns green by itself, under %(menu)s.",
                    step=title,
                    menu=menu_path(self.env, "miasalud_crm.manychat_getting_started_menu"),
                ),
                "",
                self.env._("Thank you, %s", self.env.user.name),
            ]
        )

    @api.model
    def _key_request(self, title, text):
        why = self.env._("Odoo refuses each event of our bots that comes without a valid key, with the answer 401.")
        to_do = [
            self.env._("In Odoo, open %s, and press New Key.", menu_path(self.env, KEYS)),
            self.env._(
                "Choose “For a bot”, the time zone of our ManyChat account, and a description such as “ManyChat bot”."
            ),
            self.env._(
                "Send the key to me in a safe way. Odoo shows it once. It goes into the header X-API-KEY of the "
                "requests in ManyChat."
            ),
        ]
        return self._request(title, text, why, to_do)

    @api.model
    def _queue_request(self, title, text):
        why = self.env._(
            "The queue carries the events from Odoo to the bridge. Until it works, the events wait in Odoo, and no "
            "opportunity moves."
        )
        to_do = [
            self.env._(
                "In Azure, open the storage account for the queues, or create one, and copy its connection string "
                "(Storage account ▸ Access keys)."
            ),
            self.env._(
                "On Odoo's server, write it into odoo.conf, section [miasalud_crm], as queue_connection_string = …; or "
                "into the environment variable MIASALUD_QUEUE_CONNECTION_STRING."
            ),
            self.env._(
                "To log in without a secret instead, set queue_account_url to the account's URL, and give the server's "
                "identity the roles “Storage Queue Data Message Sender” and “Storage Queue Data Reader”."
            ),
            self.env._("Let the server reach the storage account over the internet (port 443)."),
        ]
        return self._request(title, text, why, to_do)

    @api.model
    def _jobs_request(self, title, text):
        why = self.env._(
            "The scheduled actions send the events to the queue, let waiting events through, look for problems and "
            "delete old events."
        )
        to_do = [
            self.env._(
                "In odoo.conf, section [options], set max_cron_threads to 1 or more, and restart Odoo. If another "
                "server runs the scheduled actions, start that one."
            ),
            self.env._(
                "In Odoo, open %s (in developer mode), and activate those whose name begins with “ManyChat”.",
                menu_path(self.env, "base.menu_ir_cron_act"),
            ),
            self.env._("If one of them is missing, upgrade the app MiaSalud CRM."),
        ]
        return self._request(title, text, why, to_do)

    @api.model
    def _address_request(self, title, text):
        why = self.env._(
            "ManyChat calls our webhooks over the internet, and only under an address that begins with https:// and "
            "has a valid certificate."
        )
        to_do = [
            self.env._(
                "Make %s, or another name, reachable from the internet by https, with a valid certificate.",
                webhook_address(self.env),
            ),
            self.env._("Let the proxy pass the addresses under /api/v1/manychat/ on to Odoo, with all headers."),
            self.env._(
                "If the server has several databases, set db_name in odoo.conf, section [options], to %s.",
                self.env.cr.dbname,
            ),
            self.env._("Tell me the address. It goes into %s.", menu_path(self.env, SETTINGS)),
        ]
        return self._request(title, text, why, to_do)

    @api.model
    def _bridge_request(self, title, text):
        why = self.env._("The bridge takes the events off the queue, stores them in SQL, and moves the opportunities.")
        to_do = [
            self.env._("In Odoo, open %s, press New Key, and choose “For the bridge”.", menu_path(self.env, KEYS)),
            self.env._(
                "On the bridge's server, set BRIDGE_ODOO_URL, BRIDGE_ODOO_DATABASE=%s, BRIDGE_ODOO_API_KEY (the new "
                "key), BRIDGE_QUEUE_CONNECTION_STRING (the queue of Odoo) and BRIDGE_DATABASE_URL (Azure SQL).",
                self.env.cr.dbname,
            ),
            self.env._("Run “python -m bridge check”: it says what is missing."),
            self.env._("Start “python -m bridge run”, as a service that starts again by itself."),
        ]
        return self._request(title, text, why, to_do)
