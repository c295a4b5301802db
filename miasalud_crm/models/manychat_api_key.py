import hmac
from contextlib import suppress
from datetime import timedelta

import psycopg2

from odoo import api, fields, models
from odoo.addons.base.models.res_partner import _tz_get
from odoo.exceptions import AccessError, UserError, ValidationError

from bridge.contract import keys
from bridge.contract.dates import zone_named
from bridge.contract.keys import Scope

from .. import valid_key
from ..moments import iso_utc
from ..private_sql import private
from ..rights import access_required

#: A key with less time left than this "expires soon".
EXPIRES_SOON = timedelta(days=14)
#: What sales managers change on a key.
BY_MANAGERS = {"builder_ids"}


def check_future(env, moments):
    """Refuse an expiry that has passed: the key would never be valid.

    :param moments: naive, in UTC; ``False`` for a key that never expires
    :raises ValidationError:
    """
    now = fields.Datetime.now()
    if any(moment and moment <= now for moment in moments):
        raise ValidationError(env._("This date has passed. Choose one in the future, or leave it empty: never."))


class ManychatApiKey(models.Model):
    """A key that lets a bot use the webhooks and nothing else: it belongs to no Odoo user and opens no RPC."""

    _name = "manychat.api.key"
    _description = "ManyChat Webhook Key"
    _order = "create_date desc, id desc"

    name = fields.Char("Description", required=True, help="Which bot or environment uses this key.")
    prefix = fields.Char(
        readonly=True, copy=False, index=True, help="The first characters of the key, to recognise it."
    )
    digest = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    expiration_date = fields.Datetime("Expires On", help="Leave empty for a key that never expires.")
    last_used = fields.Datetime(readonly=True, copy=False)
    tz = fields.Selection(
        _tz_get,
        "Time Zone",
        required=True,
        default="UTC",
        help="ManyChat writes dates in the time zone of its account, without naming it. Choose that zone here. Dates "
        "that name their zone don't need it.",
    )
    active = fields.Boolean(default=True, help="A revoked key is refused at once, and for good.")
    revoked_at = fields.Datetime("Revoked On", readonly=True, copy=False)
    revoked_uid = fields.Many2one("res.users", "Revoked By", readonly=True, copy=False, ondelete="set null")
    replaced_by_id = fields.Many2one(
        "manychat.api.key", readonly=True, copy=False, ondelete="set null", index="btree_not_null"
    )
    builder_ids = fields.Many2many(
        "res.users",
        "manychat_api_key_builder_rel",
        "key_id",
        "user_id",
        "Bot Builders",
        domain=[("share", "=", False)],
        help="Users with the role “ManyChat Bot Builder” whose bot this is: they see what it sends.",
    )
    test_manychat_id = fields.Char(
        "Test Person",
        readonly=True,
        copy=False,
        help="Made for a test event: it is valid for events of this person only.",
    )
    scope = fields.Selection(
        [(Scope.webhook.value, "Send events"), (Scope.ask.value, "Ask about a person")],
        "Opens",
        required=True,
        readonly=True,
        default=Scope.webhook.value,
        help="Send events: the webhooks. Ask about a person: how far the opportunity of one person is, nothing else.",
    )
    is_valid = fields.Boolean("Valid", compute="_compute_validity")
    expires_soon = fields.Boolean(compute="_compute_validity", search="_search_expires_soon")

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_api_key_digest_unique ON manychat_api_key (digest)"
        )

    @api.constrains("expiration_date")
    def _check_expiration_date(self):
        check_future(self.env, self.mapped("expiration_date"))

    @api.ondelete(at_uninstall=False)
    def _unlink_if_never_used(self):
        for key in self.filtered(lambda key: not key.test_manychat_id):
            if key.last_used or self.env["manychat.event"].sudo().search_count(
                [("key_prefix", "=", key.prefix)], limit=1
            ):
                raise UserError(
                    self.env._(
                        "A bot has used the key “%s”, and its deliveries name it. Revoke it: it is refused from then "
                        "on, and stays in the list.",
                        key.name,
                    )
                )

    @api.depends("active", "expiration_date")
    def _compute_validity(self):
        now = fields.Datetime.now()
        for key in self:
            key.is_valid = key.active and (not key.expiration_date or key.expiration_date > now)
            key.expires_soon = bool(key.is_valid and key.expiration_date and key.expiration_date - now < EXPIRES_SOON)

    @api.constrains("tz")
    def _check_tz(self):
        for key in self:
            try:
                zone_named(key.tz)
            except ValueError:
                raise ValidationError(self.env._("This server does not know the time zone “%s”.", key.tz)) from None

    def _search_expires_soon(self, operator, value):
        # Odoo 19 asks for a boolean by "in".
        wanted = any(value) if operator == "in" else bool(value) == (operator == "=")
        now = fields.Datetime.now()
        soon = [("active", "=", True), ("expiration_date", ">", now), ("expiration_date", "<", now + EXPIRES_SOON)]
        return soon if wanted else ["!", *["&"] * (len(soon) - 1), *soon]

    def write(self, vals):
        if not self.env.su and not self.env.user.has_group("base.group_system") and set(vals) - BY_MANAGERS:
            raise AccessError(
                self.env._("Only administrators may change a key. Sales managers choose its bot builders.")
            )
        if vals.get("active") and not all(self.mapped("active")):
            raise UserError(
                self.env._(
                    "A revoked key stays revoked: it may be in the wrong hands. Press Replace to get a new one for the "
                    "bot."
                )
            )
        if vals.get("active", True):
            return super().write(vals)
        revoked = self.filtered("active")
        by_whom = {"revoked_at": fields.Datetime.now(), "revoked_uid": self.env.uid}
        result = super(ManychatApiKey, revoked).write({**vals, **by_whom})
        return super(ManychatApiKey, self - revoked).write(vals) and result

    @access_required("write")
    def action_revoke(self):
        """Refuse these keys from now on."""
        self.active = False

    @access_required("create")
    def action_replace(self):
        """Open the dialog that makes a new key for the same bot."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Replace Key"),
            "res_model": "manychat.api.key.replace",
            "view_mode": "form",
            "target": "new",
            "context": {"default_key_id": self.id},
        }

    @api.model
    def _for_bots(self):
        """All keys but those of test events."""
        return self.search([("test_manychat_id", "=", False)])

    @api.model
    def _for_senders(self):
        """Those of bots that send events."""
        return self._for_bots().filtered(lambda key: key.scope == Scope.webhook.value)

    @api.model
    def _for_standby(self):
        """What the bridge's API needs to accept the same keys. The digests do not reveal the keys.

        :return list: of dicts, see :class:`bridge.contract.keys.OdooKey`
        """
        now = fields.Datetime.now()
        return [
            {
                "name": key.name,
                "prefix": key.prefix,
                "digest": key.digest,
                "expires_at": iso_utc(key.expiration_date) or None,
                "zone": key.tz or None,
                "scope": key.scope,
            }
            for key in self._for_bots()
            if not key.expiration_date or key.expiration_date > now
        ]

    @api.model
    def _generate(self, name, expiration_date=False, test_manychat_id=False, tz="UTC"):
        """Create a webhook key.

        :param str name: which bot uses it
        :param datetime expiration_date: naive, UTC; ``False`` for none
        :param str test_manychat_id: the only person whose events it may send; ``False`` for a bot's key
        :param str tz: the time zone of dates that do not name theirs
        :return str: the key. Only its digest is stored, so it cannot be shown again.
        :raises AccessError: the user may not create keys
        """
        return self._generate_record(name, expiration_date, test_manychat_id=test_manychat_id, tz=tz)[1]

    @api.model
    def _generate_record(self, name, expiration_date=False, **values):
        """The same.

        :return tuple: the record and the key
        """
        self.check_access("create")
        key = keys.new_key()
        return self._store(name, keys.prefix(key), keys.digest(key), expiration_date, **values), key

    def _replace(self, ends_at, expiration_date=False):
        """Make a new key for the bot of this one.

        :param datetime ends_at: until when the bot may send both
        :param datetime expiration_date: of the new key; ``False`` for none
        :return str: the new key
        :raises AccessError: the user may not create keys
        """
        self.ensure_one()
        values = {"tz": self.tz, "scope": self.scope, "builder_ids": [fields.Command.set(self.builder_ids.ids)]}
        record, key = self._generate_record(self.name, expiration_date, **values)
        self.replaced_by_id = record
        if self.is_valid and (not self.expiration_date or self.expiration_date > ends_at):
            self.expiration_date = ends_at
        return key

    @api.model
    def _take_in(self, name, prefix, digest, expiration_date=False, **values):
        """Make a key of another system valid here: its callers go on using it.

        :param str prefix: see :func:`bridge.contract.keys.prefix`
        :param str digest: see :func:`bridge.contract.keys.digest`
        :param values: of further fields
        :return: the record
        :raises AccessError: the user may not create keys
        :raises UserError: Odoo has this key, perhaps a revoked one
        """
        self.check_access("create")
        if known := self.sudo().with_context(active_test=False).search([("digest", "=", digest)]):
            raise UserError(self.env._("This key exists already: “%s”.", known.name))
        return self._store(name, prefix, digest, expiration_date, **values)

    @api.model
    def _store(self, name, prefix, digest, expiration_date, **values):
        # As superuser: since Odoo 19 no other user may write the digest.
        values.update(name=name, prefix=prefix, digest=digest, expiration_date=expiration_date)
        return self.sudo().create(values).with_env(self.env)

    @api.model
    def _generate_bridge_key(self, name, expiration_date=False):
        """Create an RPC key of the bridge's own user, which may call this addon's RPC methods and nothing else.

        :return str: the key, to be set as ``BRIDGE_ODOO_API_KEY``
        """
        bridge = self.env.ref("miasalud_crm.user_bridge")
        # As superuser: Odoo limits the keys of users who are not administrators to 90 days.
        api_keys = self.env["res.users.apikeys"].with_user(bridge).sudo()
        return api_keys._generate("rpc", name, expiration_date)

    @api.model
    def _authenticate(self, key):
        """The valid key record for ``key``, or an empty recordset. Requests ask :func:`.valid_key.find` itself.

        :param str key: sent by the caller, not checked yet
        """
        self.flush_model()
        found = valid_key.find(self.env.cr, key)
        return self.sudo().browse(found and found.id)

    @api.model
    def _judge(self, key):
        """How ``key``, which :func:`.valid_key.find` does not take, is wrong.

        :param str key: sent by the caller; "" without one
        :return tuple: a reason of ``manychat.wrong.key``; the beginning that may be shown, or ""; the name of the key
            of ours that begins like it, or ""
        """
        if not key:
            return "missing", "", ""
        prefix, digest = keys.prefix(key), keys.digest(key) if key.isascii() else ""
        alike = self.sudo().with_context(active_test=False).search([("prefix", "=", prefix)]) if digest else self
        same = alike.filtered(lambda candidate: hmac.compare_digest(candidate.digest, digest))
        if same:
            return "expired" if same[:1].active else "revoked", prefix, same[:1].name
        if alike:
            return "mistyped", prefix, alike[:1].name
        # What is no key of our form may be a secret of another kind, in the wrong header.
        is_ours = digest and prefix.startswith(keys.TAG) and prefix.isprintable()
        return "unknown", prefix if is_ours else "", ""

    @api.model
    def _judge_address(self, query):
        """The same for a key in the address.

        :param bytes query: what follows the ``?``, as it was sent
        """
        key = keys.found_in(query)
        return (
            "in_address",
            key,
            self.sudo().with_context(active_test=False).search([("prefix", "=", key)])[:1].name or "",
        )

    def _zone(self):
        """The zone of dates that do not name theirs, as a ``tzinfo``."""
        self.ensure_one()
        return valid_key.zone_or_utc(self.tz, self.prefix)

    def _touch(self):
        """Update ``last_used``, unless that happened within the last minute or another transaction is doing it."""
        self.ensure_one()
        if valid_key.is_recent(self.last_used):
            return
        with private(self.env.cr), suppress(psycopg2.errors.SerializationFailure):  # another request has just done it
            self.env.cr.execute(
                """
                UPDATE manychat_api_key SET last_used = %s
                 WHERE id = (SELECT id FROM manychat_api_key WHERE id = %s FOR UPDATE SKIP LOCKED)
                """,
                [fields.Datetime.now(), self.id],
            )
        self.invalidate_recordset(["last_used"], flush=False)

    @api.autovacuum
    def _gc_test_keys(self):
        """Delete expired keys of test events."""
        self.search([("test_manychat_id", "!=", False), ("expiration_date", "<", fields.Datetime.now())]).unlink()
