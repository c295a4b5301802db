"""Which trace an event belongs to, as W3C's header ``traceparent`` says it: https://www.w3.org/TR/trace-context/.

The text is ``00-TRACE-PARENT-FLAGS``: 32 hexadecimal digits name the trace, 16 the span that comes before, and the last
bit of the flags says whether the spans of the trace are recorded. An event whose sender names no trace has one of its
own, which follows from its id. So each program finds the same trace, also in a copy that lost the field.
"""

from __future__ import annotations

import re
from typing import Any

#: A later version may have more fields behind these (3.2.4 of the specification), and ff is none. A comma joins the
#: values of a header that was sent several times, which belong to no trace.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[^,]*)?", re.ASCII | re.DOTALL)
#: The one flag that is defined. The specification has all others set to zero.
_SAMPLED = 0x01


def parse(text: Any) -> str:
    """``text`` as a traceparent of version 00; empty if it is none.

    :param text: the header's value, or what a message has in its place
    """
    match = _FORM.fullmatch(text.strip(" \t")) if isinstance(text, str) else None
    if not match:
        return ""
    version, trace, parent, flags, more = match.groups()
    if (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return ""
    return f"00-{trace}-{parent}-{int(flags, 16) & _SAMPLED:02x}"


def of_event(event_id: str) -> str:
    """The traceparent of an event whose sender named no trace.

    :param event_id: 64 hexadecimal digits
    """
    return f"00-{event_id[:32]}-{event_id[32:48]}-01"


def trace_id(traceparent: str) -> str:
    """The trace that a valid ``traceparent`` names: 32 hexadecimal digits."""
    return traceparent[3:35]
