"""A stand-in for ManyChat's API: what Odoo asks of it, over real HTTP. ManyChat itself cannot run here."""

import contextlib
import http.server
import json
import os
import threading
from unittest.mock import patch

TOKEN = "1234567:0123456789abcdef"


class ManychatStandIn:
    """Its lists, and how it answers; tests change them.

    :ivar address: where it answers
    :ivar answers: path → pair of status and body, in the place of what it would answer
    :ivar asked: paths, in order
    :ivar location: where its redirects lead
    """

    def __init__(self):
        self.fields = [
            {"id": 11, "name": "Etapa CRM", "type": "text"},
            {"id": 12, "name": "Número de etapa", "type": "number"},
            {"id": 13, "name": "Asesor", "type": "text"},
            {"id": 14, "name": "Nacimiento", "type": "date"},
        ]
        self.tags = [{"id": 21, "name": "Ganada"}, {"id": 22, "name": "Perdida"}]
        self.flows = {
            "flows": [
                {"ns": "content20260101_1", "name": "Bienvenida", "folder_id": 5},
                {"ns": "content20260101_2", "name": "Cotización lista", "folder_id": 0},
            ],
            "folders": [{"id": 5, "name": "Ventas"}],
        }
        self.address = ""
        self.answers = {}
        self.asked = []
        self.location = "/fb/page/elsewhere"

    def answer(self, path, token):
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if token != f"Bearer {TOKEN}":
            return 401, {"status": "error", "message": "Wrong token"}
        data = {
            "/fb/page/getInfo": {"id": 7, "name": "MiaSalud", "timezone": "America/Lima"},
            "/fb/page/getCustomFields": self.fields,
            "/fb/page/getTags": self.tags,
            "/fb/page/getFlows": self.flows,
        }.get(path)
        return (404, {"status": "error", "message": "Not found"}) if data is None else (200, self.good(data))

    @staticmethod
    def good(data):
        return {"status": "success", "data": data}


@contextlib.contextmanager
def running(token=TOKEN):
    """A :class:`ManychatStandIn` that runs, and the settings of the server that lead Odoo to it."""
    stand_in = ManychatStandIn()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = stand_in.answer(self.path, self.headers.get("Authorization"))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", stand_in.location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    stand_in.address = f"http://127.0.0.1:{server.server_port}"
    settings = {
        "MIASALUD_MANYCHAT_API_URL": stand_in.address,
        "MIASALUD_MANYCHAT_API_TOKEN": token,
    }
    try:
        with patch.dict(os.environ, settings):
            yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
