"""Taking over what another system's database knows: ``python -m bridge db adopt``.

``mapping`` is the file that says what is what, ``guesses`` writes a first one, ``checks`` holds it against the
database, ``rows`` turns their rows into ours, ``adoption`` goes through all of them. The user's tables are only ever
read (:mod:`bridge.importer.source`).
"""
