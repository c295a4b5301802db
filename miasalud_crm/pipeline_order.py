"""Where new stages stand in a pipeline that may be in use: before its first won stage, without moving its beginning."""


def make_room(stages, count, fixed):
    """Give ``count`` new open stages consecutive places in the pipeline.

    Stages that must move keep their order among each other.

    :param stages: all ``crm.stage`` of the database, in their order
    :param int count: how many places are needed
    :param fixed: stages whose sequence must not change
    :return: the first of the free sequence numbers
    """
    position = _position(stages)
    before, after = stages[:position], stages[position:]
    if not before:
        return after[0].sequence - count if after else 1
    start = before[-1].sequence + 1
    if _push(after, start + count, fixed, 1):
        return start
    if _push(before[::-1], after[0].sequence - count - 1, fixed, -1):
        return after[0].sequence - count
    return max(stages.mapped("sequence")) + 1  # stages that must not move stand close together on both sides


def _position(stages):
    """The index of the first won stage behind the first stage of each team's pipeline; the end if there is none."""
    firsts = [_first(stages, team) for team in [stages.browse()._teams(), *stages._teams()]]
    begins = max(firsts, default=-1)
    won = (index for index, stage in enumerate(stages) if stage.is_won and index > begins)
    return next(won, len(stages))


def _first(stages, team):
    """The index of the open stage in which opportunities of ``team`` (or of no team) begin; -1 if there is none."""
    seen = (
        index
        for index, stage in enumerate(stages)
        if not stage.is_won and not stage.fold and (not stage._teams() or team & stage._teams())
    )
    return next(seen, -1)


def _push(stages, bound, fixed, direction):
    """Move ``stages``, which lead away from the free places, until the first is at ``bound`` or beyond.

    :param int direction: 1 to higher sequence numbers, -1 to lower ones
    :return bool: whether they moved far enough; if not, none has moved
    """
    distance = (bound - stages[0].sequence) * direction if stages else 0
    if distance <= 0:
        return True
    moved = stages.browse()
    for stage in stages:
        if moved and (stage.sequence - moved[-1].sequence) * direction > distance:
            break  # there is room up to this one
        if stage in fixed:
            return False
        moved |= stage
    for stage in moved:
        stage.sequence += distance * direction
    return True
