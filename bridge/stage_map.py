"""The stages of ManyChat by number, label and alias, as Odoo's stage map has them and its heartbeat tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .contract.fields import normalize_label


@dataclass(frozen=True)
class StageMap:
    """Which stage of Odoo a stage of ManyChat means.

    :ivar numbers: Odoo's id of the stage, by ManyChat's number
    :ivar labels: the same, by label in the form for comparing
    :ivar shown: ManyChat's label, by Odoo's id
    """

    numbers: Mapping[int, int]
    labels: Mapping[str, int]
    shown: Mapping[int, str]

    @classmethod
    def read(cls, rows: Mapping[str, Mapping[str, Any]]) -> StageMap:
        """The map in the setting ``stage_texts`` of Odoo: rows by Odoo's id of the stage."""
        numbers, labels = dict[int, int](), dict[str, int]()
        for odoo_id, row in rows.items():
            for name in (row.get("label"), row.get("id"), *(row.get("aliases") or ())):
                if isinstance(name, int):
                    numbers[name] = int(odoo_id)
                elif name:
                    labels[normalize_label(name)] = int(odoo_id)
        return cls(numbers, labels, {int(odoo_id): str(row.get("label") or "") for odoo_id, row in rows.items()})

    def meant(self, value: Any) -> Stage | None:
        """The stage that a field of ManyChat shows; ``None`` if it is empty, or has 0 for no number."""
        if value is None or isinstance(value, bool):
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = normalize_label(str(value))
        number = int(text) if text.isdecimal() and len(text) < 10 else None
        if not text or number == 0:
            return None
        by_number = self.numbers.get(number) if number is not None else None
        return Stage(by_number or self.labels.get(text), str(value).strip(), number)

    def said(self, label: str | None, number: int | None) -> Stage | None:
        """The stage that an event says. The number wins where both come, as in Odoo."""
        return self.meant(label if number is None else number)


@dataclass(frozen=True)
class Stage:
    """A stage of ManyChat.

    :ivar odoo_id: of the stage that it means; ``None``: the stage map does not have it
    :ivar text: its label or number as it was written
    :ivar number: its number, if that is given
    """

    odoo_id: int | None
    text: str
    number: int | None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stage):
            return NotImplemented
        if self.odoo_id is None or other.odoo_id is None:
            return self.odoo_id is other.odoo_id and normalize_label(self.text) == normalize_label(other.text)
        return self.odoo_id == other.odoo_id

    def __hash__(self) -> int:
        return hash(self.odoo_id if self.odoo_id is not None else normalize_label(self.text))
