"""What events say of fields of the opportunity that a manager has chosen for unknown fields."""

from collections import defaultdict
from contextlib import suppress
from datetime import timezone

from odoo.tools import float_round, html_sanitize, plaintext2html

from bridge.contract.names import spelling

from . import conversion
from .conversion import Unconvertible
from .unknown_fields import flat


class CustomFields:
    """The mapped fields of a batch of events.

    :ivar dict warnings: event id → list of ``{"name", "field", "reason"}``: what could not be converted
    """

    def __init__(self, env, events, rows, field_maps=None):
        """
        :param events: of the contract
        :param dict rows: event id → ``manychat.event``
        :param field_maps: rows of ``manychat.field.map`` as :meth:`_used` gives them; all by default
        """
        self.env = env
        self.warnings = defaultdict(list)
        self._rows = rows
        used = env["manychat.field.map"]._used() if field_maps is None else field_maps
        self._sent = {}
        self._zones, self._options, self._records = {}, {}, {}
        with_extra = [event for event in events if event.extra] if used else []
        for event in with_extra:
            extra = flat(event.extra)
            if found := [(field_map, extra[field_map.key][1]) for field_map in used if field_map.key in extra]:
                self._sent[event.id] = found
        if self._sent:
            self._load_zones()
            self._load_records()

    def said(self, event, lead):
        """The values of an event, by field: pairs of value and whether the first value is kept.

        :param lead: ``crm.lead``, or an empty one in the environment in which the opportunity is created
        """
        values = {}
        for field_map, sent in self._sent.get(event.id, ()):
            if field_map.field_name in values:
                continue  # rows are in their order: an earlier one counts for more
            try:
                value = self._convert(field_map, sent, event, lead)
            except Unconvertible as error:
                warning = {"name": field_map.name, "field": field_map.field_name, "reason": error.reason}
                if warning not in self.warnings[event.id]:
                    self.warnings[event.id].append(warning)
            else:
                values[field_map.field_name] = (value, field_map.keep_first)
        return values

    def _load_zones(self):
        prefixes = {self._rows[event_id].key_prefix for event_id in self._sent} - {False}
        keys = self.env["manychat.api.key"].with_context(active_test=False).search([("prefix", "in", list(prefixes))])
        self._zones = {key.prefix: key._zone() for key in keys}

    def _load_records(self):
        """Find or create all records that the events name, before anything of the batch is written."""
        for found in self._sent.values():
            for field_map, sent in found:
                field = self.env["crm.lead"]._fields.get(field_map.field_name)
                if field is not None and field.type in ("many2one", "many2many"):
                    with suppress(Unconvertible):
                        self._references(field, field_map, sent)

    def _zone(self, event):
        return self._zones.get(self._rows[event.id].key_prefix, timezone.utc)

    def _convert(self, field_map, sent, event, lead):
        """:raises Unconvertible: the value does not fit the field"""
        field = lead._fields.get(field_map.field_name)
        if field is None:
            raise Unconvertible("gone")
        if field.type in ("date", "datetime"):
            read = conversion.to_day if field.type == "date" else conversion.to_moment
            return read(sent, self._zone(event))
        if field.type in ("many2one", "many2many"):
            return self._references(field, field_map, sent)
        value = getattr(self, f"_to_{field.type}")(field, sent, lead)
        if value == "":
            raise Unconvertible("empty")
        return value

    def _to_char(self, field, sent, _lead):
        return " ".join(conversion.to_text(sent).splitlines())[: field.size or None]

    def _to_text(self, _field, sent, _lead):
        return conversion.to_text(sent)

    def _to_html(self, _field, sent, _lead):
        text = conversion.to_text(sent)
        # As Odoo stores it: else it would look as if a user had changed it.
        return text and str(html_sanitize(plaintext2html(text)))

    def _to_integer(self, _field, sent, _lead):
        return conversion.to_integer(sent, self._decimal_point())

    def _to_float(self, field, sent, _lead):
        value = float(conversion.to_number(sent, self._decimal_point()))
        digits = field.get_digits(self.env)
        return float_round(value, precision_digits=digits[1]) if digits else value

    def _to_monetary(self, field, sent, lead):
        value = float(conversion.to_number(sent, self._decimal_point()))
        currency = lead[field.get_currency_field(lead)] if lead else None
        return (currency or lead.env.company.currency_id).round(value)

    def _to_boolean(self, _field, sent, _lead):
        return conversion.to_boolean(sent)

    def _to_selection(self, field, sent, _lead):
        if field.name not in self._options:
            languages = [code for code, _name in self.env["res.lang"].get_installed()]
            self._options[field.name] = [
                option
                for lang in languages
                for option in field._description_selection(self.env(context={**self.env.context, "lang": lang}))
            ]
        return conversion.to_option(sent, self._options[field.name])

    def _decimal_point(self):
        return self.env["res.lang"]._get_data(code=self.env.lang or "en_US").decimal_point or "."

    def _references(self, field, field_map, sent):
        names = conversion.to_names(sent) if field.type == "many2many" else [conversion.to_text(sent)]
        if not any(names):
            raise Unconvertible("empty")
        found = [self._reference(field.comodel_name, name, field_map.create_missing) for name in names]
        if None in found:
            raise Unconvertible("not_found")
        return sorted(set(found)) if field.type == "many2many" else found[0]

    def _reference(self, model, name, create):
        """The id of the record of ``model`` with that name; ``None`` if there is none and none may be made.

        :raises Unconvertible: it cannot be created
        """
        key = (model, spelling(name), create)
        if key not in self._records:
            try:
                self._records[key] = self.env["manychat.field.record"]._find_or_create(model, name, create)
            except Unconvertible as error:
                self._records[key] = error
        if isinstance(self._records[key], Unconvertible):
            raise self._records[key]
        return self._records[key]
