"""The one exception of the contract."""

from __future__ import annotations

from .outcomes import ErrorCode


class ContractError(ValueError):
    """An event that breaks the contract, in words for the sender.

    :ivar code: ``not_json`` (the body is not a JSON object), ``invalid`` (it cannot be applied), ``wrong_endpoint`` or
        ``wrong_queue``, as plain text
    :ivar errors: ``[{"field": "state.stage_id", "message": "…"}]``; for ``not_json`` the field that broke the JSON, if
        there is one
    :ivar queue: of the last two: name of the queue that carries such events
    """

    def __init__(self, code: ErrorCode, message: str, errors: list[dict[str, str]] | None = None, queue: str = ""):
        super().__init__(message)
        self.code = code.value
        self.message = message
        self.errors = errors or []
        self.queue = queue
