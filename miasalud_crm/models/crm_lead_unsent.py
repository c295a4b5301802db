from odoo import api, fields, models

from ..rights import access_required, bridge_only
from ..sentences import in_language


class CrmLead(models.Model):
    """Opportunities of which ManyChat refused what was decided: why, and what a user can do."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_unsent = fields.Boolean(
        "Refused by ManyChat", compute="_compute_manychat_unsent", search="_search_manychat_unsent"
    )
    manychat_unsent_at = fields.Datetime("Refused", compute="_compute_manychat_unsent")
    manychat_unsent_text = fields.Text("Why ManyChat Refused", compute="_compute_manychat_unsent")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("x_manychat_id")
    def _compute_manychat_unsent(self):
        # As superuser: a user who may read the opportunity may know. One without a conversation costs no query.
        following = self.filtered("x_manychat_id").sudo()
        unsent = self.env["manychat.identity"].sudo()
        if following:
            unsent = unsent.search([("lead_id", "in", following._origin.ids), ("unsent", "=", True)])
        of_lead = {identities[:1].lead_id.id: identities for identities in unsent.grouped("lead_id").values()}
        for lead in self:
            latest = of_lead.get(lead._origin.id, unsent.browse()).sorted("unsent_at")[-1:]
            lead.manychat_unsent = bool(latest)
            lead.manychat_unsent_at = latest.unsent_at
            lead.manychat_unsent_text = bool(latest) and self._manychat_unsent_sentence(latest)

    def _search_manychat_unsent(self, operator, value):
        wanted = True in value if isinstance(value, list | tuple | set | frozenset) else bool(value)
        if operator in ("!=", "not in"):
            wanted = not wanted
        # sudo() only looks up ids. The caller's own rules still decide which opportunities are found.
        leads = self.sudo().with_context(active_test=False)
        identities = self.env["manychat.identity"].sudo()._search([("unsent", "=", True)])
        unsent = leads._search([("manychat_identity_ids", "in", identities)])
        return [("id", "in" if wanted else "not in", unsent)]

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_manychat_unsent_seen(self):
        """Take the banner away until ManyChat refuses something again. The chatter keeps what it said."""
        unsent = self.env["manychat.identity"].sudo().search([("lead_id", "in", self.ids), ("unsent", "=", True)])
        latest = {identity.lead_id.id: identity for identity in unsent.sorted("unsent_at")}
        # ManyChat's own words are erased with the person, and the chatter is not.
        known = self._manychat_unsent_sentences()
        other = self.env._("ManyChat refused what was decided here.")
        notes = {
            lead_id: self.env._("Marked as seen: %s", known.get(identity.unsent_code, other))
            for lead_id, identity in latest.items()
        }
        unsent.unsent = False
        self.browse(list(notes))._message_log_batch(bodies=notes)
        self.invalidate_recordset(["manychat_unsent", "manychat_unsent_at", "manychat_unsent_text"])

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _manychat_unsent_sentences(self):
        """Why ManyChat refused it, and what to do, by the code of the bridge."""
        return {
            "window_closed": self.env._(
                "ManyChat did not start the flow, because the customer has not written for 24 hours: WhatsApp then "
                "takes templates only. Call the customer, or send a template by hand in ManyChat. An administrator can "
                "choose a flow that begins with a template for this stage."
            ),
            "unknown_person": self.env._(
                "ManyChat does not know this person any more: they were deleted there, or the ManyChat ID is wrong. "
                "Nothing reaches them through the bot. Call the customer, and check the ID on the page ManyChat."
            ),
            "missing": self.env._(
                "A field, a tag or a flow is missing in ManyChat, so the bot goes on from an older stage. Ask an "
                "administrator to press Refresh under Tell ManyChat, which says what to make."
            ),
            "too_many_flows": self.env._(
                "ManyChat takes 100 flows for a person and hour at most, and this opportunity was moved more often. "
                "The flow was not started. Send the message by hand in ManyChat if the customer needs it."
            ),
            "flow_late": self.env._(
                "The flow was not started, because ManyChat took no calls for 24 hours after the move. What it says "
                "may be out of date by now. Send the message by hand in ManyChat if the customer needs it."
            ),
            "flow_unknown": self.env._(
                "ManyChat gave no answer when the flow was to start, and a flow is never started twice. Look in the "
                "chat whether the message arrived, and send it by hand if not."
            ),
        }

    @api.model
    def _manychat_unsent_sentence(self, identity):
        """The sentence of :meth:`_manychat_unsent_sentences`, or one with ManyChat's own words."""
        if known := self._manychat_unsent_sentences().get(identity.unsent_code):
            return known
        return self.env._(
            "ManyChat refused what was decided here: %s. The bot may go on from an older stage. Write to the customer "
            "by hand, and show this to an administrator.",
            in_language(self.env, (identity.unsent_message or identity.unsent_code or "").rstrip(".")),
        )

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def manychat_record_write_back(self, results):
        """Record what ManyChat answered to what was decided in Odoo. For the group “ManyChat Bridge”, over RPC.

        Of each person the latest answer counts, by ``at``. The same report may come any number of times.

        :param list results: of dicts: ``manychat_id``; ``event_id`` of the decision; ``code``: ``window_closed`` (only
            templates go out), ``unknown_person``, ``missing`` (a field, a tag or a flow), ``too_many_flows``, or
            another one; empty: ManyChat took it, so an older refusal is over; ``message``, ManyChat's own words;
            ``at``, ISO 8601 with a time zone
        :return bool: always ``True``; people without an opportunity are passed over
        :raises AccessError: the caller is not in that group
        """
        self.env["manychat.identity"]._record_write_back(results)
        return True
