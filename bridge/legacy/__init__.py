"""The move from the old system: ``python -m bridge migrate``.

The old system kept contacts in SQL and in Odoo, and an opportunity nowhere. :mod:`.states` finds the newest mapped
state of each contact in the old tables, which :mod:`bridge.importer` reads, and :mod:`.events` makes an event of it.
:mod:`.plan` says what must be decided before, :mod:`.run` copies and applies, :mod:`.verify` compares, and
:mod:`.rollback` undoes. :mod:`.odoo` has the calls of the addon's model ``manychat.migration``.
"""
