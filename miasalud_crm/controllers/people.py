from datetime import datetime, timezone
from urllib.parse import quote

from odoo import http
from odoo.http import request

from bridge.contract import person
from bridge.contract.keys import Scope

from .. import asked_person
from .api import authenticate, route


class ManychatPeople(http.Controller):
    @route(f"{person.PATH}<path:manychat_id>", person.METHOD)
    def ask(self):
        """Answer how far one person is. The bridge's API has the same route, for the time in which Odoo is away."""
        key = authenticate()
        key.require(Scope.ask)
        question = person.read_question(_target(request.httprequest.environ), request.httprequest.query_string)
        found = asked_person.find(request.env, question.manychat_id)
        return 200, person.answer(question, found, now=datetime.now(timezone.utc), zone=key.zone)


def _target(environ):
    """The path as it was sent, still encoded. A server that does not keep it has decoded it."""
    sent = environ.get("RAW_URI") or environ.get("REQUEST_URI") or quote(environ["PATH_INFO"].encode("latin-1"))
    return sent.encode("latin-1", "replace")
