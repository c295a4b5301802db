"""What ManyChat shows of an opportunity: the rules that administrators set in Odoo, and what they make of a state.

Off until an administrator switches it on. A stage is written by ManyChat's own label and number only: an Odoo stage
that the stage map does not have would come back as an unknown stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .contract.opportunity_state import OpportunityState, Status

#: Name of the rules among the settings of Odoo.
SETTING = "write_back"
#: What ManyChat may be shown, by key (``field:12``, ``tag:5``): a text, a number, or whether the person has the tag;
#: ``None``: not known.
Values = dict[str, str | int | bool | None]


class Target(BaseModel):
    """A custom field or tag of ManyChat.

    :ivar type: of a field, as ManyChat names it: ``text``, ``number``; empty in the rules of an older addon
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    name: str = ""
    type: str = ""


class Flow(BaseModel):
    """A flow of ManyChat."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ns: str
    name: str = ""


class Rules(BaseModel):
    """Which decisions are written, and where.

    :ivar flows: the flow that starts when a decision brings an opportunity into a stage, by Odoo's id of the stage
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    enabled: bool = False
    stage_field: Target | None = None
    stage_id_field: Target | None = None
    salesperson_field: Target | None = None
    status_field: Target | None = None
    won_tag: Target | None = None
    lost_tag: Target | None = None
    flows: Mapping[str, Flow] = {}

    def values(self, state: Mapping[str, Any]) -> Values:
        """What ManyChat must show of ``state``, as :func:`shown` made it. A status that is not known shows nowhere."""
        values: Values = {}
        status = state["status"]
        if self.status_field and status:
            values[f"field:{self.status_field.id}"] = status
        if status != Status.DELETED:
            if self.stage_field and state["stage"]:
                values[f"field:{self.stage_field.id}"] = state["stage"]
            if self.stage_id_field and (state["stage"] or state["stage_id"] is not None):
                # A stage without a number must not be shown with that of the stage before: sent back by a bot, the
                # number would win. 0 is no number, see `to_id`. Each type of field takes only values of its own type.
                number, is_text = state["stage_id"] or 0, self.stage_id_field.type == "text"
                values[f"field:{self.stage_id_field.id}"] = str(number) if is_text else number
            if self.salesperson_field:
                values[f"field:{self.salesperson_field.id}"] = state["salesperson"] or ""
        for tag, tagged in ((self.won_tag, Status.WON), (self.lost_tag, Status.LOST)):
            if tag and status:
                values[f"tag:{tag.id}"] = status == tagged
        return values

    def flow(self, state: Mapping[str, Any]) -> Flow | None:
        """The flow that belongs to the stage of ``state``."""
        is_worked_on = state["status"] in (Status.OPEN, Status.WON)
        return self.flows.get(str(state["odoo_stage_id"])) if is_worked_on else None

    def targets(self) -> Iterator[tuple[str, Target]]:
        """What is written to: ``field`` or ``tag``, and which."""
        fields = (self.stage_field, self.stage_id_field, self.salesperson_field, self.status_field)
        for kind, targets in (("field", fields), ("tag", (self.won_tag, self.lost_tag))):
            yield from ((kind, target) for target in targets if target)

    def of_stage(self, changes: Mapping[str, Any]) -> set[str]:
        """The keys of ``changes`` that write the stage."""
        targets = [target for target in (self.stage_field, self.stage_id_field) if target]
        return {f"field:{target.id}" for target in targets} & changes.keys()


def rules_of(setting: Any) -> Rules:
    """The rules in a setting of Odoo. What cannot be read is off: nothing is written on a guess."""
    try:
        return Rules.model_validate(setting or {})
    except ValidationError:
        return Rules()


def shown(state: OpportunityState) -> dict[str, Any]:
    """What rules may use of a state, for SQL."""
    return {
        "stage": state.manychat_stage,
        "stage_id": state.manychat_stage_id,
        "odoo_stage_id": state.stage_id,
        "salesperson": state.salesperson,
        "status": state.status and state.status.value,
    }
