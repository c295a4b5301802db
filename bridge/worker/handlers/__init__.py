"""What happens to a batch of events, one module per queue.

``handle(…, events)`` applies a batch and returns the outcome of each event by its id. It may be called again with the
same events, together or in parts, and must then change nothing. It raises :class:`bridge.errors.Outage` when nobody
is to blame, and anything else when one of the events is.
"""
