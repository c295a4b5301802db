"""Which rows of ``manychat.event`` are events, and which are refused requests."""

#: What the ids of refused requests begin with. An event's own id is hexadecimal, so it comes before in any order.
REFUSED_PREFIX = "refused-"
#: All refused requests, as a domain that the index over the ids serves: open, corrected and discarded ones.
REFUSALS = [("event_id", ">=", REFUSED_PREFIX)]
#: All events, as a domain: what a webhook, a queue or a command took.
ACCEPTED = [("event_id", "<", REFUSED_PREFIX)]
#: Those that happened in a chat, and not in Odoo.
FROM_CHAT = [*ACCEPTED, ("type", "!=", "decision")]


def notification(message, kind, **more):
    """The action that shows ``message`` in a corner, and the present screen anew.

    :param str kind: ``success``, ``warning``, ``danger`` or ``info``
    :param more: further parameters: ``title``, ``sticky``
    """
    close = {"type": "ir.actions.act_window_close"}  # after a button, the view then loads its records again
    parameters = {"message": message, "type": kind, "next": close, **more}
    return {"type": "ir.actions.client", "tag": "display_notification", "params": parameters}
