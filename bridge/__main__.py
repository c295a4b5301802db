"""``python -m bridge``."""

import gc
import sys

# Imported modules stay until the end. To search them for garbage, again and again while they load and at the end, takes
# a quarter of a short command's time, and finds nothing. It is searched for again when the command is loaded.
gc.disable()
try:
    from .cli.app import main
except ModuleNotFoundError as error:
    # Odoo's environment has only the contract: the dependencies of the commands are an extra.
    sys.exit(f"The bridge's commands need {error.name}. In a checkout, run: pip install '.[worker]'")

if __name__ == "__main__":
    main()
