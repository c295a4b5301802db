from odoo import api, fields, models
from odoo.exceptions import AccessError

from ..manychat_account import FIELD, FLOW, TAG, items


class ManychatAccountItem(models.Model):
    """A custom field, a tag or a flow of the ManyChat account, as the last answer of ManyChat had it.

    Kept here, so that what is chosen can be shown while ManyChat does not answer.
    """

    _name = "manychat.account.item"
    _description = "Custom Field, Tag or Flow of ManyChat"
    _order = "kind, folder, name, id"

    kind = fields.Selection(
        [(FIELD, "Custom Field"), (TAG, "Tag"), (FLOW, "Flow")], required=True, readonly=True, index=True
    )
    remote_id = fields.Char("ID in ManyChat", required=True, readonly=True, help="Of a flow: its namespace.")
    name = fields.Char(required=True, readonly=True)
    field_type = fields.Char("Type", readonly=True)
    folder = fields.Char(readonly=True)
    missing = fields.Boolean(readonly=True, help="ManyChat's last answer did not have it any more.")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("name", "folder", "missing")
    def _compute_display_name(self):
        for item in self:
            name = f"{item.folder} / {item.name}" if item.folder else item.name
            item.display_name = self.env._("%s (not in ManyChat)", name) if item.missing else name

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_account_item_unique ON manychat_account_item (kind, remote_id)"
        )

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _refresh(self):
        """Take over what the account has now. What is chosen and not there any more stays, as missing.

        :raises AccessError: the user is no administrator
        :raises NoAnswer: ManyChat cannot be asked; nothing has changed then
        """
        if not (self.env.su or self.env.user.has_group("base.group_system")):
            raise AccessError(self.env._("Only administrators may do this."))
        self = self.sudo()
        found = {(each["kind"], each["remote_id"]): each for each in items(self.env)}
        known = self.search([("kind", "in", (FIELD, TAG, FLOW))])
        gone = known.filtered(lambda item: (item.kind, item.remote_id) not in found)
        there = {(item.kind, item.remote_id): item for item in known - gone}
        chosen = gone & self._chosen()
        (gone - chosen).unlink()
        for item in chosen:
            # Made anew in ManyChat it has another ID: the choice was of its name.
            if successor := item._successor(found, there):
                item.write(successor | {"missing": False})
                there[item.kind, item.remote_id] = item
            else:
                item.missing = True
        for key, values in found.items():
            if item := there.get(key):
                item.write({name: value for name, value in values.items() if item[name] != value} | {"missing": False})
        self.create([values for key, values in found.items() if key not in there])

    def _successor(self, found, there):
        """The one new item with the kind, name and type of this one, or ``None``."""
        same = [
            values
            for key, values in found.items()
            if key not in there
            and (values["kind"], values["name"], values["field_type"]) == (self.kind, self.name, self.field_type)
        ]
        return same[0] if len(same) == 1 else None

    @api.model
    def _chosen(self):
        """The items that settings name."""
        settings = self.env["manychat.write.back"].sudo().search([], limit=1)
        rows = self.env["manychat.stage.map"].sudo().with_context(active_test=False)
        return settings._items() | rows.search([("flow_id", "!=", False)]).flow_id

    def _rule(self):
        """The item as the bridge's rules name it, or ``None`` if there is none in ManyChat."""
        if not self or self.missing:
            return None
        if self.kind == FLOW:
            return {"ns": self.remote_id, "name": self.name}
        of_type = {"type": self.field_type} if self.field_type else {}
        return {"id": int(self.remote_id), "name": self.name, **of_type}

    def _type_name(self):
        """The type of a custom field as ManyChat's screens name it, which differ by the user's language."""
        return self.env["manychat.account.item"]._type_names().get(self.field_type) or self.field_type or ""

    @api.model
    def _type_names(self):
        return {
            "text": self.env._("Text"),
            "number": self.env._("Number"),
            "date": self.env._("Date"),
            "datetime": self.env._("Date and Time"),
            "boolean": self.env._("True/False"),
        }

    def _missing_sentences(self):
        """For each missing item, that it is missing and how to make it."""
        said = []
        for item in self.filtered("missing"):
            if item.kind == FIELD:
                said.append(
                    self.env._(
                        "The custom field “%(name)s” is not in ManyChat any more, so it is not written. Make it there "
                        "under Settings ▸ Fields ▸ User Fields ▸ New User Field, with this name and the type "
                        "%(type)s. Then press Refresh.",
                        name=item.name,
                        type=item._type_name(),
                    )
                )
            elif item.kind == TAG:
                said.append(
                    self.env._(
                        "The tag “%s” is not in ManyChat any more, so it is not set. Make it there under Settings ▸ "
                        "Tags ▸ New Tag, with this name. Then press Refresh.",
                        item.name,
                    )
                )
            else:
                said.append(
                    self.env._(
                        "The flow “%s” is not in ManyChat any more, so it is not started. Choose another one, or "
                        "publish one with this name in ManyChat and press Refresh.",
                        item.name,
                    )
                )
        return said
