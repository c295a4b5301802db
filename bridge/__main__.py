"""``python -m bridge``."""

import gc
import sys

# What is imported stays until the end. Looking through all of it for garbage, again and again while it grows and once
# more at the very end, takes a quarter of a short command's time, and finds nothing.
gc.disable()
try:
    from .cli.app import main
except ModuleNotFoundError as error:
    # Beside Odoo only the contract is installed; what the commands need is an extra.
    sys.exit(f"The bridge's commands need {error.name}. In a checkout, run: pip install '.[worker]'")
gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
