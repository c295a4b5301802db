"""What a comparison with ManyChat finds of one person."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from bridge.stage_map import StageMap
from bridge.store.manychat_known import Known
from bridge.worker.write_back.verdict import Found, judge

NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("value", "sent", "found"),
    [
        (0, 0, Found.SAME),
        ("0", "0", Found.SAME),
        (None, 0, Found.SAME),
        (17, 0, Found.UNDECIDED),
        (None, None, Found.NOT_WRITTEN),
    ],
)
def test_a_stage_without_a_number_is_shown_by_0(value: object, sent: object, found: Found) -> None:
    """The field has numbers only. Of a stage without one it has 0, and a repair has nothing to do."""
    stages = StageMap.read({"7": {"label": "Antes", "id": 17}, "8": {"label": "Sin número", "id": None}})
    known = Known(
        "1001",
        has_opportunity=True,
        stage_id=8,
        stage="Sin número",
        status="open",
        sent={"field:12": sent},
        sent_at=NOW,
    )
    verdict = judge(known, value, stages, "field:12", NOW + timedelta(minutes=1), writes=True)
    assert verdict.found is found
