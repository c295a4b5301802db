"""docs/one-server.md, followed on a fresh Debian: `make test-server`. Needs root, debootstrap and a quarter of an hour."""
