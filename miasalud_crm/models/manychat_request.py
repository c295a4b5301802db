import json

from odoo import api, models

from bridge.contract.payloads import EventType

from ..public_address import fault, normalized, webhook_address
from ..rights import managers_only

#: The place for the key. Keys are shown once and not stored, so the page cannot fill it in.
KEY_PLACEHOLDER = "<your key>"


class ManychatRequest(models.AbstractModel):
    """The External Requests that a bot builder pastes into ManyChat."""

    _name = "manychat.request"
    _description = "Requests for ManyChat"

    @api.model
    @managers_only
    def requests(self):
        """All requests: one for each webhook, with one body for each mapped stage. For sales managers.

        :return dict: ``warning``, what is wrong with the address of this Odoo, or ""; ``can_create_key``; ``webhooks``:
            dicts of ``name``, ``title``, ``text``, ``method``, ``url``, ``headers`` (pairs), ``note``, and ``bodies``
            (dicts of ``id``, ``label``, ``body``); ``answer``, what ManyChat can read from the answer: pairs of a
            JSONPath and its meaning
        :raises AccessError: the user is not a sales manager
        """
        base_url = webhook_address(self.env)
        described = {
            EventType.OPPORTUNITY: self._opportunity(),
            EventType.CONTACT: self._contact(),
            EventType.CAMPAIGN_ASSIGNMENT: self._campaign_assignment(),
            EventType.CAMPAIGN_CONTACT: self._campaign_contact(),
        }
        # The most used one first.
        event_types = sorted(EventType, key=lambda event_type: event_type is not EventType.OPPORTUNITY)
        return {
            "warning": self._address_warning(base_url),
            "can_create_key": self.env.user.has_group("base.group_system"),
            "webhooks": [self._webhook(event_type, base_url, *described[event_type]) for event_type in event_types],
            # Lists, for Odoo 19 takes the parenthesis after a translated text for another text to translate.
            "answer": [
                ["$.status", self.env._("“accepted” when the event is stored")],
                ["$.event_id", self.env._("the event's id, as in the event log")],
                ["$.warnings[0].message", self.env._("the first problem with a field; empty without one")],
            ],
        }

    def _webhook(self, event_type, base_url, title, text, note, bodies):
        return {
            "name": event_type.value,
            "title": title,
            "text": text,
            "method": event_type.spec.method,
            "url": base_url + event_type.spec.path,
            "headers": [("X-API-KEY", KEY_PLACEHOLDER), ("Content-Type", "application/json")],
            "note": note,
            "bodies": [{"id": key, "label": label, "body": _written(body)} for key, label, body in bodies],
        }

    def _address_warning(self, base_url):
        """Why ManyChat could not reach ``base_url``, and what to do; or ""."""
        what = fault(normalized(base_url))
        if not what:
            return ""
        sentence = self.env["manychat.setup"]._address_sentence(what, base_url)
        where = self.env._("Set the right one under CRM ▸ Configuration ▸ ManyChat ▸ Settings.")
        return f"{sentence} {where}"

    # ------------------------------------------------------------
    # The webhooks: title, purpose, what to fill in by hand, bodies (id, label, body)
    # ------------------------------------------------------------

    def _opportunity(self):
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
            [(row.id, row.name, self._opportunity_body(row)) for row in self.env["manychat.stage.map"].search([])],
        )

    def _opportunity_body(self, row):
        state = {"stage_id": row.manychat_stage_id} if row.manychat_stage_id else {"stage": row.name}
        return {
            "manychat_id": _quoted("user_id"),
            "first_name": _text("first_name"),
            "last_name": _text("last_name"),
            "phone": _quoted("whatsapp_phone"),
            "channel": "WhatsApp",
            "entry_date": "",
            "medical_advisor_id": 0,
            "commercial_advisor_id": 0,
            "state": {**state, "summary": _text("last_input_text"), "date": ""},
        }

    def _contact(self):
        body = {
            "manychat_id": _quoted("user_id"),
            "nombre_lead": _text("first_name"),
            "apellido_lead": _text("last_name"),
            "whatsapp": _quoted("whatsapp_phone"),
            "email_lead": _quoted("email"),
            "datetime_suscripcion": "",
            "datetime_actual": "",
            "ultimo_estado": "",
            "canal_entrada": "WhatsApp",
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
