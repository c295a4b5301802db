"""The errors that cross module borders. Each dependency that is down raises its own kind of :class:`Outage`."""

from __future__ import annotations


class Outage(Exception):
    """A dependency is down.

    The message is for an operator and must be safe to log: no personal data, no secrets.
    """

    dependency: str = "?"


class QueueUnavailable(Outage):
    """The queue service is down.

    :ivar queue: the name of the queue that has the fault; empty if the whole account may have it
    """

    dependency = "queue"
    queue: str = ""


class QueueMissing(QueueUnavailable):
    """The queue does not exist (yet: ``run`` and ``check`` create it)."""


class QueueDenied(QueueUnavailable):
    """The queue service refuses the login: the key, the SAS or the identity."""


class QueueRightMissing(QueueDenied):
    """The queue service accepts the SAS or the identity, and it lacks a right that this takes."""


class PageUndelivered(QueueUnavailable):
    """The queue service could not deliver messages, and may hide those that it has taken for that."""


class MessageRefused(QueueUnavailable):
    """The queue service refuses this message, as malformed or too large. Other messages may pass."""


class BadQueueAccount(ValueError):
    """Neither an Azure Storage connection string nor the URL of an account; or both are set."""


class OdooUnavailable(Outage):
    """Odoo is down: it cannot be reached, or its database is down."""

    dependency = "Odoo"


class OdooTimeout(OdooUnavailable):
    """Odoo did not answer in time. It may have done the work nevertheless, and this one call may be too slow."""


class OdooMisconfigured(OdooUnavailable):
    """Odoo answers, but does not accept the bridge. The message says what an operator must do."""


class OdooRefused(Exception):
    """Odoo raised an exception of its own in the call.

    :ivar name: the exception's class there, such as ``odoo.exceptions.ValidationError``
    :ivar message: for people; may hold personal data
    """

    def __init__(self, name: str, message: str):
        super().__init__(name)
        self.name = name
        self.message = message


class ManyChatUnavailable(Outage):
    """ManyChat is down, or gives answers that say nothing.

    :ivar unsent: the request cannot have had an effect
    :ivar words: ManyChat's own; empty if it said none
    """

    dependency = "ManyChat"

    def __init__(self, message: str, *, unsent: bool = False, words: str = ""):
        super().__init__(message)
        self.unsent = unsent
        self.words = words


class ManyChatMisconfigured(ManyChatUnavailable):
    """ManyChat answers, but does not accept the token. So it has done nothing."""

    def __init__(self, message: str, words: str = ""):
        super().__init__(message, unsent=True, words=words)


class ManyChatStopped(ManyChatUnavailable):
    """ManyChat takes no calls for a while, because there were too many. So it has done nothing.

    :ivar seconds: for how long, if it says so
    """

    def __init__(self, message: str, seconds: float | None, words: str = ""):
        super().__init__(message, unsent=True, words=words)
        self.seconds = seconds


class ManyChatRefused(Exception):
    """ManyChat refused one call.

    :ivar code: ``window_closed``, ``unknown_person``, ``missing``, ``passing`` (another attempt may succeed) or
        ``refused``
    :ivar message: ManyChat's own words
    """

    def __init__(self, code: str, message: str):
        super().__init__(code)
        self.code = code
        self.message = message


class StoreUnavailable(Outage):
    """The database is down, locked or full, or the bridge lacks tables or rights there."""

    dependency = "SQL"


class StoreRefused(StoreUnavailable):
    """The database answers, and refused a statement: for its own reasons, or because of the data in it.

    :ivar error: the driver's error; may quote personal data
    """

    def __init__(self, message: str, error: Exception):
        super().__init__(message)
        self.error = error


class StoreMisconfigured(StoreUnavailable):
    """No connection to the database is possible with these settings, whatever happens on its server."""


class BadDatabaseUrl(ValueError):
    """The database URL cannot work. The message is for the operator who set it."""


class BadDatabaseOptions(ValueError):
    """The options of the database's engine cannot work. The message is for the operator who set them."""


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message names the variable and what to do, without secrets."""


class UnfitTables(ConfigurationError):
    """This version cannot work on the tables, most often because they are older than it.

    No setting is wrong: the same command succeeds once the tables are upgraded. So the exit code is that of a failure,
    at which a supervisor starts the process again.
    """
