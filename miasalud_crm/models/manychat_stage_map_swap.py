from odoo import models

from bridge.contract.fields import normalize_label

from ..rights import access_required
from .manychat_unique import LOADING

#: What two rows can swap: each is the value of one row only.
UNIQUE = ("name", "manychat_stage_id", "stage_id")


class ManychatStageMap(models.Model):
    """Two rows swap their labels, numbers or pipeline stages: one after the other, neither could take the other's."""

    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _owners(self, vals):
        """The other row that has each of these values: dict of field → ``manychat.stage.map``."""
        self.ensure_one()
        owners = {}
        # As superuser: a row of another company counts too.
        others = self.sudo().search([("active", "=", True), ("id", "!=", self.id)])
        for name in UNIQUE:
            if not self.active or not vals.get(name):
                continue
            field, value = (name, vals[name]) if name != "name" else ("label_key", normalize_label(vals[name]))
            if owner := others.filtered_domain([(field, "=", value)]):
                owners[name] = owner[:1].sudo(False)
        return owners

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @access_required("write")
    def get_swap(self, vals):
        """Ask whether saving ``vals`` means a swap with another row.

        :param dict vals: changed fields of this row, not saved yet
        :return: dict of ``question`` to the user and ``row_id``, the other row; ``False`` if no row has these values,
            or more than one
        """
        owners = self._owners(vals)
        other = self.browse().union(*owners.values())
        if len(other) != 1 or not other.has_access("write"):
            return False
        labels = {
            "name": self.env._("Label"),
            "manychat_stage_id": self.env._("ManyChat ID"),
            "stage_id": self.env._("Pipeline stage"),
        }
        lines = [
            self.env._(
                "%(field)s: “%(other)s” gets “%(mine)s”, and this row gets “%(theirs)s”.",
                field=labels[name],
                other=other.name,
                mine=self._shown(name),
                theirs=other._shown(name),
            )
            for name in owners
        ]
        title = self.env._("This belongs to the row “%s” already. Swap the two rows?", other.name)
        return {"question": "\n".join([title, *lines]), "row_id": other.id}

    @access_required("write")
    def swap(self, vals):
        """Give this row these values, and its own to the row that has them now.

        :param dict vals: as for :meth:`get_swap`
        :raises ValidationError: more than one row has these values
        """
        owners = self._owners(vals)
        other = self.browse().union(*owners.values())
        other.check_access("write")
        mine = {name: self[name].id if name == "stage_id" else self[name] for name in owners}
        rows = (self | other).with_context(**{LOADING: True})
        rows._set_constraints("DEFERRED")
        if len(other) == 1:
            rows[1].write(mine)
        rows[0].write({name: vals[name] for name in owners})
        checked = rows.with_env(self.env)
        checked._validate_fields(UNIQUE)
        checked._set_constraints("IMMEDIATE")
        return True

    def _shown(self, name):
        value = self[name]
        return value.display_name if name == "stage_id" else str(value or self.env._("none"))
