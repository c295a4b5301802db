"""When a fault is injected: at a moment that may not come."""

#: Seconds that a fault waits for the moment it wants; with a quiet queue, or Odoo still starting, it may not come.
PATIENCE = 20


class DidNotHappen(Exception):
    """The moment for the fault did not come; nothing was injected."""
