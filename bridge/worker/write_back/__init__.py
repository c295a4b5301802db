"""What people decide in Odoo, written to ManyChat. ``wishes`` puts persons on a queue; ``outbound`` takes them from it,
and ``person`` writes the newest state of each. ``comparison`` finds what ManyChat lacks.
"""
