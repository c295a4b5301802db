"""`make bench`: what the product costs, beside what a user would have instead, in the same run.

Every case runs ours and its peers in turns (A B A B …) on one system that is made for the run: Odoo with two workers,
a PostgreSQL that waits for the disk, Azurite on disk. A case checks what it did before its figures count.
"""
