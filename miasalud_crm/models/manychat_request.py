import json
import re

from odoo import api, models

from bridge.contract import request_headers
from bridge.contract.payloads import WEBHOOKS, EventType

from ..public_address import fault, normalized, webhook_address
from ..rights import bot_builders_only
from ..sentences import menu_path

#: The channels to choose from, each with ManyChat's field for the telephone number. The first one is the default.
#: Their names are names of companies, but for the last one.
CHANNELS = {
    "WhatsApp": "whatsapp_phone",
    "Instagram": "phone",
    "Messenger": "phone",
    "Telegram": "phone",
    "TikTok": "phone",
    "SMS": "phone",
    "Web": "phone",
}
#: Longest name of a channel that is written into a body: the contract cuts a longer one.
CHANNEL_CHARS = 256
#: The person of the examples, by ManyChat's fields. What people write has quotation marks, as in real life.
EXAMPLE = {
    "user_id": "1234567890",
    "first_name": "Ana “Anita”",
    "last_name": "García",
    "whatsapp_phone": "+5215512345678",
    "phone": "+5215512345678",
    "email": "ana@example.com",
    "last_input_text": 'Hola, ¿tienen el paquete "Básico"?',
}
_FIELD = re.compile(r"\{\{(\w+)([^{}]*)\}\}")


class ManychatRequest(models.AbstractModel):
    """The External Requests that a bot builder pastes into ManyChat."""

    _name = "manychat.request"
    _description = "Requests for ManyChat"

    @api.model
    @bot_builders_only
    def requests(self, channel=""):
        """All requests: one for each webhook, with one body for each mapped stage. For sales managers and bot builders.

        :param str channel: through which the bot talks, as it is written into the bodies; the first one by default
        :return dict: ``warning``, what is wrong with the address of this Odoo, or ""; ``can_create_key``;
            ``can_map_stages``; ``key``, which stands for the key; ``channel`` and ``channels``; ``webhooks``: dicts of
            ``name``, ``title``, ``text``, ``method``, ``url``, ``headers`` (pairs), ``note``, and ``bodies`` (dicts of
            ``id``, ``label``, ``body``, and ``example``, the body for an invented person); ``dry_run``, the header for
            a dry run; ``answer``, what ManyChat can read from the answer: pairs of a JSONPath and its meaning
        :raises AccessError: the user is neither a sales manager nor a bot builder
        """
        base_url = webhook_address(self.env)
        channel = str(channel or "").strip()[:CHANNEL_CHARS] or next(iter(CHANNELS))
        described = {
            EventType.OPPORTUNITY: self._opportunity(channel),
            EventType.CONTACT: self._contact(channel),
            EventType.CAMPAIGN_ASSIGNMENT: self._campaign_assignment(),
            EventType.CAMPAIGN_CONTACT: self._campaign_contact(),
        }
        # The most used one first.
        event_types = sorted(WEBHOOKS, key=lambda event_type: event_type is not EventType.OPPORTUNITY)
        # Keys are shown once and not stored, so the page cannot fill one in.
        key = "<" + self.env._("your key") + ">"
        return {
            "warning": self._address_warning(base_url),
            "can_create_key": self.env.user.has_group("base.group_system"),
            "can_map_stages": self.env.user.has_group("sales_team.group_sale_manager"),
            "key": key,
            "channel": channel,
            "channels": list(CHANNELS),
            "webhooks": [self._webhook(each, base_url, key, *described[each]) for each in event_types],
            "dry_run": [request_headers.DRY_RUN, "1"],
            # Lists, for Odoo 19 takes the parenthesis after a translated text for another text to translate.
            "answer": [
                ["$.status", self.env._("“accepted” when the event is stored")],
                ["$.event_id", self.env._("the event's id, as under Deliveries")],
                ["$.warnings[0].message", self.env._("the first problem with a field; empty without one")],
            ],
        }

    def _webhook(self, event_type, base_url, key, title, text, note, bodies):
        return {
            "name": event_type.value,
            "title": title,
            "text": text,
            "method": event_type.spec.method,
            "url": base_url + event_type.spec.path,
            "headers": [(request_headers.API_KEY, key), ("Content-Type", "application/json")],
            "note": note,
            "bodies": [_body(row_id, label, _written(body)) for row_id, label, body in bodies],
        }

    def _address_warning(self, base_url):
        """Why ManyChat could not reach ``base_url``, and what to do; or ""."""
        what = fault(normalized(base_url))
        if not what:
            return ""
        sentence = self.env["manychat.setup"]._address_sentence(what, base_url)
        menu = menu_path(self.env, "miasalud_crm.manychat_settings_menu")
        if self.env.user.has_group("sales_team.group_sale_manager"):
            where = self.env._("Set the right one under %s.", menu)
        else:
            where = self.env._("A sales manager sets the right one under %s.", menu)
        return f"{sentence} {where}"

    # ------------------------------------------------------------
    # The webhooks: title, purpose, what to fill in by hand, bodies (id, label, body)
    # ------------------------------------------------------------

    def _opportunity(self, channel):
        return (
            self.env._("A conversation enters a stage"),
            self.env._(
                "Creates the person's opportunity, or moves it. Put it where the conversation enters the stage."
            ),
            self.env._(
                "Where an adviser takes over, replace the 0 of “commercial_advisor_id” or “medical_advisor_id” by "
                "their number, or by the custom field that holds it. Dates may stay empty: the event then counts as of "
                "its arrival. If you fill them in, write them like 2026-01-31T10:00:00Z."
            ),
            [
                (row.id, row.name, self._opportunity_body(row, channel))
                for row in self.env["manychat.stage.map"].sudo().search([])
            ],
        )

    def _opportunity_body(self, row, channel):
        state = {"stage_id": row.manychat_stage_id} if row.manychat_stage_id else {"stage": row.name}
        return {
            "manychat_id": _quoted("user_id"),
            "first_name": _text("first_name"),
            "last_name": _text("last_name"),
            "phone": _phone(channel),
            "channel": channel,
            "entry_date": "",
            "medical_advisor_id": 0,
            "commercial_advisor_id": 0,
            "state": {**state, "summary": _text("last_input_text"), "date": ""},
        }

    def _contact(self, channel):
        body = {
            "manychat_id": _quoted("user_id"),
            "nombre_lead": _text("first_name"),
            "apellido_lead": _text("last_name"),
            "whatsapp": _phone(channel),
            "email_lead": _quoted("email"),
            "datetime_suscripcion": "",
            "datetime_actual": "",
            "ultimo_estado": "",
            "canal_entrada": channel,
            "estado_inicial": "",
        }
        return (
            self.env._("A person subscribes"),
            self.env._(
                "Stores the person, or what has changed about them, in SQL only. Odoo's contacts stay as they are."
            ),
            self.env._(
                "Write the states of your own funnel into “ultimo_estado” and “estado_inicial”, or leave them empty."
            ),
            [(False, "", body)],
        )

    def _campaign_assignment(self):
        body = {
            "manychat_id": _quoted("user_id"),
            "campaign_id": 1,
            "comercial_id": 0,
            "medico_id": 0,
            "datetime_actual": "",
            "ultimo_estado": "",
            "tipo_asignacion": "comercial",
            "summary": _text("last_input_text"),
        }
        return (
            self.env._("A person is assigned to a campaign"),
            self.env._("Stores the assignment, and the adviser if there is one, in SQL only."),
            self.env._(
                "Replace the 1 of “campaign_id” by the campaign's number, and the 0 of “comercial_id” or “medico_id” "
                "by the adviser's. “tipo_asignacion” is “comercial” or “medico”."
            ),
            [(False, "", body)],
        )

    def _campaign_contact(self):
        body = {
            "manychat_id": _quoted("user_id"),
            "campaign_id": 0,
            "medical_advisor_id": 0,
            "medical_assignment_date": "",
            "commercial_advisor_id": 0,
            "commercial_assignment_date": "",
            "last_state": "",
            "summary": _text("last_input_text"),
        }
        return (
            self.env._("An assignment changes"),
            self.env._(
                "Updates the person's assignment to a campaign, in SQL only. Empty fields and 0 change nothing."
            ),
            self.env._("With 0 as “campaign_id” it is the person's latest campaign; else write the campaign's number."),
            [(False, "", body)],
        )


