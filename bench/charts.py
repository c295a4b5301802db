"""The charts of `results.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def draw(results: Mapping[str, Any]) -> None:
    """Draw them anew."""
