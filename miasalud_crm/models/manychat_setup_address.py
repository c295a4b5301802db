from odoo import api, models

from ..public_address import ADDRESS_PARAMETER, ANSWERED_PARAMETER, ask, fault, normalized, webhook_address
from ..rights import managers_only
from .manychat_setup import _step


class ManychatSetup(models.AbstractModel):
    """The step of the webhooks' public address."""

    _inherit = "manychat.setup"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _ask(self, address):
        return ask(address)

    def _address_step(self):
        get_param = self.env["ir.config_parameter"].sudo().get_param
        own, address = get_param(ADDRESS_PARAMETER), webhook_address(self.env)
        actions = [(self.env._("Settings"), "miasalud_crm.manychat_settings_action")]
        what = fault(normalized(address))
        if what:
            state = "warning" if own else "todo"
            text = self._address_sentence(what, address)
        elif not own:
            state = "todo"
            text = self.env._(
                "Odoo says that its address is %s. Keep it for the webhooks: Odoo changes its own when an "
                "administrator signs in at another one.",
                address,
            )
            actions.insert(0, (self.env._("Keep This Address"), "keep_address"))
        else:
            answered = get_param(ANSWERED_PARAMETER) == address
            state = "done" if answered else "todo"
            text = self.env._("The webhooks answer at %s.", address)
            if not answered:
                text = self.env._("The webhooks' address is %s. Test whether they answer there.", address)
            actions.insert(0, (self.env._("Test"), "test_address"))
        return _step("address", state, self.env._("The public address"), text, actions)

    @api.model
    def _address_sentence(self, what, address):
        """Why ManyChat cannot use ``address``, and what to write.

        :param str what: of :func:`fault`
        """
        return {
            "scheme": self.env._("ManyChat needs an address that begins with https://, but this one is “%s”.", address),
            "login": self.env._("The address “%s” must not contain a name or password.", address),
            "host": self.env._("“%s” is not an address. Write it like https://crm.example.com.", address),
            "port": self.env._("The port in “%s” is not a number from 1 to 65535.", address),
            "private": self.env._(
                "ManyChat cannot reach %s: that is an address inside your own network. Write the public one, like "
                "https://crm.example.com.",
                address,
            ),
            "path": self.env._(
                "Write only the beginning of the address, like https://crm.example.com: “%s” goes on after it.", address
            ),
        }[what]

    @api.model
    def _test_sentence(self, result, status, address):
        """What the test of ``address`` has shown, and what to do.

        :param str result: of :func:`ask`
        """
        return {
            "ok": self.env._("The webhooks answer at %s.", address),
            "redirect": self.env._(
                "%(address)s leads to another address (%(status)s), and ManyChat does not follow it. Write the address "
                "to which it leads.",
                address=address,
                status=status,
            ),
            "not_found": self.env._(
                "%s answers, but our webhook is not there (404). Perhaps it is another server. If this one has several "
                "databases, the server's administrator sets db_name in odoo.conf to this one.",
                address,
            ),
            "other": self.env._(
                "%(address)s answers, but not as our webhook does (%(status)s). The server's administrator checks that "
                "the proxy passes /api/v1/manychat/ on to Odoo.",
                address=address,
                status=status,
            ),
            "certificate": self.env._(
                "The certificate of %s is not valid, so ManyChat refuses it. The server's administrator renews it.",
                address,
            ),
            "timeout": self.env._(
                "%s does not answer in time. The server's administrator checks the firewall, the proxy, and that Odoo "
                "has more than one worker.",
                address,
            ),
            "unreachable": self.env._(
                "This server cannot reach %s. Check the spelling. The server's administrator checks the name in the "
                "DNS, the firewall and the proxy.",
                address,
            ),
        }[result]

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @managers_only
    def test_address(self):
        """Ask the public address whether our webhook answers there, and say so. For sales managers.

        :return dict: the action that shows it
        :raises AccessError: the user is not a sales manager
        """
        address = normalized(webhook_address(self.env))
        works = False
        if what := fault(address):
            message = self._address_sentence(what, address)
        else:
            result, status = self._ask(address)
            works = result == "ok"
            message = self._test_sentence(result, status, address)
        self.env["ir.config_parameter"].sudo().set_param(ANSWERED_PARAMETER, works and address)
        title = self.env._("The webhooks answer") if works else self.env._("The webhooks do not answer")
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": title,
                "message": message,
                "type": "success" if works else "warning",
                "sticky": not works,
            },
        }

    @api.model
    @managers_only
    def keep_address(self):
        """Make a setting of the address that Odoo has now. For sales managers.

        :raises AccessError: the user is not a sales manager
        """
        address = normalized(webhook_address(self.env))
        if not fault(address):
            self.env["ir.config_parameter"].sudo().set_param(ADDRESS_PARAMETER, address)
