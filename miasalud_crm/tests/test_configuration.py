import os
import tempfile
from unittest.mock import patch

from odoo.tests import TransactionCase, tagged
from odoo.tools import config

from .. import configuration, queues

VALUE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:9/a;"


@tagged("post_install", "-at_install")
class TestConfiguration(TransactionCase):
    def setUp(self):
        super().setUp()
        # The environment of the suite has a queue of its own.
        self.patch(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("MIASALUD_")})

    def in_file(self, content):
        with tempfile.NamedTemporaryFile("wb", suffix=".conf") as file:
            file.write(content)
            file.flush()
            with patch.dict(config.options, config=file.name):
                return configuration.get("queue_connection_string", "none")

    def test_what_stands_around_a_value_in_the_environment_does_not_count(self):
        for around in ("{}\n", "{}\r\n", " {} ", '"{}"', "'{}'", '" {} "\n', "\ufeff{}"):
            with self.subTest(around), patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=around.format(VALUE)):
                self.assertEqual(configuration.get("queue_connection_string"), VALUE)

    def test_what_stands_around_a_value_in_the_file_does_not_count(self):
        for around in ("{}", '"{}"', "'{}' ", " \t{}\r"):
            content = f"[miasalud_crm]\nqueue_connection_string = {around.format(VALUE)}\n"
            for encoding in ("utf-8", "utf-8-sig"):
                with self.subTest(around, encoding=encoding):
                    self.assertEqual(self.in_file(content.encode(encoding)), VALUE)

    def test_a_value_of_nothing_is_not_set(self):
        for blank in ("", " ", '""', "\n"):
            with self.subTest(blank), patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=blank):
                content = f"[miasalud_crm]\nqueue_connection_string = {VALUE}\n"
                self.assertEqual(self.in_file(content.encode()), VALUE)
        self.assertEqual(self.in_file(b"[miasalud_crm]\nqueue_connection_string = ''\n"), "none")

    def test_a_value_that_cannot_be_meant_is_malformed(self):
        for wrong in (f'"{VALUE}', f"{VALUE}\n{VALUE}"):
            with self.subTest(wrong), patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=wrong):
                report = queues.queue_report(self.env)
                self.assertEqual(report["status"], "malformed")
                self.assertNotIn("AccountKey", report["error"])

    def test_a_sas_without_a_right_is_told_apart_from_a_wrong_key(self):
        report = {"status": "not_allowed", "error": "the SAS lacks a right"}
        self.assertIn("read and add", self.env["manychat.setup"]._queue_sentence(report))
