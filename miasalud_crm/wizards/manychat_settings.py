from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..models.crm_lead_conversation import DEFAULT_TEAM_PARAMETER
from ..models.crm_lead_links import CHAT_URL_ID, CHAT_URL_PARAMETER
from ..models.crm_lead_salesperson import DEFAULT_USER_PARAMETER
from ..models.manychat_alert import DEFAULT_SILENT_MINUTES, RECEIVER_PARAMETER, SILENT_PARAMETER
from ..models.manychat_api_key_state import DEFAULT_QUIET_HOURS, QUIET_PARAMETER
from ..models.manychat_event import DEFAULT_RETENTION_DAYS, RETENTION_PARAMETER
from ..models.manychat_event_lost import DEFAULT_OVERDUE_MINUTES, OVERDUE_PARAMETER
from ..public_address import ADDRESS_PARAMETER, fault, normalized
from ..rights import access_required


class ManychatSettings(models.TransientModel):
    """The settings that a sales manager may change. Odoo's own settings are for administrators only.

    A setting is a field with ``config_parameter``, the system parameter in which it is stored, and its default. Its
    place in the form is all that it needs beside that. Saving writes only what the user has changed.
    """

    _name = "manychat.settings"
    _description = "ManyChat Settings"

    webhook_base_url = fields.Char(
        "Public Address of the Webhooks",
        config_parameter=ADDRESS_PARAMETER,
        help="What the addresses in Requests for ManyChat begin with, like https://crm.example.com. Empty: the address "
        "that Odoo believes to be its own, which changes when an administrator signs in at another one.",
    )
    default_team_id = fields.Many2one(
        "crm.team",
        "Default ManyChat Team",
        config_parameter=DEFAULT_TEAM_PARAMETER,
        help="The team of new opportunities whose stage has no team in the Stage Map. It applies to all companies.",
    )
    default_user_id = fields.Many2one(
        "res.users",
        "Default Salesperson",
        config_parameter=DEFAULT_USER_PARAMETER,
        domain=[("share", "=", False)],
        help="Gets new opportunities whose event names no adviser with an Odoo user, if they may be in the "
        "opportunity's company. Empty: Odoo's own assignment rules, or nobody.",
    )
    chat_url = fields.Char(
        "Address of a Chat",
        config_parameter=CHAT_URL_PARAMETER,
        help="Copy the address of any conversation in ManyChat, and put {manychat_id} in the place of the person's ID.",
    )
    alert_user_id = fields.Many2one(
        "res.users",
        "Alert Receiver",
        config_parameter=RECEIVER_PARAMETER,
        domain=[("share", "=", False)],
        help="Gets an activity when events fail, do not reach the queue, or the bridge is silent. Empty: the leader of "
        "the first sales team that has one, else an administrator.",
    )
    silent_minutes = fields.Integer(
        "Bridge Silent For",
        config_parameter=SILENT_PARAMETER,
        default=DEFAULT_SILENT_MINUTES,
        help="Alert after this many minutes without a heartbeat from any bridge. 0: never.",
    )
    quiet_hours = fields.Float(
        "Quiet After",
        config_parameter=QUIET_PARAMETER,
        default=DEFAULT_QUIET_HOURS,
        help="Alert when a bot that has sent events sends none for so many working hours, by the working hours of the "
        "company, and for longer than it usually does. 0: never.",
    )
    retention_days = fields.Integer(
        "Keep ManyChat Events",
        config_parameter=RETENTION_PARAMETER,
        default=DEFAULT_RETENTION_DAYS,
        help="Days after which finished events are deleted from the log. Events that wait or failed are kept.",
    )
    overdue_minutes = fields.Integer(
        "Overdue After",
        config_parameter=OVERDUE_PARAMETER,
        default=DEFAULT_OVERDUE_MINUTES,
        help="After this many minutes on the queue, a bridge looks for an event, and Odoo sends it again if the queue "
        "has lost it. 0: never.",
    )
    #: What the form has shown at first. A record of another company, which the user cannot see, is empty there, and a
    #: value that another manager changes meanwhile is not theirs: neither is written unless this user changes it.
    loaded = fields.Json(default=lambda self: self._stored_values())
    odoo_address = fields.Char("Odoo's Own Address", compute="_compute_odoo_address")
    can_use_odoo_address = fields.Boolean(compute="_compute_odoo_address")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("webhook_base_url")
    def _check_webhook_base_url(self):
        for settings in self.filtered("webhook_base_url"):
            address = normalized(settings.webhook_base_url)
            if what := fault(address):
                raise ValidationError(self.env["manychat.setup"]._address_sentence(what, address))

    @api.constrains("chat_url")
    def _check_chat_url(self):
        for url in self.filtered("chat_url").mapped("chat_url"):
            if not (url.strip().startswith("https://") and CHAT_URL_ID in url):
                raise ValidationError(
                    self.env._("The address of a chat must begin with https:// and contain %s.", CHAT_URL_ID)
                )

    @api.constrains("quiet_hours")
    def _check_quiet_hours(self):
        if any(settings.quiet_hours < 0 for settings in self):
            raise ValidationError(self.env._("A number of hours is 0 or more. 0 means never."))

    @api.constrains("retention_days", "silent_minutes", "overdue_minutes")
    def _check_numbers(self):
        for settings in self:
            if settings.retention_days < 1:
                raise ValidationError(self.env._("ManyChat events must be kept for one day at least."))
            if settings.silent_minutes < 0 or settings.overdue_minutes < 0:
                raise ValidationError(self.env._("A number of minutes is 0 or more. 0 means never."))

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("webhook_base_url")
    def _compute_odoo_address(self):
        """What Odoo believes to be its own address, where the webhooks have another one."""
        own = self.env["ir.config_parameter"].sudo().get_param("web.base.url", "").rstrip("/")
        for settings in self:
            settings.odoo_address = own if normalized(settings.webhook_base_url or "") != own else False
            settings.can_use_odoo_address = not (settings.webhook_base_url or fault(own))

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _valid_field_parameter(self, field, name):
        return name == "config_parameter" or super()._valid_field_parameter(field, name)

    @api.model
    def default_get(self, fields):
        values = super().default_get(fields)
        return values | {name: value for name, value in self._stored_values().items() if name in fields}

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def execute(self):
        """Save what the user has changed, and show the page anew. The name is that of Odoo's own settings form."""
        self.ensure_one()
        self._save()
        return {"type": "ir.actions.client", "tag": "soft_reload"}

    @access_required("read")
    def cancel(self):
        """Show the page anew. The name is that of Odoo's own settings form."""
        return {"type": "ir.actions.client", "tag": "soft_reload"}

    @access_required("write")
    def action_test_address(self):
        """Save, then show whether our webhook answers at the public address."""
        self.ensure_one()
        self._save()
        notice = self.env["manychat.setup"].test_address()
        notice["params"]["next"] = {"type": "ir.actions.client", "tag": "soft_reload"}
        return notice

    @access_required("write")
    def action_use_odoo_address(self):
        """Take over the address that Odoo believes to be its own."""
        self.ensure_one()
        self.webhook_base_url = self.odoo_address
        self._save()
        return {"type": "ir.actions.client", "tag": "soft_reload"}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _parameters(self):
        """Pairs of field and the system parameter that stores it."""
        return [
            (field, field.config_parameter)
            for field in self._fields.values()
            if getattr(field, "config_parameter", None)
        ]

    @api.model
    def _stored_values(self):
        """The present value of each setting, as ``create`` takes it."""
        get_param = self.env["ir.config_parameter"].sudo().get_param
        return {field.name: self._read_value(field, get_param(parameter)) for field, parameter in self._parameters()}

    @api.model
    def _read_value(self, field, text):
        """The value of ``field`` that ``text``, from the system parameter, stands for; its default if for none."""
        default = field.default(self) if field.default else False
        try:
            if field.type == "many2one":
                # A search does not find what was deleted or archived, or what this user cannot see.
                return self.env[field.comodel_name].search([("id", "=", int(text or 0))]).id
            if not text:
                return default
            if field.type in ("integer", "float"):
                return int(text) if field.type == "integer" else float(text)
            return text == "True" if field.type == "boolean" else text
        except ValueError:
            return default

    def _save(self):
        """Write what differs from what the form has shown at first."""
        loaded = self.loaded or {}
        for field, parameter in self._parameters():
            value = self._settled(field)
            if value != loaded.get(field.name, False):
                # As text: Odoo deletes a parameter that is 0 or False.
                self.env["ir.config_parameter"].sudo().set_param(parameter, value is not False and str(value))
        self.loaded = self._stored_values()

    def _settled(self, field):
        value = self[field.name]
        if field.type == "many2one":
            return value.id
        if field.type == "char":
            value = normalized(value or "") if field.name == "webhook_base_url" else (value or "").strip()
            return value or False
        return value
