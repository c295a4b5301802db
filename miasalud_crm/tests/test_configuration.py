import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from odoo.tests import TransactionCase, tagged
from odoo.tools import config

from bridge.errors import ConfigurationError

from .. import configuration, queues

VALUE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:9/a;"


@tagged("post_install", "-at_install")
class TestConfiguration(TransactionCase):
    def setUp(self):
        super().setUp()
        # The environment of the suite has a queue of its own.
        self.patch(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("MIASALUD_")})

    @contextmanager
    def odoo_conf(self, content):
        with tempfile.NamedTemporaryFile("wb", suffix=".conf") as file:
            file.write(content)
            file.flush()
            with patch.dict(config.options, config=file.name):
                yield

    def in_file(self, content):
        with self.odoo_conf(content):
            return configuration.get("queue_connection_string", "none")

    def secret_file(self, content):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "secret"
        path.write_bytes(content)
        return str(path)

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

    def test_a_secret_is_read_from_its_file_anew_each_time(self):
        path = self.secret_file(f"\ufeff{VALUE}\r\n".encode())
        with patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING_FILE=path, MIASALUD_QUEUE_CONNECTION_STRING=""):
            self.assertEqual(queues.queue_account(self.env), VALUE)
            Path(path).write_text(VALUE.replace("a;", "b;"))
            self.assertEqual(queues.queue_account(self.env), VALUE.replace("a;", "b;"))
        self.assertEqual(
            self.in_file(f"[miasalud_crm]\nqueue_connection_string_file = {path}\n".encode()), Path(path).read_text()
        )

    def test_the_environment_wins_over_the_file_for_secret_files_too(self):
        path = self.secret_file(VALUE.encode())
        with patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING_FILE=path):
            self.assertEqual(self.in_file(b"[miasalud_crm]\nqueue_connection_string = other\n"), VALUE)
        with patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=VALUE):
            self.assertEqual(self.in_file(b"[miasalud_crm]\nqueue_connection_string_file = /nowhere\n"), VALUE)

    def test_a_secret_file_that_cannot_be_used_is_named_everywhere(self):
        wrong = {
            "/nowhere/secret": "there is no file /nowhere/secret",
            tempfile.gettempdir(): "is a directory",
            self.secret_file(b" \n"): "the file is empty",
            self.secret_file("hunter2".encode("utf-16")): "UTF-16",
            self.secret_file("hunter2\u00f1".encode("latin-1")): "UTF-8",
            self.secret_file(b"hunter2\nhunter3\n"): "line break",
            self.secret_file(b"hunter2" * 10_000): "larger",
            os.devnull: "no ordinary file",
        }
        for path, words in wrong.items():
            with self.subTest(words), patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING_FILE=path):
                queues._latest.clear()
                report = queues.queue_report(self.env)
                self.assertEqual(report["status"], "malformed")
                self.assertIn("MIASALUD_QUEUE_CONNECTION_STRING_FILE: ", report["error"])
                self.assertIn(words, report["error"])
                self.assertNotIn("hunter", report["error"])
                self.assertIn(words, self.env["manychat.setup"]._queue_step()["text"])

    def test_a_secret_and_its_file_at_once_are_refused(self):
        path = self.secret_file(VALUE.encode())
        both = {"MIASALUD_QUEUE_CONNECTION_STRING": VALUE, "MIASALUD_QUEUE_CONNECTION_STRING_FILE": path}
        with patch.dict(os.environ, both):
            report = queues.queue_report(self.env)
            self.assertEqual(report["status"], "malformed")
            self.assertIn("keep one of them", report["error"])
            self.assertNotIn("AccountKey", report["error"])
        content = f"[miasalud_crm]\nqueue_connection_string = {VALUE}\nqueue_connection_string_file = {path}\n"
        with self.odoo_conf(content.encode()), self.assertRaisesRegex(ConfigurationError, "keep one of them"):
            configuration.get("queue_connection_string")

    def test_an_odoo_conf_with_comments_in_another_encoding_is_read(self):
        content = f"; contrase\u00f1a\n[miasalud_crm]\nqueue_connection_string = {VALUE}\n"
        self.assertEqual(self.in_file(content.encode("latin-1")), VALUE)

    def test_an_odoo_conf_that_cannot_be_read_is_named_and_stops_nothing(self):
        with self.odoo_conf(b"queue_connection_string = x\n"):
            self.assertEqual(queues.queue_report(self.env)["status"], "malformed")
            self.assertIn(config.options["config"], queues.queue_report(self.env)["error"])
            self.assertEqual(configuration.unknown(), [])

    def test_unknown_settings_are_in_the_checklist_and_in_the_log(self):
        content = (
            b"[options]\nqueue_account_url = x\n[miasalud-crm]\nqueue_connection_string = hunter2\n"
            b"[miasalud_crm]\nqueue_conection_string = hunter2\nsomething = hunter2\nqueue_account_url = \n"
        )
        expected = {
            "MIASALUD_QUEUE_CONNECTIONSTRING": "MIASALUD_QUEUE_CONNECTION_STRING",
            "MIASALUD_QUEUE_ACCOUNT_URL_FILE": "MIASALUD_QUEUE_ACCOUNT_URL",
            "miasalud_queue_connection_string": "MIASALUD_QUEUE_CONNECTION_STRING",
            "MIASALUD_NONSENSE_XYZ": "",
            "[options] queue_account_url": "[miasalud_crm] queue_account_url",
            "[miasalud-crm] queue_connection_string": "[miasalud_crm] queue_connection_string",
            "[miasalud_crm] queue_conection_string": "queue_connection_string",
            "[miasalud_crm] something": "",
        }
        variables = {name: "hunter2" for name in expected if name.lower().startswith("miasalud_")}
        # Of a service "miasalud" beside Odoo in Kubernetes, and of other programs.
        others = {"MIASALUD_SERVICE_HOST": "10.0.0.1", "MIASALUD_PORT": "tcp://10.0.0.1:80", "AZURE_CLIENT_ID": "x"}
        with self.odoo_conf(content), patch.dict(os.environ, {**variables, **others}):
            self.assertEqual(dict(configuration.unknown()), expected)
            text = self.env["manychat.setup"]._queue_step()["text"]
            with self.assertLogs("odoo.addons.miasalud_crm.models.manychat_setup", "WARNING") as logs:
                self.env["manychat.setup"]._register_hook()
        for name, meant in expected.items():
            sentence = f"{name} (did you mean {meant}?)" if meant else name
            self.assertIn(sentence, text)
            self.assertIn(sentence, logs.output[0])
        self.assertNotIn("hunter2", text + logs.output[0])

    def test_right_settings_are_not_called_unknown(self):
        content = b"[options]\ndb_host = x\n[miasalud_crm]\nqueue_connection_string_file = x\nqueue_account_url = x\n"
        right = {"MIASALUD_QUEUE_CONNECTION_STRING": "x", "MIASALUD_QUEUE_CONNECTION_STRING_FILE": "x"}
        with self.odoo_conf(content), patch.dict(os.environ, right):
            self.assertEqual(configuration.unknown(), [])
            self.assertNotIn("no effect", self.env["manychat.setup"]._queue_step()["text"])

    def test_a_sas_without_a_right_is_told_apart_from_a_wrong_key(self):
        report = {"status": "not_allowed", "error": "the SAS lacks a right"}
        self.assertIn("read and add", self.env["manychat.setup"]._queue_sentence(report))
