"""Import of an old database's rows: ``python -m bridge db adopt``, run once per customer.

:mod:`.fields` lists the fields that can be imported. :mod:`.mapping` is the file that names the user's columns for
them, and :mod:`.guesses` writes a first one. :mod:`.checks` compares the file with the database, :mod:`.rows` converts
values, :mod:`.adoption` goes through all rows, and :mod:`.writer` writes them. The user's tables are only ever read, by
:mod:`.source`.
"""
