"""The key of a bot's request, as one plain statement reads it.

Each request looks for its key. A search by the ORM takes three times as long: a tenth of the whole request.
"""

import hmac
import logging
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from odoo import fields

from bridge.contract import keys, webhook
from bridge.contract.dates import zone_named

_logger = logging.getLogger(__name__)

#: "Last used" is written at most this often. Written at each request, the row would be a bottleneck.
LAST_USED_RESOLUTION = timedelta(minutes=1)


class ValidKey(NamedTuple):
    """What a request needs of its ``manychat.api.key``: fields by their names there."""

    id: int
    name: str
    prefix: str
    digest: str
    expiration_date: datetime | None
    last_used: datetime | None
    tz: str
    test_manychat_id: str | None
    scope: str

    @property
    def zone(self):
        """The zone of dates that do not name theirs, as a ``tzinfo``."""
        return zone_or_utc(self.tz, self.prefix)

    def require(self, needed):
        """Refuse a key that opens something else.

        :param bridge.contract.keys.Scope needed: of the route
        :raises WebhookError: 403
        """
        if self.scope != needed.value:
            raise webhook.wrong_scope(self.scope, needed.value)


#: The fields of :class:`ValidKey`, in their order.
_SELECT = """
    SELECT id, name, prefix, digest, expiration_date, last_used, tz, test_manychat_id, scope
      FROM manychat_api_key
     WHERE active AND prefix = %s
"""


def find(cr, text):
    """The valid key that ``text`` is; ``None`` if there is none.

    :param str text: sent by the caller, not checked yet
    """
    if not text or not text.isascii():
        return None
    cr.execute(_SELECT, [keys.prefix(text)])
    now, digest = fields.Datetime.now(), keys.digest(text)
    # No early exit: the response time must not show how a wrong key is wrong.
    valid = [
        candidate
        for candidate in map(ValidKey._make, cr.fetchall())
        if hmac.compare_digest(candidate.digest, digest)
        and (not candidate.expiration_date or candidate.expiration_date > now)
    ]
    return valid[0] if valid else None


def zone_or_utc(name, prefix):
    """The time zone of a key.

    :param str prefix: the beginning of the key, for the log
    """
    try:
        return zone_named(name)
    except ValueError:
        # The server's list of zones has changed. A date that is some hours off is better than a refused event.
        _logger.warning("This server does not know the time zone of the ManyChat key %s.", prefix)
        return timezone.utc


def is_recent(last_used):
    """Whether the moment is so near that “last used” need not be written again."""
    return bool(last_used) and fields.Datetime.now() - last_used < LAST_USED_RESOLUTION
