"""``python -m bridge api``: the standby webhooks, and an API for contacts, campaigns and the fate of events.

:mod:`.app` puts it together. Every request passes :mod:`.auth`. Each resource has a module of its own.
"""
