"""How the documentation is made: its site, and the pages that come from the code."""
