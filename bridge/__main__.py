"""``python -m bridge``."""

import sys

try:
    from .cli import main
except ModuleNotFoundError as error:
    # Beside Odoo only the contract is installed; what the commands need is an extra.
    sys.exit(f"The bridge's commands need {error.name}: pip install 'miasalud-bridge[worker]'")

if __name__ == "__main__":
    main()
