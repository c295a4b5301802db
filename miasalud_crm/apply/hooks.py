"""What a cursor calls after the commit or around a rollback, as it was when a savepoint began.

A savepoint of Odoo's keeps what was registered in it, even if it is rolled back: messages would be sent, and webhooks
called, for records that never existed.
"""

import copy
from collections.abc import MutableSet


class Hooks:
    """The state of one ``odoo.tools.misc.Callbacks``."""

    def __init__(self, callbacks):
        self._functions = list(callbacks._funcs)
        self._data = {name: _copy(value) for name, value in callbacks.data.items()}

    def restore(self, callbacks):
        """Forget what was registered since then."""
        callbacks.clear()
        callbacks._funcs.extend(self._functions)
        callbacks.data.update(self._data)


def _copy(value):
    # copy() of Odoo's OrderedSet shares its contents.
    return type(value)(value) if isinstance(value, MutableSet) else copy.copy(value)
