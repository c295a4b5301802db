from datetime import datetime, timezone

from odoo import http
from odoo.http import request

from bridge.events import MAX_BODY_BYTES, ContractError, EventType, accept, parse_json

from .api import ApiError, authenticate, route


class ManychatWebhook(http.Controller):
    """Where ManyChat's External Requests arrive: checked against the contract, put into the outbox, answered 202."""

    @route("/api/v1/manychat/webhook/contact", "POST")
    def contact(self):
        return self._receive(EventType.CONTACT)

    @route("/api/v1/manychat/webhook/campaign-assignment", "POST")
    def campaign_assignment(self):
        return self._receive(EventType.CAMPAIGN_ASSIGNMENT)

    @route("/api/v1/manychat/webhook/crm-opportunity", "POST")
    def opportunity(self):
        return self._receive(EventType.OPPORTUNITY)

    @route("/api/v1/manychat/campaign-contacts/update-by-manychat-id", "PUT")
    def campaign_contact(self):
        return self._receive(EventType.CAMPAIGN_CONTACT)

    def _receive(self, event_type):
        """Take one event in.

        :return tuple: 202 and the event id; with ``X-Dry-Run: 1`` 200 and what would happen
        :raises ApiError: the request is refused; nothing of it reaches the outbox
        """
        received_at = datetime.now(timezone.utc)
        key = authenticate()
        body = b""
        try:
            body = _body()
            event = accept(
                event_type,
                parse_json(body),
                received_at=received_at,
                source="odoo",
                idempotency_key=request.httprequest.headers.get("Idempotency-Key"),
            )
            if key.test_manychat_id and event.manychat_id != key.test_manychat_id:
                raise ApiError(403, "test_key", "This key is for one test event. Bots need a key of their own.")
        except (ApiError, ContractError) as error:
            refusal = error if isinstance(error, ApiError) else _refusal(error)
            if not _dry_run():
                request.env["manychat.rejection"]._record(
                    request.httprequest.path, refusal.code, refusal.message, body, key
                )
            raise refusal from None
        if _dry_run():
            return 200, self._forecast(event)
        webhook_user = request.env.ref("miasalud_crm.user_webhook")
        request.env["manychat.event"].with_user(webhook_user)._enqueue(event, key)
        return 202, {"status": "accepted", "event_id": event.id}

    def _forecast(self, event):
        """What would become of ``event``, storing nothing."""
        known = request.env["manychat.event"].sudo().search_count([("event_id", "=", event.id)], limit=1)
        forecast = {
            "status": "valid",
            "event_id": event.id,
            "duplicate": bool(known),
            "queue": event.type.queue,
            "payload": event.payload.canonical(),
        }
        if event.type is EventType.OPPORTUNITY:
            state = event.payload.state
            stage = request.env["manychat.stage.map"].sudo()._resolver()(state.stage_id, state.stage)
            forecast["stage"] = stage.stage_id.name or None
            forecast["message"] = (
                f"The opportunity would enter the stage “{stage.stage_id.name}”."
                if stage
                else "This ManyChat stage is not mapped yet: the event would wait until somebody maps it in Odoo."
            )
        return forecast


def _dry_run():
    return request.httprequest.headers.get("X-Dry-Run", "").strip().lower() in ("1", "true", "yes")


def _body():
    """The request's body.

    :raises ApiError: 413 or 415
    """
    http_request = request.httprequest
    too_large = ApiError(413, "too_large", f"The body has more than {MAX_BODY_BYTES} bytes.")
    if (http_request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    if http_request.mimetype != "application/json":
        raise ApiError(415, "unsupported_media_type", "Send the header Content-Type: application/json.")
    body = http_request.get_data()
    if len(body) > MAX_BODY_BYTES:  # sent in chunks, without a length
        raise too_large
    return body


def _refusal(error):
    return ApiError(400 if error.code == "not_json" else 422, error.code, error.message, error.errors)
