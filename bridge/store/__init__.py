"""The SQL store: the tables, their migrations, and every operation on them by name.

Functions that take a ``Connection`` work within the caller's transaction; :func:`bridge.store.engine.in_transaction`
makes one. Times are UTC throughout.
"""
