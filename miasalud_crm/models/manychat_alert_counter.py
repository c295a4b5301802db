"""The counter in the menu bar: how many problems there are, for those who can do something about them."""

from odoo import api, models
from odoo.exceptions import AccessError

COUNTED_FOR = ("sales_team.group_sale_manager", "base.group_system")


class ManychatAlert(models.Model):
    _inherit = "manychat.alert"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _is_counted(self):
        """Whether the user has the counter."""
        return any(self.env.user.has_group(group) for group in COUNTED_FOR)

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    def open_problems(self):
        """The problems that exist now, in the user's language. For sales managers and administrators.

        One query, since the web client asks every other minute.

        :return list: of dicts: ``id`` of the alert, ``kind``, ``title``, ``count``, ``since`` (UTC, as Odoo writes it)
        :raises AccessError: the user is neither
        """
        if not self._is_counted():
            raise AccessError(self.env._("Only sales managers and administrators may do this."))
        kinds = dict(self._fields["kind"]._description_selection(self.env))
        rows = self.sudo().search_read([("since", "!=", False)], ["kind", "count", "since"], order="since desc, id")
        return [{**row, "title": kinds[row["kind"]]} for row in rows]
