"""docs/one-server.md, followed on a fresh Debian (`make test-server`). It needs root and a quarter of an hour."""
