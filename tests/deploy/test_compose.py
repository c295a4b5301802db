"""The compose files: what they name is in the checkout."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ["docker-compose.yml"]


@pytest.fixture(params=FILES)
def compose(request: pytest.FixtureRequest) -> Any:
    return yaml.safe_load((ROOT / request.param).read_text(encoding="utf-8"))


def test_each_image_is_built_from_a_file_that_exists(compose: Any) -> None:
    builds = [service["build"] for service in compose["services"].values() if "build" in service]
    assert builds
    assert [build["dockerfile"] for build in builds if not (ROOT / build["dockerfile"]).is_file()] == []
