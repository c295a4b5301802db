"""Why a message was given up, by its code, in words that quote nobody's data and say who can mend it."""

from __future__ import annotations

MEANINGS = {
    "not_json": "No JSON object: whoever put it on the queue must mend it.",
    "invalid": "It breaks a rule of the contract; `dlq show` names the field.",
    "wrong_queue": "It stood on another type's queue; a replay puts it on its own.",
    "unmapped_stage": "Say in Odoo, under Stage Aliases, which stage it means; it then goes through by itself.",
    "refused": "Odoo refused it; `dlq show` has its words. Mend that, then replay.",
    "sql_refused": "The database refused it; `dlq show` has its words. Mend that, then replay.",
    "failed": "An error of the bridge's own: please report it, with what `dlq show` says.",
    "crashed": "Each attempt ended with the process killed: out of memory, or a bug. Replay it once, watching.",
}


def meaning(code: str) -> str:
    return MEANINGS.get(code, "`dlq show` tells more.")
