"""Which rows of ``manychat.event`` are events, and which are refused requests."""

#: What the ids of refused requests begin with. An event's own id is hexadecimal, so it comes before in any order.
REFUSED_PREFIX = "refused-"
#: All refused requests, as a domain that the index over the ids serves: open, corrected and discarded ones.
REFUSALS = [("event_id", ">=", REFUSED_PREFIX)]
#: All events, as a domain: what a webhook, a queue or a command took.
ACCEPTED = [("event_id", "<", REFUSED_PREFIX)]
