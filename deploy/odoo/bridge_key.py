# For `odoo shell`, by docker-compose's service "keys": the bridge's API key goes into a volume that only it shares.
import os
from pathlib import Path

os.umask(0o077)  # the bridge's container runs as the same user
key = Path("/keys/bridge")
if not key.exists():
    draft = Path("/keys/draft")
    draft.write_text(env["manychat.api.key"]._generate_bridge_key("docker compose"))  # noqa: F821 - the shell has it
    env.cr.commit()  # noqa: F821
    draft.rename(key)
