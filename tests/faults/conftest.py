"""One system for the whole suite, fresh at the start of the run."""

from collections.abc import Iterator

import pytest

from .system import System


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    with System().fresh() as running:
        yield running
