from collections import defaultdict

from odoo import api, models

from ..apply.history import HISTORY, Answers, Gathering, Ready, Recipients, gathering, plain
from ..apply.history_overrides import is_odoos_way
from .manychat_identity import is_applying

#: Over RPC, Odoo 18 answers with the id of a posted message. Odoo 19 needs no decorator for that.
_returns_message = (
    api.returns("mail.message", lambda message: message.id) if hasattr(api, "returns") else lambda method: method
)


class CrmLead(models.Model):
    """The history of a batch of opportunities, written together, with the content that Odoo itself gives it."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # ORM: gather what Odoo posts
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        if not self._manychat_writes_together():
            return super().create(vals_list)
        with gathering(self) as (gathers, gathered):
            leads = super(CrmLead, gathers).create(vals_list)
        self._manychat_post(gathered.close())
        return leads.with_env(self.env)

    def _creation_subtype(self):
        if gathered := Gathering.of(self.env):
            gathered.created.update(self.ids)
        return super()._creation_subtype()

    def _track_discard(self):
        # While Odoo creates opportunities, this is what comes next after all their messages.
        if gathered := Gathering.of(self.env):
            self._manychat_post(gathered.close())
        return super()._track_discard()

    def _message_track(self, fields_iter, initial_values_dict):
        if not self._manychat_writes_together():
            return super()._message_track(fields_iter, initial_values_dict)
        with gathering(self) as (gathers, gathered):
            tracking = super(CrmLead, gathers)._message_track(fields_iter, initial_values_dict)
        self._manychat_post(gathered.close())
        return tracking

    @_returns_message
    def message_post(self, *args, **kwargs):
        if (gathered := Gathering.of(self.env)) and gathered.takes(self, "message_post", args, kwargs):
            return self.env["mail.message"]
        return super().message_post(*args, **kwargs)

    def _message_log(self, **kwargs):
        if (gathered := Gathering.of(self.env)) and gathered.takes(self, "_message_log", (), kwargs):
            return self.env["mail.message"]
        return super()._message_log(**kwargs)

    # ------------------------------------------------------------
    # ORM: answer what Odoo asks
    # ------------------------------------------------------------

    def _message_compute_parent_id(self, parent_id):
        if not parent_id and (answers := Answers.of(self)) and self.id in answers.parents:
            return answers.parents.pop(self.id)
        return super()._message_compute_parent_id(parent_id)

    def _mail_get_alias_domains(self, default_company=False):
        def alias_domains(leads, **asked):
            return super()._mail_get_alias_domains(**asked)

        answers, arguments = Answers.of(self), {"default_company": default_company}
        return answers.once(self, alias_domains, **arguments) if answers else alias_domains(self, **arguments)

    def _notify_get_reply_to(self, default=None, **kwargs):
        def reply_to(leads, **asked):
            return super()._notify_get_reply_to(**asked)

        answers, arguments = Answers.of(self), {"default": default, **kwargs}
        return answers.once(self, reply_to, **arguments) if answers else reply_to(self, **arguments)

    def _message_create(self, values_list):
        if Answers.of(self):
            raise Ready(self, *values_list)
        return super()._message_create(values_list)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _manychat_writes_together(self):
        return is_applying(self.env) and not is_odoos_way(self.env)

    @api.model
    def _manychat_post(self, posts):
        """Write messages about opportunities as Odoo would have, together.

        :param list posts: see :class:`Gathering`; at most one for each opportunity
        """
        if not posts:
            return
        answers = Answers(self.browse(lead.id for lead, _method, _kwargs in posts))
        ready = [lead._manychat_ready(answers, method, kwargs) for lead, method, kwargs in posts]
        messages = self._manychat_insert(ready)
        posted = [
            (plain(each.lead), message, each.values)
            for (_lead, method, _kwargs), each, message in zip(posts, ready, messages, strict=True)
            if method == "message_post"  # a logged note has no recipients
        ]
        recipients = defaultdict(self.browse)
        for lead, message, values in posted:
            lead._message_post_after_hook(message, values)
            recipients[values["message_type"], values["subtype_id"]] |= lead
        known = {HISTORY: Recipients(plain(self).env, recipients)}
        for lead, message, values in posted:
            lead.with_context(**known)._notify_thread(message, values)

    def _manychat_ready(self, answers, method, kwargs):
        """Have Odoo say what row it would insert: :class:`Ready`."""
        try:
            getattr(self.with_context(**{HISTORY: answers}), method)(**kwargs)
        except Ready as ready:
            return ready
        raise RuntimeError(f"{method} has written no message.")

    @api.model
    def _manychat_insert(self, ready):
        """Insert the messages of :class:`Ready` ones, and their tracking values: list of ``mail.message``."""
        by_env = defaultdict(list)
        for each in ready:
            by_env[plain(each.lead).env].append(each)
        messages, tracked = {}, []
        for env, group in by_env.items():
            values_list = [{**each.values, "tracking_value_ids": each.others} for each in group]
            created = env["crm.lead"]._message_create(values_list)
            messages |= dict(zip(map(id, group), created, strict=True))
        for each in ready:
            message = messages[id(each)]
            tracked += [{**values, "mail_message_id": message.id} for values in each.tracked]
        self.env["mail.tracking.value"].sudo().create(tracked)
        return [messages[id(each)] for each in ready]
