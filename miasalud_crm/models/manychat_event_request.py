"""The request of a delivery and its answer, as people read them: with the faulty places marked."""

import itertools
import json
import re

from markupsafe import Markup, escape

from odoo import api, fields, models

from bridge.contract import places
from bridge.contract.outcomes import ErrorCode

from ..rights import company_language
from ..sentences import answer_in_language, problems_in_language

#: HTTP status of a refusal by its code; of all others 422.
STATUSES = {
    ErrorCode.NOT_JSON.value: 400,
    "test_key": 403,
    "method_not_allowed": 405,
    "too_large": 413,
    "unsupported_media_type": 415,
}
#: Servers whose answer to an accepted event is known: both give the same.
ANSWERING = ("odoo", "api")
_PAGE = Markup(
    '<div class="font-monospace o_manychat_request" style="white-space: pre-wrap; overflow-wrap: anywhere">'
    "<b>%s %s</b>\n%s\n%s</div>"
)
_HEADER = Markup("%s: %s\n")
# Colours of their own: each has a contrast of more than 7 to 1.
_MARK = {
    "danger": Markup('<mark data-kind="danger" style="background: #f8d7da; color: #58151c">%s</mark>'),
    "warning": Markup('<mark data-kind="warning" style="background: #fff3cd; color: #4d3800">%s</mark>'),
}
_LINE_AND_COLUMN = re.compile(r"\b(\d+)\D{1,12}(\d+)\)")


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    sent = fields.Html(
        "Request",
        compute="_compute_sent",
        sanitize=False,
        groups="sales_team.group_sale_manager",
        help="The request as it was sent, without the key. What is wrong in it is marked.",
    )
    is_masked = fields.Boolean("Without Words", compute="_compute_sent", groups="sales_team.group_sale_manager")
    answer = fields.Text(
        compute="_compute_answer",
        help="What the bot got as an answer: the HTTP status, and the JSON that ManyChat reads.",
    )
    problem_text = fields.Text("Fields", compute="_compute_problem_text", help="Each field at fault, and why.")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("request", "problems", "warnings", "code", "message")
    def _compute_sent(self):
        for event in self:
            sent = event.request or {}
            event.is_masked = bool(sent.get("masked"))
            event.sent = sent and _PAGE % (
                sent.get("method") or "",
                sent.get("path") or "",
                Markup().join(_HEADER % (name, value) for name, value in sent.get("headers") or ()),
                Markup().join(_marked(*piece) for piece in _pieces(sent.get("body") or "", event._marks(sent))),
            )

    def _marks(self, sent):
        """Spans of the body with their kind: ``danger`` or ``warning``."""
        body = sent.get("body") or ""
        if self.code == ErrorCode.NOT_JSON:
            span = _place_in(body, self.message or "") if sent.get("masked") else places.broken_at(body)
            return [(*span, "danger")] if span else []
        kinds = (("danger", self.problems), ("warning", self.warnings))
        return [
            (*span, kind)
            for kind, faults in kinds
            for span in places.faults(body, [each.get("field") or "" for each in faults or ()])
        ]

    @api.depends("state", "code", "message", "problems", "warnings", "event_id", "source")
    def _compute_answer(self):
        of_company = self.env(context={**self.env.context, "lang": company_language(self.sudo().env)})
        for event in self:
            status, body = 200, {"status": "accepted", "event_id": event.event_id, "warnings": event.warnings or []}
            if event._is_refusal():
                status = STATUSES.get(event.code, 422)
                body = {"status": "error", "code": event.code, "message": event.message, "errors": event.problems or []}
            body = answer_in_language(of_company, body)
            is_known = event.source in ANSWERING and not (status == 200 and event.code == ErrorCode.ERASED)
            event.answer = is_known and f"HTTP {status}\n{json.dumps(body, indent=2, ensure_ascii=False)}"

    @api.depends("problems", "message")
    @api.depends_context("lang")
    def _compute_problem_text(self):
        for event in self:
            # The reason stands above it, and quotes some of them.
            unsaid = [each for each in event.problems or () if (each.get("message") or "") not in (event.message or "")]
            problems = problems_in_language(self.env, unsaid)
            lines = (f"{each.get('field')}: {each.get('message')}".removeprefix(": ") for each in problems)
            event.problem_text = "\n".join(lines) or False


def _place_in(text, message):
    """The place that a message names by line and column: what is masked breaks elsewhere."""
    found = _LINE_AND_COLUMN.search(message)
    if not found:
        return None
    lines = text.split("\n")
    line, column = int(found[1]), int(found[2])
    start = sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
    return (start, start + 1) if start < len(text) else None


def _pieces(text, marks):
    """``text`` in pieces: pairs of text and kind, which is empty for what is not marked.

    A mark within another one wins: it is more exact.
    """
    edges = sorted({0, len(text), *(edge for start, end, _kind in marks for edge in (start, end))})
    pieces = []
    for start, end in itertools.pairwise(edges):
        around = [
            (mark_end - mark_start, kind) for mark_start, mark_end, kind in marks if mark_start <= start < mark_end
        ]
        pieces.append((text[start:end], min(around)[1] if around else ""))
    return pieces


def _marked(text, kind):
    return _MARK[kind] % text if kind else escape(text)
