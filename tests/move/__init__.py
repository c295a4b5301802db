"""The move from an old system, on invented people, in a running system: `make move CONTACTS=10000` for many."""
