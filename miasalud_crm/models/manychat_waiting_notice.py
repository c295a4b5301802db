"""Who hears that a customer waits: one activity for the salesperson, later one for the team leader."""

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL, format_datetime

from .. import private_sql
from .crm_lead_answer import LEADER, SILENT

WORDS, OVERDUE = "activity_words", "activity_overdue"
#: Characters of the customer's words in the title of an activity, and in its note.
TITLE_CHARS, NOTE_CHARS = 80, 1000
#: Opportunities per transaction. An activity costs milliseconds, and until the commit no user can save these.
BATCH = 100


class ManychatWaiting(models.Model):
    _inherit = "manychat.waiting"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # Business: whom to tell what
    # ------------------------------------------------------------

    @api.model
    def _tell(self, last):
        """Tell salespeople and leaders about one batch of opportunities: unreported words, back from lost, overdue.

        :param int last: id of the last opportunity of the batch before
        :return int: the same of this batch, ``None`` after the last one
        """
        now = fields.Datetime.now()
        statement = """
            SELECT lead.id FROM crm_lead lead
             WHERE lead.id > %(last)s AND lead.id IN (
                   SELECT wrote.id
                     FROM manychat_stage_map map
                     JOIN crm_lead wrote ON wrote.stage_id = map.stage_id AND wrote.manychat_words_at > map.tells_since
                    WHERE map.active AND map.tells_salesperson AND wrote.active
                      AND wrote.manychat_waits_since IS NOT NULL AND wrote.user_id IS NOT NULL
                      AND (wrote.manychat_noticed_at IS NULL OR wrote.manychat_noticed_at < wrote.manychat_words_at)
                    UNION
                   SELECT id FROM crm_lead
                    WHERE manychat_back_at IS NOT NULL
                      AND (manychat_noticed_at IS NULL OR manychat_noticed_at < manychat_back_at)
                    UNION
                   SELECT lead_id FROM manychat_waiting
                    WHERE answered_at IS NULL AND due <= %(now)s AND salesperson_notified IS NOT TRUE
                    UNION
                   SELECT lead_id FROM manychat_waiting
                    WHERE answered_at IS NULL AND leader_due <= %(now)s AND leader_notified IS NOT TRUE)
             ORDER BY lead.id LIMIT %(size)s FOR NO KEY UPDATE OF lead SKIP LOCKED
        """
        rows = private_sql.fetch(self.env.cr, statement, {"last": last, "now": now, "size": BATCH})
        leads = self.env["crm.lead"].browse(row["id"] for row in rows)
        if leads:
            self._write_notices(leads, now)
            waitings = self.search([("lead_id", "in", leads.ids), ("answered_at", "=", False), ("due", "<=", now)])
            waitings.salesperson_notified = True
            waitings.filtered(lambda waiting: waiting.leader_due <= now).leader_notified = True
            # Not over the ORM: to no user and no automation is it a change of the opportunity.
            self.env.cr.execute(
                "UPDATE crm_lead SET manychat_noticed_at = GREATEST(manychat_words_at, manychat_back_at) "
                "WHERE id = ANY(%s)",
                [leads.ids],
            )
        return leads[-1:].id or None

    def _write_notices(self, leads, now):
        """Open or update the activities about ``leads``."""
        news = self._news(leads, now)
        opened = self._open_notices(leads)
        to_create = []
        for lead in leads:
            for type_name, receiver in self._notices(lead, news[lead], now):
                values = self._activity_values(lead, news[lead], type_name, receiver)
                activity = opened.get((lead.id, type_name == LEADER))
                if activity:
                    _write_changes(activity, values)
                else:
                    to_create.append({**values, "res_id": lead.id})
        self._create_activities(to_create)

    def _notices(self, lead, news, now):
        """Who is to hear of ``lead``: list of pairs of activity type and user.

        Words concern the salesperson; without one, they wait for the user who takes the opportunity. A late answer and
        a customer who comes back concern the team leader then.
        """
        waiting, salesperson, leader = news["waiting"], news["salesperson"], news["leader"]
        is_overdue = bool(waiting) and waiting.due <= now
        if not lead.active or not (is_overdue or news["is_back"] or news["has_words"]):
            return []
        type_name = OVERDUE if is_overdue else WORDS
        if not salesperson:
            is_leaders = is_overdue or news["is_back"] or lead.user_id  # who left, or may not read it
            return [(type_name, leader)] if leader and is_leaders else []
        notices = [(type_name, salesperson)]
        if is_overdue and waiting.leader_due <= now and leader and leader != salesperson:
            notices.append((LEADER, leader))
        return notices

    def _news(self, leads, now):
        """What there is to say about each of ``leads``: dict of lead → dict."""
        waitings = self.search([("lead_id", "in", leads.ids), ("answered_at", "=", False)])
        waitings = {waiting.lead_id: waiting for waiting in waitings}
        rows = self.env["manychat.stage.map"].search([("tells_salesperson", "=", True)])
        tells_since = {row.stage_id: row.tells_since for row in rows}
        salespeople = _readable_by(leads, lambda lead: lead.user_id)
        leaders = _readable_by(leads, lambda lead: lead.team_id.user_id)
        counts = self._count_words(leads)
        news = {}
        for lead in leads:
            since = lead.manychat_waits_since
            words_at = lead.manychat_words_at
            back_at, answered_at = lead.manychat_back_at, lead.manychat_answered_at
            is_unanswered = bool(since and words_at and words_at >= since)
            news[lead] = {
                "waiting": waitings.get(lead, self),
                "salesperson": salespeople[lead],
                "leader": leaders[lead],
                "is_back": bool(back_at) and not (answered_at and answered_at >= back_at),
                "has_words": is_unanswered and lead.stage_id in tells_since and words_at > tells_since[lead.stage_id],
                "words": (lead.manychat_summary or "") if is_unanswered else "",
                "count": counts.get(lead.id, 0),
            }
        return news

    def _count_words(self, leads):
        """How often the customer of each lead has written since our last action: dict of id → int."""
        self.env.cr.execute(
            """
            SELECT lead.id, count(*)
              FROM crm_lead lead
              JOIN manychat_event event ON event.lead_id = lead.id AND event.state = 'done'
               AND LEAST(event.occurred_at, event.received_at) >= lead.manychat_waits_since
             WHERE lead.id = ANY(%s) AND event.payload->'state'->>'summary' <> ''
             GROUP BY lead.id
            """,
            [leads.ids],
        )
        return dict(self.env.cr.fetchall())

    # ------------------------------------------------------------
    # Business: activities
    # ------------------------------------------------------------

    @api.model
    def _activity_types(self, *names):
        """Our activity types that exist; an administrator may have deleted one."""
        lookup = self.env["ir.model.data"]._xmlid_to_res_id  # cached, while env.ref() asks whether the record exists
        ids = [lookup(f"miasalud_crm.{name}") for name in names or (WORDS, OVERDUE, LEADER)]
        return self.env["mail.activity.type"].browse(filter(None, ids))

    def _activities(self, leads):
        return self.env["mail.activity"].search(
            [
                ("res_model", "=", "crm.lead"),
                ("res_id", "in", leads.ids),
                ("activity_type_id", "in", self._activity_types().ids),
                ("automated", "=", True),
            ]
        )

    def _open_notices(self, leads):
        """The open activities: dict of (lead id, whether it is the leader's) → ``mail.activity``."""
        leaders = self._activity_types(LEADER)
        return {
            (activity.res_id, activity.activity_type_id in leaders): activity
            for activity in self._activities(leads).sorted("id")
        }

    def _create_activities(self, vals_list):
        model_id = self.env["ir.model"]._get_id("crm.lead")
        vals_list = [
            {**vals, "res_model_id": model_id, "automated": True} for vals in vals_list if vals["activity_type_id"]
        ]
        if vals_list:
            self.env["mail.activity"].with_context(**SILENT).create(vals_list)

    def _activity_values(self, lead, news, type_name, receiver):
        """The values of an activity, in the language and the time zone of ``receiver``."""
        self = self.with_context(lang=receiver.lang or self.env.lang, tz=receiver.tz or "UTC")
        waiting = news["waiting"]
        due = waiting.leader_due if type_name == LEADER else waiting.due
        deadline = fields.Datetime.context_timestamp(self, due or fields.Datetime.now()).date()
        paragraphs = [Markup("<p>%s</p>") % line for line in news["words"][:NOTE_CHARS].splitlines() if line.strip()]
        if waiting.due:
            moment = format_datetime(self.env, waiting.due, tz=receiver.tz or "UTC", dt_format="short")
            paragraphs.append(Markup("<p>%s</p>") % self.env._("The answer is due by %s.", moment))
        return {
            "activity_type_id": self._activity_types(type_name).id,
            "user_id": receiver.id,
            "date_deadline": deadline,
            "summary": self._title(lead, news, type_name),
            "note": Markup().join(paragraphs) or False,
        }

    def _title(self, lead, news, type_name):
        line = " ".join(news["words"].split())
        words = line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1]}…"
        count = news["count"] if words else 0
        if type_name == LEADER:
            name = lead.user_id.name
            return self.env._("%(name)s has not answered: %(words)s", name=name, words=words or lead.stage_id.name)
        if type_name == OVERDUE:
            if count > 1:
                return self.env._("Answer overdue (%(count)s messages), last: %(words)s", count=count, words=words)
            return self.env._("Answer overdue: %s", words or lead.stage_id.name)
        if news["is_back"]:
            if count > 1:
                return self.env._("Back from lost (%(count)s messages), last: %(words)s", count=count, words=words)
            return self.env._("Back from lost: %s", words or lead.stage_id.name)
        if count > 1:
            return self.env._("Customer wrote (%(count)s messages), last: %(words)s", count=count, words=words)
        return self.env._("Customer wrote: %s", words)

    # ------------------------------------------------------------
    # Business: the end of activities
    # ------------------------------------------------------------

    @api.model
    def _close_notices(self, last):
        """End one batch of activities whose customer no longer waits, and hand over those of another salesperson.

        :param int last: id of the last activity of the batch before
        :return int: the same of this batch, ``None`` after the last one
        """
        now = fields.Datetime.now()
        query = SQL(
            """
            SELECT activity.id
              FROM mail_activity activity
         LEFT JOIN crm_lead lead ON lead.id = activity.res_id
         LEFT JOIN manychat_waiting waiting ON waiting.lead_id = lead.id AND waiting.answered_at IS NULL
             WHERE activity.activity_type_id = ANY(%(types)s) AND activity.active AND activity.automated
               AND activity.id > %(last)s
               AND (lead.active IS NOT TRUE OR lead.manychat_waits_since IS NULL
                    OR (activity.activity_type_id = ANY(%(overdue)s) AND waiting.due <= %(now)s IS NOT TRUE)
                    OR (activity.activity_type_id = ANY(%(leader)s) AND waiting.leader_due <= %(now)s IS NOT TRUE)
                    OR (activity.activity_type_id <> ALL(%(leader)s)
                        AND activity.user_id IS DISTINCT FROM lead.user_id))
             ORDER BY activity.id LIMIT %(size)s FOR UPDATE OF activity SKIP LOCKED
            """,
            types=self._activity_types().ids,
            overdue=self._activity_types(OVERDUE).ids,
            leader=self._activity_types(LEADER).ids,
            last=last,
            now=now,
            size=BATCH,
        )
        ids = [row["id"] for row in private_sql.fetch(self.env.cr, query)]
        activities = self.env["mail.activity"].with_context(**SILENT).browse(ids)
        leads = self.env["crm.lead"].browse(set(activities.mapped("res_id"))).exists()
        news, over = self._news(leads, now), activities.browse()
        for activity in activities:
            lead = leads.browse(activity.res_id) & leads
            if not lead or not self._is_kept(activity, lead, news[lead], now):
                over |= activity
        over.unlink()
        return ids[-1] if ids else None

    def _is_kept(self, activity, lead, news, now):
        """Update ``activity``, or mark it as done.

        :return bool: ``False`` if there is nothing to keep of it
        """
        is_leaders = activity.activity_type_id in self._activity_types(LEADER)
        if lead.manychat_waits_since or news["is_back"]:
            for type_name, receiver in self._notices(lead, news, now):
                if (type_name == LEADER) == is_leaders:
                    _write_changes(activity, self._activity_values(lead, news, type_name, receiver))
                    return True
        answered_at = lead.manychat_answered_at
        is_late = activity.activity_type_id in self._activity_types(OVERDUE, LEADER)
        is_answered = (
            not lead.manychat_waits_since and answered_at and answered_at >= (lead.manychat_words_at or answered_at)
        )
        if is_late and is_answered:
            user = activity.user_id
            speaking = activity.with_context(lang=user.lang or self.env.lang)
            moment = format_datetime(speaking.env, answered_at, tz=user.tz or "UTC", dt_format="short")
            # The words are in the chatter already.
            speaking.write({"summary": False, "note": False})
            speaking.action_feedback(feedback=speaking.env._("Answered on %s.", moment))
            return True
        return False

    @api.model
    def _delete_activities(self):
        """Delete all our activities and their index: the app is being uninstalled."""
        domain = [("activity_type_id", "in", self._activity_types().ids)]
        self.env["mail.activity"].with_context(active_test=False).search(domain).unlink()
        self.env.cr.execute("DROP INDEX IF EXISTS mail_activity_manychat")


def _readable_by(leads, find):
    """For each of ``leads`` the user that ``find`` gives, or an empty record if they cannot deal with it.

    :param find: function from a lead to ``res.users``: they may be archived, or not see the opportunity
    """
    users = {}
    for user, group in leads.grouped(find).items():
        works = user and user.active and user._is_internal()
        readable = group.with_user(user)._filtered_access("read").with_env(leads.env) if works else group.browse()
        users |= {lead: user if lead in readable else user.browse() for lead in group}
    return users


def _write_changes(activity, values):
    changed = {
        name: value
        for name, value in values.items()
        if (activity[name].id if isinstance(activity[name], models.BaseModel) else activity[name]) != value
    }
    if changed:
        activity.with_context(**SILENT).write(changed)
