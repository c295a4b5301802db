"""What each table and column means: the text of the data dictionary, docs/data.md.

A column's text begins with where its value comes from: *chat* (an event of ManyChat), *Odoo*, *bridge*, *API* (a call
of the bridge's API), *operator*. A test fails when a table or column of the schema has no text here.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Columns that say who a person is, or what they said. The reading role without personal data cannot read them.
PERSONAL = {
    *(("contacts", name) for name in ("first_name", "last_name", "phone", "email", "extra")),
    *(("advisors", name) for name in ("email", "phone")),
    *(("campaign_contacts", name) for name in ("summary", "extra")),
    *(("opportunities", name) for name in ("summary", "extra", "last_error")),
    *(("audit", name) for name in ("payload", "extra", "error", "warnings")),
    *(("dead_letters", name) for name in ("body", "message")),
    ("migration_rows", "before"),
    ("standby_refusals", "address"),
    ("manychat_writes", "refused"),
}

#: Columns that mean the same in every table.
_EVERYWHERE = {
    "id": "bridge: number of the row",
    "created_at": "bridge: when it created the row",
    "updated_at": "bridge: when it last wrote the row. The mark for loading what is new",
    "event_at": "chat: when the row's newest event happened",
    "event_received_at": "bridge: when the webhook received the row's newest event",
    "event_id": "bridge: the row's newest event, as `audit.event_id`",
    "field_versions": "bridge: JSON; the fields whose value is from another event than the newest",
    "manychat_id": "chat: the person's id in ManyChat, as text",
    "contact_id": "bridge: `contacts.id`",
    "campaign_id": "chat: `campaigns.id`",
    "channel_id": "bridge: `channels.id`",
    "commercial_advisor_id": "chat: `advisors.id` of the commercial adviser",
    "medical_advisor_id": "chat: `advisors.id` of the medical adviser",
    "lead_id": "Odoo: id of the opportunity (`crm.lead`)",
    "extra": "chat: JSON; fields that the contract does not know, as they were sent",
    "summary": "chat: the bot's summary of what the person said",
}

#: By table: what a row is, how to load what is new, and its columns.
TABLES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "channels": (
        "A channel through which people come.",
        "`updated_at`",
        {
            "name_key": "bridge: the name in the form for comparing; unique",
            "name": "chat, API: its name",
            "description": "API: what it is",
        },
    ),
    "advisors": (
        "A commercial or medical adviser.",
        "`updated_at`",
        {
            "id": "chat, API: the id that bots send",
            "name": "API: their name; NULL: only an id is known",
            "email": "API: their address",
            "phone": "API: their number",
            "role": "chat, API: `commercial` or `medical`, the role in which an event first named them",
        },
    ),
    "campaigns": (
        "A campaign.",
        "`updated_at`",
        {
            "id": "chat, API: the id that bots send",
            "name": "API: its name; NULL: only an id is known",
            "date_start": "API: when it begins",
            "date_end": "API: when it ends",
            "budget": "API: money, in the company's currency",
            "status": "API: its status",
        },
    ),
    "contacts": (
        "A person who wrote to a bot.",
        "`updated_at`",
        {
            "manychat_id": "chat: the person's id in ManyChat, as text; unique",
            "first_name": "chat, API: first name",
            "last_name": "chat, API: last name",
            "phone": "chat, API: number of WhatsApp",
            "email": "chat, API: address",
            "subscribed_at": "chat: when the person subscribed to the bot",
            "initial_state": "chat: the first state",
            "last_state": "chat, API: the newest state",
        },
    ),
    "contact_states": (
        "A state that a person entered. Rows are only added.",
        "`id`, minus the 10,000 before: a row may be committed after one with a higher id",
        {
            "state": "chat, API: the state",
            "category": "bridge: what said it, `contact`, `campaign`, `api`, or the name of an import",
            "created_at": "chat: when the person entered the state",
            "event_id": "bridge: the event, as `audit.event_id`; NULL: no event",
        },
    ),
    "campaign_contacts": (
        "The assignment of a person to a campaign.",
        "`updated_at`",
        {
            "campaign_id": "chat: `campaigns.id`; NULL: an update came before any assignment",
            "type": "chat: kind of assignment",
            "commercial_assignment_date": "chat: when the commercial adviser got the person",
            "medical_assignment_date": "chat: when the medical adviser got the person",
            "assigned_at": "chat: date of the newest assignment; NULL: there were only updates",
            "last_state": "chat, API: the newest state in the campaign",
        },
    ),
    "opportunities": (
        "A person's opportunity: one row for each person. After a merge, several rows have one `lead_id`.",
        "`updated_at`",
        {
            "manychat_id": "chat: the person's id in ManyChat, as text; unique",
            "stage": "Odoo: name of the stage",
            "stage_id": "Odoo: id of the stage",
            "status": "Odoo: `open`, `won`, `lost` or `deleted`; NULL: not known yet",
            "lost_reason": "Odoo: why it was lost",
            "salesperson_id": "Odoo: id of the user who has it",
            "salesperson": "Odoo: name of that user",
            "team_id": "Odoo: id of the sales team",
            "team": "Odoo: name of the team",
            "expected_revenue": "Odoo: money, in `currency`",
            "currency": "Odoo: ISO 4217",
            "closed_at": "Odoo: when it was won or lost",
            "first_answered_at": "Odoo: when a user first answered the customer",
            "merged_into": "Odoo: the opportunity into which this person's own was merged",
            "stage_by": "Odoo: what moved it, `chat`, `person`, `automation`, `import`, `assignment`, `other`",
            "decided_at": "Odoo: when a person last changed it, otherwise than by an answer to the customer",
            "medical_advisor_id": "Odoo: the medical adviser, `advisors.id`; until it is in Odoo, the newest event's",
            "odoo_as_of": "Odoo: when it had this state. An older state never replaces it",
            "manychat_stage_id": "chat: the stage's number in ManyChat, by the newest event",
            "manychat_stage": "chat: the stage's label in ManyChat, by the newest event",
            "entry_date": "chat: when the person came",
            "odoo_sync_status": "bridge: of the newest event, `pending`, `success` or `error`",
            "odoo_synced_at": "bridge: when Odoo applied the newest event",
            "attempts": "bridge: attempts of the newest event",
            "last_error": "bridge: why the newest attempt failed",
        },
    ),
    "opportunity_stages": (
        "A move of an opportunity to a stage. Rows are only added.",
        "`applied_at`",
        {
            "opportunity_id": "bridge: `opportunities.id`",
            "stage_from": "Odoo: name of the stage before; NULL: it was created, or it was lost",
            "stage_to": "Odoo: name of the stage after; NULL: lost, deleted, or the person was taken from it",
            "event_at": "chat, Odoo: when it happened",
            "applied_at": "bridge: when Odoo applied it, or when it came here",
            "event_id": "bridge: the event, as `audit.event_id`; unique",
            "moved_by": "Odoo: as `opportunities.stage_by`",
            "user_id": "Odoo: id of the user who moved it",
            "status": "Odoo: of the opportunity after the move, as `opportunities.status`",
        },
    ),
    "audit": (
        "An event on its way from the webhook to its outcome. A purge empties what people said and keeps the row.",
        "`finished_at`; and at each load all rows that have none: an event may wait on its queue before it has a row",
        {
            "event_id": "bridge: id of the event; unique",
            "type": "bridge: kind of event",
            "queue": "bridge: the queue that it came from",
            "source": "bridge: what received it: Odoo, the standby API, or another program",
            "payload": "chat: JSON; the event as it was sent",
            "warnings": "bridge: JSON; what was left out, cut or not understood",
            "occurred_at": "chat: when it happened",
            "clock_is_wrong": "bridge: its date was in the future and is not used",
            "received_at": "bridge: when the webhook received it",
            "enqueued_at": "Azure: when it came onto the queue, in whole seconds",
            "started_at": "bridge: when a bridge first received it; until then, when the standby API accepted it",
            "tried_at": "bridge: when the newest attempt began",
            "finished_at": "bridge: when it got its outcome",
            "attempts": "bridge: attempts so far",
            "attempt_in_progress": "bridge: an attempt runs, or its process was killed",
            "outcome": "bridge: NULL until it is applied or given up: `stored`, `created`, `moved`, `updated`, "
            "`unchanged`, `stale`, `dead_lettered`, `discarded` or `erased`",
            "error_code": "bridge: why it failed",
            "error": "bridge: the same in words",
            "stage_before": "Odoo: name of the stage before",
            "stage_after": "Odoo: name of the stage after",
            "retries": "Odoo: how often a user sent it again",
            "reported_at": "bridge: when Odoo learned the outcome",
            "purged_at": "bridge: when a purge emptied its payload",
            "traceparent": "chat: the trace that it belongs to, as W3C's header says it; NULL: the first 32 characters "
            "of `event_id` are the trace's id",
        },
    ),
    "dead_letters": (
        "A message that failed for good. Operators use `python -m bridge dlq`.",
        "—",
        {
            "event_id": "bridge: the event; NULL: the message could not be read as one",
            "message_id": "Azure: id of the message",
            "queue": "bridge: the queue that it came from",
            "type": "bridge: kind of event",
            "body": "chat: the message exactly as the queue delivered it",
            "enqueued_at": "Azure: when it came onto the queue",
            "code": "bridge: why it failed",
            "message": "bridge: the same in words",
            "attempts": "bridge: attempts that failed",
            "first_tried_at": "bridge: the first attempt",
            "last_tried_at": "bridge: the last attempt",
            "status": "bridge: `open`, `replayed`, `resolved` or `discarded`",
            "notified_at": "bridge: when the notice was put on the dead-letter queue",
            "notice_id": "Azure: id of the notice",
            "notice_receipt": "Azure: what deletes the notice",
            "replayed_at": "operator: when it was put back on its queue",
            "resolved_at": "bridge: when it was applied after all",
            "discarded_at": "operator: when it was given up",
        },
    ),
    "api_keys": (
        "A key of the bridge's API. The key itself is not stored.",
        "—",
        {
            "name": "operator: the program or bot that uses it",
            "prefix": "bridge: its first characters",
            "digest": "bridge: SHA-256 of the key",
            "scope": "operator: what it may do",
            "expires_at": "operator: when it ends",
            "revoked_at": "operator: when it was revoked",
            "last_used_at": "bridge: when it was last used, to the minute",
            "zone": "operator: time zone of dates without an offset; NULL: UTC",
            "in_odoo": "Odoo: whether a key from there is valid there; NULL: it was made here",
        },
    ),
    "pauses": (
        "A queue from which no bridge takes messages.",
        "—",
        {"queue": "operator: its name", "paused_at": "operator: since when"},
    ),
    "standby_refusals": (
        "How often the standby API refused requests, by day, key, path and answer.",
        "—",
        {
            "digest": "bridge: SHA-256 of what the row counts",
            "key_name": "operator: the key's name; empty without a valid key",
            "key_prefix": "bridge: the key's first characters",
            "address": "bridge: where the requests came from; empty with a valid key",
            "path": "bridge: what they asked for",
            "code": "bridge: the answer",
            "requests": "bridge: their number",
            "reported_requests": "bridge: how many of them Odoo knows",
            "first_at": "bridge: the first",
            "last_at": "bridge: the last",
        },
    ),
    "odoo_settings": (
        "What administrators set in Odoo for the bridges.",
        "—",
        {"name": "Odoo: which setting", "value": "Odoo: JSON", "updated_at": "bridge: when Odoo last said it"},
    ),
    "manychat_writes": (
        "What ManyChat should show of one person, and what was written there. Rows are made while write-back is on.",
        "`updated_at`",
        {
            "wanted": "Odoo: JSON; the stage, salesperson and status to show",
            "wanted_as_of": "Odoo: the moment of that state",
            "wanted_by": "Odoo: who brought it about, as `opportunities.stage_by`",
            "event_id": "bridge: the event that brought the state, as `audit.event_id`",
            "flow_event_id": "bridge: the decision whose stage starts a flow; NULL: none is due",
            "flow_wanted_at": "Odoo: the moment of that decision",
            "queued_at": "bridge: when it put the state on the queue; NULL: not yet",
            "sent": "bridge: JSON; what ManyChat has; null of what it may have",
            "forget": "bridge: whether ManyChat may have something else than `sent`",
            "attempts": "bridge: attempts in vain to write the newest state",
            "sent_as_of": "bridge: the moment of the state, if it needs no further call; else NULL",
            "lease": "bridge: the process that writes to this person now",
            "leased_until": "bridge: how long no other process writes to this person",
            "refused_code": "bridge: why ManyChat refused the newest state; NULL: it took it",
            "refused": "ManyChat: its words",
            "result_at": "bridge: when ManyChat answered",
            "to_report": "bridge: whether Odoo has yet to hear of that answer",
        },
    ),
    "manychat_flows": (
        "A flow of ManyChat that a decision started. The row is written before the call, so none starts twice.",
        "`id`, minus the 10,000 before: a row may be committed after one with a higher id",
        {
            "flow_ns": "ManyChat: the flow",
            "started_at": "bridge: just before the call",
            "result": "bridge: `started`, or why not; NULL: not known",
        },
    ),
    "manychat_echoes": (
        "A stage that was written to ManyChat. The bot may send it back as an event. Deleted after seven days.",
        "—",
        {
            "stage": "bridge: ManyChat's label, as it was written",
            "stage_id": "bridge: ManyChat's number of the stage",
            "as_of": "Odoo: the moment of the state that was written",
            "by_chat": "bridge: whether the chat itself brought the opportunity into the stage",
            "written_at": "bridge: when it was written",
            "event_id": "chat: the event that brought it back; NULL: none did",
            "after_audit_id": "bridge: newest row of `audit` by then; an event with that or an older row is no echo",
        },
    ),
    "manychat_slots": (
        "The pace of calls to ManyChat, one row for all bridges.",
        "—",
        {
            "next_at": "bridge: when the next call may be made",
            "paused_until": "bridge: when ManyChat takes calls again; NULL: it does",
            "reason": "ManyChat: why it takes none",
            "stops": "bridge: pauses in a row",
        },
    ),
    "write_checks": (
        "Always empty: bridges write here to see whether they can.",
        "—",
        {"written_at": "bridge: when", "filler": "bridge: enough text to fill a page"},
    ),
    "migration_rows": (
        "A row that a migration from an old system wrote, to undo exactly that.",
        "—",
        {
            "batch": "bridge: the run of the migration",
            "table_name": "bridge: the table",
            "row_id": "bridge: the row's id",
            "before": "bridge: JSON; the values that it changed; NULL: it inserted the row",
            "digest": "bridge: SHA-256 of the row as it left it",
            "undone_at": "operator: when it was undone",
        },
    ),
}


def of_column(table: str, name: str) -> str | None:
    """What a column means; ``None`` if nothing says so."""
    if table not in TABLES:
        return None
    return TABLES[table][2].get(name) or _EVERYWHERE.get(name)
