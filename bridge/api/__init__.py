"""``python -m bridge api``: the standby webhooks, and contacts, campaigns and what became of events over HTTP.

:mod:`.app` puts it together; :mod:`.guard` is what every request passes; the other modules are one resource each.
"""
