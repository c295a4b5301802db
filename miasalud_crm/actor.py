"""What makes the changes that a thread is making: the chat, a person, an automation, an import, an assignment.

Not in the context of the environment: a caller from outside may put anything there, and other apps replace it.
"""

from contextlib import contextmanager
from contextvars import ContextVar

from bridge.contract.opportunity_state import Actor

#: The one who acts now is the last; the others have set it off.
_actors = ContextVar("manychat_actors", default=())


@contextmanager
def acting(actor):
    """Have ``actor`` make the changes while the context lasts."""
    token = _actors.set((*_actors.get(), actor))
    try:
        yield
    finally:
        _actors.reset(token)


def current_actor(env):
    """What makes the changes now. A user who calls Odoo is a person, unless they are a machine or a customer."""
    if actors := _actors.get():
        return actors[-1]
    if env.context.get("import_file"):
        return Actor.IMPORT
    return Actor.PERSON if env["crm.lead"]._manychat_is_person(env.user) else Actor.AUTOMATION


def is_chat():
    """Whether an event of the conversation makes the changes, and nothing that an event has set off."""
    return _actors.get()[-1:] == (Actor.CHAT,)


def is_within_chat():
    """Whether an event of the conversation makes the changes, or has set them off."""
    return Actor.CHAT in _actors.get()