class _Raw(str):
    """Text that goes into the body as it is, without quotation marks."""


def _quoted(field):
    """A field of ManyChat in quotation marks, for values without quotation marks: ids, numbers, dates."""
    return "{{" + field + "}}"


def _text(field):
    """A field of ManyChat with free text, as JSON: its quotation marks and line breaks would break the body.

    The filter adds the quotation marks itself: https://manychat.github.io/dynamic_block_docs/
    """
    return _Raw("{{" + field + '|fallback:""|to_json:true}}')


def _phone(channel):
    """The person's telephone number, in quotation marks: only a chat on WhatsApp has its own."""
    return _quoted(CHANNELS.get(channel, "phone"))


def _body(row_id, label, text):
    return {"id": row_id, "label": label, "body": text, "example": _filled(text)}


def _filled(text):
    """A body as ManyChat sends it for the person of the examples."""

    def value(found):
        known = EXAMPLE.get(found[1], "")
        return json.dumps(known, ensure_ascii=False) if "to_json" in found[2] else known

    return _FIELD.sub(value, text)


def _written(body):
    """``body`` as text for ManyChat's editor: JSON in which ManyChat replaces its fields."""
    lines, raw = json.dumps(body, indent=2, ensure_ascii=False), []

    def collect(value):
        for item in value.values():
            if isinstance(item, dict):
                collect(item)
            elif isinstance(item, _Raw):
                raw.append(item)

    collect(body)
    for item in raw:
        lines = lines.replace(json.dumps(item, ensure_ascii=False), item)
    return lines
