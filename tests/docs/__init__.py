"""README, SECURITY and docs: what they link to exists, what they name is called so, what they show runs."""
