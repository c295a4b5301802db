"""The least that Odoo can take: opportunities moved or created inside it, their history written in one batch.

No queue, no SQL of ours, no RPC, no webhook, one transaction for 32 opportunities; no follower is told, no automation
runs. What a bridge does beside this is what its safety costs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.events import stage_of
from bench.measure import Sample
from bench.system import BenchStack
from bridge.contract.event import Event

BATCH = 32
_SCRIPT = """
import json, os, time
work = json.loads({work!r})
Lead = env["crm.lead"].with_context(
    tracking_disable=True, mail_create_nolog=True, mail_create_nosubscribe=True, mail_notrack=True)
field = env["ir.model.fields"]._get("crm.lead", "stage_id")
subtypes = {{False: env.ref("crm.mt_lead_stage").id, True: env.ref("crm.mt_lead_won").id}}
created_subtype = env.ref("crm.mt_lead_create").id
Stage = env["crm.stage"]
author, address = env.user.partner_id.id, env.user.email_formatted

def message(lead, subtype):
    return dict(model="crm.lead", res_id=lead.id, subtype_id=subtype, author_id=author, email_from=address, body="",
                message_type="notification", record_name=lead.name)

def move(batch):
    leads = {{lead.x_manychat_id: lead for lead in Lead.search([("x_manychat_id", "in", [who for who, _ in batch])])}}
    before = {{who: lead.stage_id for who, lead in leads.items()}}
    by_stage = {{}}
    for who, stage in batch:
        by_stage.setdefault(stage, Lead)
        by_stage[stage] |= leads[who]
    for stage, some in by_stage.items():
        some.write(dict(stage_id=stage))
    stages = {{who: Stage.browse(stage) for who, stage in batch}}
    messages = env["mail.message"].create(
        [message(leads[who], subtypes[stage.is_won]) for who, stage in stages.items()])
    env["mail.tracking.value"].create([
        dict(field_id=field.id, mail_message_id=each.id, old_value_integer=before[who].id, new_value_integer=stage.id,
             old_value_char=before[who].name, new_value_char=stage.name)
        for each, (who, stage) in zip(messages, stages.items())])

def create(batch):
    leads = Lead.create([
        dict(name="Ana", contact_name="Ana", phone="+521234567891", type="opportunity", x_manychat_id=who,
             stage_id=stage) for who, stage in batch])
    env["mail.message"].create([message(lead, created_subtype) for lead in leads])

apply = {{"move": move, "create": create}}[{what!r}]
def in_batches(pairs):
    for start in range(0, len(pairs), {batch}):
        apply(pairs[start:start + {batch}])
        env.cr.commit()
        env.invalidate_all()
in_batches(work["warm_up"])
began, cpu = time.perf_counter(), sum(os.times()[:2])
in_batches(work["events"])
print("MEASURED", time.perf_counter() - began, sum(os.times()[:2]) - cpu)
"""


def run(stack: BenchStack, what: str, events: Sequence[Event], warm_up: Sequence[Event]) -> Sample:
    """
    :param what: "move" or "create"
    """
    work = {
        name: [(event.manychat_id, stack.stages[stage_of(event)][0]) for event in each]
        for name, each in (("events", events), ("warm_up", warm_up))
    }
    script = _SCRIPT.format(work=json.dumps(work), what=what, batch=BATCH)
    printed = stack.odoo.run_script(stack.database, script)
    _word, seconds, cpu = next(line for line in printed.splitlines() if line.startswith("MEASURED")).split()
    return Sample(len(events), float(seconds), {"odoo": float(cpu)})
