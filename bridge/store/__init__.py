"""The SQL store: the tables, their migrations, and every operation on them as a function.

A function that takes a ``Connection`` works within the caller's transaction: ``in_transaction(engine, function, …)`` of
:mod:`.engine` opens one, and ``read`` opens one that only reads. All times are UTC.
"""
