from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..manychat_account import FIELD, TAG, NoAnswer, account
from ..queues import is_neutralized
from ..rights import access_required
from ..sentences import in_language

#: What is written, and the types of custom fields that take it. ManyChat refuses a text for a number.
FIELD_TYPES = {
    "stage_field_id": ("text",),
    "stage_id_field_id": ("number", "text"),
    "salesperson_field_id": ("text",),
    "status_field_id": ("text",),
}
TAGS = ("won_tag_id", "lost_tag_id")


def _field(label, name, **kwargs):
    domain = [("kind", "=", FIELD), ("field_type", "in", FIELD_TYPES[name])]
    return fields.Many2one("manychat.account.item", label, domain=domain, ondelete="restrict", tracking=True, **kwargs)


def _tag(label, **kwargs):
    domain = [("kind", "=", TAG)]
    return fields.Many2one("manychat.account.item", label, domain=domain, ondelete="restrict", tracking=True, **kwargs)


class ManychatWriteBack(models.Model):
    """What people decide in Odoo and ManyChat gets to know. One record; the bridge gets it with each heartbeat.

    The API token is a setting of the server, see :mod:`..configuration`.
    """

    _name = "manychat.write.back"
    _description = "Tell ManyChat"
    # The chatter says who switched it on or off, and who chose what.
    _inherit = ["mail.thread"]

    enabled = fields.Boolean(
        "Tell ManyChat",
        tracking=True,
        help="Saved at once. Off: nothing is written into ManyChat, and no flow is started. Choices are kept.",
    )
    stage_field_id = _field(
        "Stage", "stage_field_id", help="Gets the label of the stage, as the Stage Map has it. Type Text."
    )
    stage_id_field_id = _field(
        "Number of the Stage",
        "stage_id_field_id",
        help="Gets the ManyChat ID of the stage, as the Stage Map has it. Type Number or Text.",
    )
    salesperson_field_id = _field("Salesperson", "salesperson_field_id", help="Gets the salesperson's name. Type Text.")
    status_field_id = _field("Open, Won or Lost", "status_field_id", help="Gets open, won or lost. Type Text.")
    won_tag_id = _tag("Tag When Won", help="The person gets this tag when the opportunity is won.")
    lost_tag_id = _tag("Tag When Lost", help="The person gets this tag when the opportunity is lost.")
    flow_count = fields.Integer("Stages with a Flow", compute="_compute_flow_count")
    item_count = fields.Integer(compute="_compute_item_count")
    refreshed_at = fields.Datetime(
        "Last Refresh", readonly=True, help="When ManyChat last gave its custom fields, tags and flows."
    )
    warning = fields.Text(compute="_compute_warning")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains(*FIELD_TYPES, *TAGS)
    def _check_items(self):
        for settings in self:
            for name, types in FIELD_TYPES.items():
                if settings[name] and not settings._takes(name):
                    raise ValidationError(settings._unfit_sentence(name, types))
            if any(settings[name].kind not in (False, TAG) for name in TAGS):
                raise ValidationError(self.env._("Choose a tag here."))
            chosen = [settings[name].id for name in FIELD_TYPES if settings[name]]
            if len(chosen) > len(set(chosen)):
                raise ValidationError(self.env._("Each custom field can take one value only. Choose different fields."))
            if settings.won_tag_id and settings.won_tag_id == settings.lost_tag_id:
                raise ValidationError(self.env._("Choose different tags for won and lost."))

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_display_name(self):
        for settings in self:
            settings.display_name = self.env._("Tell ManyChat")

    def _compute_flow_count(self):
        self.flow_count = self.env["manychat.stage.map"].sudo().search_count([("flow_id", "!=", False)])

    def _compute_item_count(self):
        self.item_count = self.env["manychat.account.item"].sudo().search_count([("missing", "=", False)])

    @api.depends("enabled", "refreshed_at", *FIELD_TYPES, *(f"{name}.field_type" for name in FIELD_TYPES), *TAGS)
    def _compute_warning(self):
        flows = self._stage_rows().flow_id
        for settings in self:
            said = (settings._items() | flows)._missing_sentences()
            # Refresh may have brought another type.
            unfit = [name for name in FIELD_TYPES if settings[name] and not settings._takes(name)]
            said += [settings._unfit_sentence(name, FIELD_TYPES[name]) for name in unfit]
            if settings.enabled and not (settings._items() or flows):
                said.append(
                    self.env._("Nothing is chosen yet, so ManyChat gets nothing. Choose a field, a tag or a flow.")
                )
            settings.warning = "\n".join(said) or False

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_test(self):
        """Ask ManyChat whose account the token is for, and show that or what to do."""
        try:
            name = account(self.env).get("name") or ""
        except NoAnswer as failure:
            return self._notice(self.env._("ManyChat is not connected"), self._sentence(failure), works=False)
        text = self.env._("The API token is accepted. The account is “%s”.", name)
        return self._notice(self.env._("ManyChat connected"), text)

    @access_required("write")
    def action_refresh(self):
        """Take over the custom fields, tags and flows that ManyChat has now."""
        try:
            self.env["manychat.account.item"]._refresh()
        except NoAnswer as failure:
            text = self._sentence(failure)
            if self.item_count:
                text = text + " " + self.env._("The lists stay as they were.")
            return self._notice(self.env._("ManyChat is not connected"), text, works=False)
        self.refreshed_at = fields.Datetime.now()
        counts = dict(self.env["manychat.account.item"]._read_group([("missing", "=", False)], ["kind"], ["__count"]))
        text = self.env._(
            "Custom fields: %(fields)s, tags: %(tags)s, flows: %(flows)s.",
            fields=counts.get(FIELD, 0),
            tags=counts.get(TAG, 0),
            flows=counts.get("flow", 0),
        )
        return self._notice(self.env._("Lists refreshed"), text, reload=True)

    @api.model
    def _notice(self, title, message, works=True, reload=False):
        params = {"title": title, "message": message, "type": "success" if works else "warning", "sticky": not works}
        if reload:
            params["next"] = {"type": "ir.actions.client", "tag": "soft_reload"}
        return {"type": "ir.actions.client", "tag": "display_notification", "params": params}

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _rules(self):
        """What the bridge is to tell ManyChat: the ``write_back`` of a heartbeat's answer.

        What is missing in ManyChat or cannot take its value is left out, so that the bridge does not try it for each
        person in vain.

        :return dict: ``enabled``; ``stage_field``, ``stage_id_field``, ``salesperson_field``, ``status_field``,
            ``won_tag``, ``lost_tag``: dicts of ``id``, ``name`` and, of a field, ``type``; or ``None``; ``flows``:
            Odoo's stage id, as text → dict of ``ns`` and ``name``
        """
        settings = self.sudo().search([], limit=1)
        chosen = {
            name.removesuffix("_id"): settings[name]._rule() if settings._takes(name) else None
            for name in (*FIELD_TYPES, *TAGS)
        }
        flows = {str(row.stage_id.id): row.flow_id._rule() for row in self._stage_rows()}
        return {
            "enabled": settings.enabled and not is_neutralized(self.env),
            **chosen,
            "flows": {stage: flow for stage, flow in flows.items() if flow},
        }

    def _takes(self, name):
        """Whether what is chosen there can take what is written there; a tag always can."""
        item = self[name]
        return name in TAGS or (item.kind == FIELD and item.field_type in FIELD_TYPES[name])

    def _unfit_sentence(self, name, types):
        item = self[name]
        return self.env._(
            "The custom field “%(name)s” has the type %(type)s, which cannot take this value. Choose a field of the "
            "type %(types)s.",
            name=item.name,
            type=item._type_name(),
            types=" / ".join(item._type_names()[each] for each in types),
        )

    def _items(self):
        """The custom fields and tags that are chosen."""
        items = self.env["manychat.account.item"]
        return items.union(*(settings[name] for settings in self for name in (*FIELD_TYPES, *TAGS)))

    @api.model
    def _stage_rows(self):
        """The rows of the stage map with a flow, also those of other companies."""
        return self.env["manychat.stage.map"].sudo().search([("flow_id", "!=", False)])

    @api.model
    def _sentence(self, failure):
        """Why ManyChat did not do what it was asked, and what to do.

        :param NoAnswer failure: see there
        """
        status, detail = failure.status, failure.detail
        if status == "neutralized":
            return self.env._("This database is a neutralized copy: it never asks ManyChat, and tells it nothing.")
        if status == "not_configured":
            return self.env._(
                "No API token is set. ManyChat shows it under Settings ▸ API. The server's administrator sets "
                "manychat_api_token in section [miasalud_crm] of odoo.conf, or the environment variable "
                "MIASALUD_MANYCHAT_API_TOKEN."
            )
        if status == "malformed":
            return self.env._(
                "The setting of ManyChat is not valid (%s). The server's administrator corrects it in odoo.conf.",
                in_language(self.env, detail),
            )
        if status == "refused":
            return self.env._(
                "ManyChat does not accept the API token (%s). Copy it again from ManyChat, Settings ▸ API. Each new "
                "token there ends the one before. The server's administrator sets it for Odoo and for the bridge.",
                detail,
            )
        if status == "limited":
            return self.env._(
                "The account has passed the limits of ManyChat's API (%s). ManyChat may stop it for up to 24 hours. "
                "Try again later.",
                detail,
            )
        if status == "unreachable":
            return self.env._(
                "ManyChat does not answer (%s). Check that this server can reach the internet, and see "
                "status.manychat.com. Nothing is lost: what waits is written later.",
                detail,
            )
        return self.env._("ManyChat answered with an error: %s", detail)
