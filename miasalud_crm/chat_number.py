"""Numbers that ManyChat may not have given: without one, the field is empty and not 0."""

from odoo import fields


class ChatNumber(fields.Integer):
    """An integer that screens, exports and RPC show as empty while it is 0. In Python and in the database it is 0."""

    def convert_to_read(self, value, record, use_display_name=True):
        return super().convert_to_read(value, record, use_display_name) or False

    def convert_to_export(self, value, record):
        return super().convert_to_export(value, record) or ""
