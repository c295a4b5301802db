"""The errors that cross module borders. Each dependency that is down raises its own kind of :class:`Outage`."""

from __future__ import annotations


class Outage(Exception):
    """A dependency cannot be used just now.

    The message is for an operator and must be safe to log: no personal data, no secrets.
    """

    dependency: str = "?"


class QueueUnavailable(Outage):
    """The queue service cannot be used just now."""

    dependency = "queue"


class QueueMissing(QueueUnavailable):
    """There is no queue of that name (yet: ``run`` and ``check`` make it)."""


class QueueDenied(QueueUnavailable):
    """The queue service refuses the key in the connection string."""


class MessageRefused(QueueUnavailable):
    """The queue takes no message like this one, malformed or too large. Other messages may pass."""


class BadConnectionString(ValueError):
    """Not an Azure Storage connection string."""


class OdooUnavailable(Outage):
    """Odoo cannot be reached, or cannot work, just now."""

    dependency = "Odoo"


class OdooTimeout(OdooUnavailable):
    """No answer in time. It may have done the work nonetheless; and it may be this very call that is too slow."""


class OdooMisconfigured(OdooUnavailable):
    """Odoo answers, but not to us. The message says what an operator must do."""


class OdooRefused(Exception):
    """Odoo raised an exception of its own in the call.

    :ivar name: the exception's class there, such as ``odoo.exceptions.ValidationError``
    :ivar message: for people; may hold personal data
    """

    def __init__(self, name: str, message: str):
        super().__init__(name)
        self.name = name
        self.message = message


class StoreUnavailable(Outage):
    """The database cannot be used just now: away, locked, full, or without the tables or rights that we need."""

    dependency = "SQL"


class BadDatabaseUrl(ValueError):
    """The database URL or its options cannot work, in words for whoever set them."""


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message names the variable and says what to do; it holds no secret."""
