from odoo import fields, models

from bridge.contract.newest import order_of, unsaid_by_newer

from ..apply import merge
from .manychat_identity import is_applying


class CrmLead(models.Model):
    """What an event may write to its opportunity, the fields included that a manager has chosen for unknown ones."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _inverse_email_from(self):
        # Odoo copies a new address to the linked customer, but the chat must not change customers.
        if is_applying(self.env):
            return None
        return super()._inverse_email_from()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_merged(self, event, values, custom_fields):
        """What an event may write to its opportunity, with the memory of what it said, if that changes.

        :param dict values: of the fields that the contract knows
        :param CustomFields custom_fields: has the values of the others
        """
        memory, order = self._manychat_memory(), order_of(event)
        custom = custom_fields.said(event, self)
        values, earlier = merge.with_custom(values, custom, order, memory[1])
        taken = unsaid_by_newer(values, order, memory[1]) | {name: values[name] for name in earlier}
        overruled = {"manychat_summary"}  # no user edits it
        if self._manychat_reassigned(taken, event):
            overruled.add("user_id")
        current = self._manychat_current_values({*taken, "name", "contact_name"})
        vals = merge.writable_values(taken, order, memory, current, overruled)
        vals["manychat_versions"] |= {merge.mark(name): order for name in custom.keys() & taken.keys()}
        # Odoo copies such a value each time that one reads it.
        same = {name for name, value in zip(merge.MEMORY, memory, strict=True) if vals[name] == value}
        return {name: value for name, value in vals.items() if name not in same}

    def _manychat_fill(self, event, custom_fields):
        """Write what an event that was applied before says of the fields of ``custom_fields``, and nothing else.

        :return bool: whether the opportunity has changed
        """
        self.ensure_one()
        changes = self._manychat_merged(event, {}, custom_fields)
        if changes:
            self._manychat_write_custom(changes)
        return bool(changes.keys() - {*merge.MEMORY})

    def _manychat_current_values(self, names):
        """The present values of the fields ``names``, in the form of ``manychat_values``."""
        values = {name: self._manychat_plain(name) for name in names if name not in merge.NAME_PARTS}
        return merge.jsonable(values)

    def _manychat_plain(self, name):
        field = self._fields[name]
        value = (self.with_company(self.company_id) if field.company_dependent else self)[name]
        if field.type == "many2many":
            return sorted(value.ids)
        return value.id if isinstance(value, models.BaseModel) else value

    def _manychat_write_custom(self, vals):
        apart = self._manychat_pop_of_company(vals)
        if vals:
            self.write(self._manychat_as_commands(vals))
        self._manychat_write_of_company(apart)

    def _manychat_pop_of_company(self, vals):
        """Take the values out of ``vals`` that each company has of its own."""
        names = [name for name in vals if name in self._fields and self._fields[name].company_dependent]
        return {name: vals.pop(name) for name in names}

    def _manychat_write_of_company(self, vals):
        """Write values that each company has of its own for the opportunity's company."""
        if vals:
            self.with_company(self.company_id).write(vals)

    def _manychat_as_commands(self, vals):
        """``vals`` with records to add, in place of their ids."""
        return {
            name: [fields.Command.link(each) for each in value]
            if name in self._fields and self._fields[name].type == "many2many"
            else value
            for name, value in vals.items()
        }
