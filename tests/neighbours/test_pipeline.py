"""The way of an event, as it is with nothing beside: the same tests, in this package's system."""

from tests.e2e.test_pipeline import *  # noqa: F403
