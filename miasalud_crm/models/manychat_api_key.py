import hmac
import logging
from contextlib import suppress
from datetime import timedelta, timezone

import psycopg2

from odoo import api, fields, models
from odoo.addons.base.models.res_partner import _tz_get
from odoo.exceptions import UserError, ValidationError

from bridge.contract import keys
from bridge.contract.dates import zone_named

from ..moments import iso_utc
from ..private_sql import private
from ..rights import access_required

_logger = logging.getLogger(__name__)

#: "Last used" is written at most this often. Written at each request, the row would be a bottleneck.
LAST_USED_RESOLUTION = timedelta(minutes=1)
#: A key with less time left than this "expires soon".
EXPIRES_SOON = timedelta(days=14)


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
    active = fields.Boolean(default=True, help="A revoked key is refused at once.")
    test_manychat_id = fields.Char(
        "Test Person",
        readonly=True,
        copy=False,
        help="Made for a test event: it is valid for events of this person only.",
    )
    is_valid = fields.Boolean("Valid", compute="_compute_validity")
    expires_soon = fields.Boolean(compute="_compute_validity", search="_search_expires_soon")

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_api_key_digest_unique ON manychat_api_key (digest)"
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

    @access_required("write")
    def action_revoke(self):
        """Refuse these keys from now on."""
        self.active = False

    @api.model
    def _for_bots(self):
        """All keys but those of test events."""
        return self.search([("test_manychat_id", "=", False)])

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
        self.check_access("create")
        key = keys.new_key()
        self._store(name, keys.prefix(key), keys.digest(key), expiration_date, test_manychat_id, tz)
        return key

    @api.model
    def _take_in(self, name, prefix, digest, expiration_date=False, tz="UTC"):
        """Make a key of another system valid here: its callers go on using it.

        :param str prefix: see :func:`bridge.contract.keys.prefix`
        :param str digest: see :func:`bridge.contract.keys.digest`
        :raises AccessError: the user may not create keys
        :raises UserError: Odoo has this key, perhaps a revoked one
        """
        self.check_access("create")
        if known := self.sudo().with_context(active_test=False).search([("digest", "=", digest)]):
            raise UserError(self.env._("This key exists already: “%s”.", known.name))
        self._store(name, prefix, digest, expiration_date, tz=tz)

    @api.model
    def _store(self, name, prefix, digest, expiration_date, test_manychat_id=False, tz="UTC"):
        # As superuser: since Odoo 19 no other user may write the digest.
        self.sudo().create(
            {
                "name": name,
                "prefix": prefix,
                "digest": digest,
                "expiration_date": expiration_date,
                "test_manychat_id": test_manychat_id,
                "tz": tz,
            }
        )

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
        """The valid key record for ``key``, or an empty recordset.

        :param str key: sent by the caller, not checked yet
        """
        if not key or not key.isascii():
            return self.sudo().browse()
        candidates = self.sudo().search([("prefix", "=", keys.prefix(key))])
        now = fields.Datetime.now()
        digest = keys.digest(key)
        # No early exit: the response time must not show how a wrong key is wrong.
        valid = [
            candidate
            for candidate in candidates
            if hmac.compare_digest(candidate.digest, digest)
            and (not candidate.expiration_date or candidate.expiration_date > now)
        ]
        return valid[0] if valid else self.sudo().browse()

    def _zone(self):
        """The zone of dates that do not name theirs, as a ``tzinfo``."""
        self.ensure_one()
        try:
            return zone_named(self.tz)
        except ValueError:
            # The server's list of zones has changed. A date that is some hours off is better than a refused event.
            _logger.warning("This server does not know the time zone of the ManyChat key %s.", self.prefix)
            return timezone.utc

    def _touch(self):
        """Update ``last_used``, unless that happened within the last minute or another transaction is doing it."""
        self.ensure_one()
        now = fields.Datetime.now()
        if self.last_used and now - self.last_used < LAST_USED_RESOLUTION:
            return
        with private(self.env.cr), suppress(psycopg2.errors.SerializationFailure):  # another request has just done it
            self.env.cr.execute(
                """
                UPDATE manychat_api_key SET last_used = %s
                 WHERE id = (SELECT id FROM manychat_api_key WHERE id = %s FOR UPDATE SKIP LOCKED)
                """,
                [now, self.id],
            )
        self.invalidate_recordset(["last_used"], flush=False)

    @api.autovacuum
    def _gc_test_keys(self):
        """Delete expired keys of test events."""
        self.search([("test_manychat_id", "!=", False), ("expiration_date", "<", fields.Datetime.now())]).unlink()
