import logging
import re

from odoo import api, fields, models

from bridge.contract.payloads import DEAD_LETTER_QUEUE

from .. import configuration
from ..queues import queue_report, recent_queue_report
from ..rights import managers_only
from ..sentences import in_language, menu_path

_logger = logging.getLogger(__name__)

#: The steps of the checklist, in order: each is the method ``_NAME_step``.
STEPS = (
    "key",
    "queue",
    "jobs",
    "address",
    "bridge",
    "stage",
    "pipeline",
    "people",
    "chat_link",
    "alert_receiver",
    "refused",
    "write_back",
    "event",
)
#: System parameter: names of the optional steps that a user has put aside, with commas.
SKIPPED_PARAMETER = "miasalud_crm.setup_skipped"
#: Bridges that the checklist names.
SHOWN = 3
#: Ids of the invented people of test events. ManyChat's own ids are numbers.
TEST_ID = re.compile(r"TEST-[0-9a-f]{12}")
#: The same for SQL's LIKE.
TEST_ID_PATTERN = "TEST-" + "_" * 12


def is_test_person(manychat_id):
    """Whether this is the invented person of a test event: their opportunity counts nowhere, and has no salesperson."""
    return bool(TEST_ID.fullmatch(manychat_id or ""))


class ManychatSetup(models.AbstractModel):
    """The steps from a fresh installation to the first moved opportunity, and the state of each."""

    _name = "manychat.setup"
    _description = "ManyChat Getting Started"

    # ------------------------------------------------------------
    # ORM methods
    # ------------------------------------------------------------

    def _register_hook(self):
        super()._register_hook()
        if unknown := self._unknown_settings():
            _logger.warning("Settings of the server that the ManyChat app does not know: %s", unknown)

    # ------------------------------------------------------------
    # Business: the steps
    # ------------------------------------------------------------

    def _key_step(self):
        keys = self.env["manychat.api.key"].sudo()._for_senders()
        is_admin = self.env.user.has_group("base.group_system")
        valid = keys.filtered("is_valid")
        new, all_keys = "miasalud_crm.manychat_api_key_create_action", "miasalud_crm.manychat_api_key_action"
        actions = [(self.env._("New Key"), new)] if is_admin and not valid else []
        if is_admin and keys:
            actions.append((self.env._("Keys"), all_keys))
        if valid:
            state = "done"
            text = self.env._("One key is valid. Your bots send their events with it.")
            if len(valid) > 1:
                text = self.env._("%s keys are valid. Your bots send their events with them.", len(valid))
        else:
            state = "warning" if keys else "todo"
            text = self.env._("No key is valid any more. Every bot needs one; create a new one.") if keys else ""
            text = text or self.env._("Bots send events with a key. Create one; it is shown once.")
            if not is_admin:
                text = self.env._(
                    "Bots send events with a key. Ask an administrator to create one under %s.",
                    menu_path(self.env, "miasalud_crm.manychat_api_key_menu"),
                )
        title = self.env._("A key for your bots")
        ask = "" if valid or is_admin else self._key_request(title, text)
        return _step("key", state, title, text, actions, ask=ask)

    def _queue_step(self):
        report = recent_queue_report(self.env)
        state = {"ok": "done", "not_configured": "todo"}.get(report["status"], "warning")
        text, actions = self._queue_sentence(report), []
        if unknown := self._unknown_settings():
            sentence = self.env._(
                "These settings of the server have no effect: %s. The server's administrator corrects them.",
                unknown,
            )
            text = f"{text} {sentence}"
        if report["status"] == "ok" and self._failed_count():
            state = "warning"
            actions = [(self.env._("Failed Events"), "open_failed")]
        title = self.env._("The queue")
        ask = "" if report["status"] in ("ok", "neutralized") else self._queue_request(title, text)
        return _step("queue", state, title, text, actions, ask=ask)

    @api.model
    def _failed_count(self):
        """How many events have failed and wait for a user; those of test events do not count."""
        people = ["!", ("manychat_id", "=like", TEST_ID_PATTERN)]
        return self.env["manychat.event"].sudo().search_count([("state", "=", "failed"), *people])

    @api.model
    def _unknown_settings(self):
        """The settings that have no effect, each with what was probably meant; empty if there are none."""
        return ", ".join(
            self.env._("%(name)s (did you mean %(meant)s?)", name=name, meant=meant) if meant else name
            for name, meant in configuration.unknown()
        )

    @api.model
    def _queue_sentence(self, report=None):
        """The state of the queue, and what to do, in the user's language.

        :param dict report: of :func:`queue_report`; a new one if not given
        """
        report = report or queue_report(self.env)
        status = report["status"]
        if status == "ok":
            # The queue of dead letters keeps notices of those that are closed, too.
            waiting = sum(report["depth"].values()) - report["depth"][DEAD_LETTER_QUEUE]
            return self.env._(
                "The queue answers. Messages on it: %(waiting)s; open dead letters: %(failed)s.",
                waiting=waiting,
                failed=self._failed_count(),
            )
        if status == "neutralized":
            return self.env._(
                "This database is a neutralized copy: it uses no queue, its jobs do not run, and the keys that it was "
                "copied with do not work."
            )
        if status == "not_configured":
            return self.env._(
                "No queue is configured. In section [miasalud_crm] of odoo.conf, the server's administrator sets "
                "queue_connection_string to the connection string of the Azure Storage account, or queue_account_url "
                "to its URL if this server has an identity in Azure. The environment variables "
                "MIASALUD_QUEUE_CONNECTION_STRING and MIASALUD_QUEUE_ACCOUNT_URL do the same."
            )
        if status == "malformed":
            return self.env._(
                "The setting of the queue is not valid (%s). The server's administrator corrects it in odoo.conf.",
                in_language(self.env, report["error"]),
            )
        what = in_language(self.env, report["error"].partition(": ")[0])
        if status in ("refused", "not_allowed") and report.get("login") == "identity":
            return self._identity_sentence(status, what)
        if status == "refused":
            return self.env._(
                "The queue refuses the key in its connection string. The key may have changed in Azure: the server's "
                "administrator copies the connection string into odoo.conf again."
            )
        if status == "not_allowed":
            return self.env._(
                "This server may not use the queue: %s. Odoo needs a SAS with the rights read and add, and with the "
                "right create unless all queues exist. The server's administrator makes the queue, or such a SAS.",
                what,
            )
        return self.env._(
            "The queue does not answer (%s). Events wait in Odoo, and none is lost. The server's administrator checks "
            "the queue's setting in odoo.conf, and that the server can reach Azure.",
            what,
        )

    @api.model
    def _identity_sentence(self, status, what):
        if status == "not_allowed":
            return self.env._(
                "This server may not use the queue: %s. In Azure, an administrator assigns this identity the roles "
                "“Storage Queue Data Message Sender” and “Storage Queue Data Reader” on the storage account, or "
                "“Storage Queue Data Contributor” if a queue is missing.",
                what,
            )
        return self.env._(
            "The queue does not accept this server's login without a key (%s). Events wait in Odoo, and none is lost. "
            "The server's administrator checks the server's identity in Azure, or sets a connection string in its "
            "place.",
            what,
        )

    def _bridge_step(self):
        bridges = self.env["manychat.bridge"].sudo().search([("last_seen", "!=", False)], limit=1)
        alive = bridges._running()
        if stuck := alive.filtered("stuck"):
            state = "warning"
            text = " ".join(self._stuck_sentence(bridge) for bridge in stuck[:SHOWN])
            if len(stuck) > SHOWN:
                text = text + " " + self.env._("And %s more.", len(stuck) - SHOWN)
        elif alive and not any(bridge._takes_decisions() for bridge in alive):
            state = "warning"
            text = self.env._(
                "Running: %s. It is older than this app: what users decide about opportunities waits in the queue, and "
                "none is lost. The server's administrator updates the bridge.",
                self._bridge_sentence(alive[0]),
            )
        elif alive:
            state = "done"
            text = self.env._("Running: %s.", "; ".join(self._bridge_sentence(bridge) for bridge in alive[:SHOWN]))
            if len(alive) > SHOWN:
                text = text + " " + self.env._("And %s more.", len(alive) - SHOWN)
        elif bridges:
            state = "warning"
            text = self.env._(
                "No bridge is running. The last one was %s. Start it again with “python -m bridge run”. Events wait "
                "until then.",
                self._bridge_sentence(bridges),
            )
        else:
            state = "todo"
            text = self.env._(
                "No bridge has run yet. The bridge takes events off the queue and moves the opportunities. The "
                "server's administrator gives it a key “For the bridge” and starts it with “python -m bridge run”. "
                "“python -m bridge check” shows what is missing."
            )
        is_admin = self.env.user.has_group("base.group_system")
        new = (self.env._("New Key"), "miasalud_crm.manychat_api_key_create_bridge_action")
        title = self.env._("The bridge")
        ask = "" if state == "done" else self._bridge_request(title, text)
        return _step("bridge", state, title, text, [new] if is_admin and not bridges else [], ask=ask)

    def _stuck_sentence(self, bridge):
        return self.env._(
            "%(name)s (version %(version)s) runs, but stands still at: %(queues)s. Restart it. Events wait until then.",
            name=bridge.name,
            version=bridge.version,
            queues=bridge.stuck,
        )

    def _bridge_sentence(self, bridge):
        if bridge.stopped:
            return self.env._(
                "%(name)s (version %(version)s), stopped %(ago)s",
                name=bridge.name,
                version=bridge.version,
                ago=self._ago(bridge.last_seen),
            )
        return self.env._(
            "%(name)s (version %(version)s), last seen %(ago)s",
            name=bridge.name,
            version=bridge.version,
            ago=self._ago(bridge.last_seen),
        )

    def _stage_step(self):
        rows = self.env["manychat.stage.map"].search([("active", "=", True)])
        unknown = self.env["manychat.stage.map"].open_aliases()
        doubtful = rows.filtered("needs_attention")
        actions = [(self.env._("Stage Map"), "miasalud_crm.manychat_stage_map_action")]
        state = "warning"
        if not rows:
            state = "todo"
            text = self.env._("No ManyChat stage is mapped to a stage of your pipeline yet.")
        elif unknown["aliases"]:
            text = self.env._(
                "Mapped stages: %(mapped)s. Unknown stages: %(unknown)s, with %(waiting)s waiting events. Choose what "
                "each unknown stage means.",
                mapped=len(rows),
                unknown=unknown["aliases"],
                waiting=unknown["events"],
            )
            actions.insert(0, (self.env._("Stage Aliases"), "miasalud_crm.manychat_stage_alias_action"))
        elif doubtful:
            names = ", ".join(f"“{name}”" for name in doubtful.mapped("name"))
            text = self.env._(
                "Mapped stages: %(mapped)s. Check these: %(names)s.",
                mapped=len(rows),
                names=names,
            )
        else:
            state = "done"
            text = self.env._("Mapped stages: %s, each to one stage of your pipeline.", len(rows))
        return _step("stages", state, self.env._("The stages"), text, actions)

    def _ago(self, moment):
        """How long ago ``moment`` was, in words.

        :param datetime moment: naive, in UTC; ``False`` in a damaged row
        """
        if not moment:
            return self.env._("at an unknown time")
        seconds = max(0, int((fields.Datetime.now() - moment).total_seconds()))
        if seconds < 5:
            return self.env._("just now")
        if seconds < 90:
            return self.env._("%s seconds ago", seconds)
        if seconds < 90 * 60:
            return self.env._("%s minutes ago", round(seconds / 60))
        if seconds < 36 * 3600:
            return self.env._("%s hours ago", round(seconds / 3600))
        return self.env._("%s days ago", round(seconds / 86400))

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @managers_only
    def checklist(self):
        """The steps, in order, in the user's language. For sales managers.

        Cheap enough for a call every few seconds: the answer of the queue service is cached.

        :return list: dicts of ``name``; ``state`` (``done``, ``todo``, ``skipped``, or ``warning``: it was done, or
            half done, and needs attention); ``title``; ``text``: the present state, and what to do; ``actions``: a
            list of ``label`` and ``action`` (an XML id) or ``method`` of this model; ``optional``; ``ask``: a message
            to an administrator, or ""; ``is_next``: whether it is the first open step
        :raises AccessError: the user is not a sales manager
        """
        steps = [step for name in STEPS if (step := getattr(self, f"_{name}_step")())]
        skipped = self._skipped()
        for step in steps:
            # What needs attention is shown, also after it was put aside.
            if step["optional"] and step["state"] == "todo" and step["name"] in skipped:
                step["state"] = "skipped"
        following = next((step for step in steps if step["state"] in ("todo", "warning")), None)
        return [{**step, "is_next": step is following} for step in steps]

    @api.model
    @managers_only
    def open_failed(self):
        """The action that lists the events that have failed. For sales managers."""
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_event_action")
        return {**action, "context": {"search_default_failed": 1}}

    @api.model
    @managers_only
    def skip(self, name, skipped=True):
        """Put an optional step aside, or take it up again. For sales managers.

        :param str name: of the step
        :param bool skipped: ``False`` to take it up again
        :raises AccessError: the user is not a sales manager
        """
        names = self._skipped() - {name} | ({name} if skipped and name in STEPS else set())
        self.env["ir.config_parameter"].sudo().set_param(SKIPPED_PARAMETER, ",".join(sorted(names)) or False)

    @api.model
    def _skipped(self):
        return set((self.env["ir.config_parameter"].sudo().get_param(SKIPPED_PARAMETER) or "").split(",")) - {""}


def _step(name, state, title, text, actions, *, optional=False, ask=""):
    """What :meth:`ManychatSetup.checklist` says of one step.

    :param actions: pairs of label and XML id of an action, or name of a method of ``manychat.setup``
    :param bool optional: whether a user may put it aside
    :param str ask: a message to an administrator, of ``_request``, where an administrator has to do it
    """
    actions = [{"label": label, "action" if "." in action else "method": action} for label, action in actions]
    return {
        "name": name,
        "state": state,
        "title": title,
        "text": text,
        "actions": actions,
        "optional": optional,
        "ask": ask,
    }
