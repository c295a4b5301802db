"""The messages about a batch of opportunities, written together.

Odoo itself says what it would post: its own code runs for each opportunity up to the row that it would insert. Then the
rows of all are inserted at once, and Odoo's own code continues for each: hooks after the post, notifications. What it
would look up for one opportunity after the other is looked up for all, and answered when it asks.
"""

from contextlib import contextmanager

from odoo import release

#: The key in the context while the history of several opportunities is gathered, and then while it is written.
HISTORY = "manychat_history"

#: Odoo 18 attaches a message to the first one.
_FIRST = """
    SELECT lead_id,
           (SELECT id
              FROM mail_message
             WHERE model = 'crm.lead' AND res_id = lead_id AND message_type != 'user_notification'
             ORDER BY id
             LIMIT 1)
      FROM unnest(%s) AS lead_id
"""
#: Odoo 19 attaches it to the last one of 200 that a person wrote, if there is one, or else to the last one.
_LATEST = """
    SELECT lead_id,
           (SELECT id
              FROM (SELECT id, message_type, date, create_date
                      FROM mail_message
                     WHERE model = 'crm.lead' AND res_id = lead_id AND message_type != 'user_notification'
                     ORDER BY date DESC, id DESC
                     LIMIT 200) AS latest
             ORDER BY message_type IN ('comment', 'email') DESC, COALESCE(date, create_date) DESC, id DESC
             LIMIT 1)
      FROM unnest(%s) AS lead_id
"""


class Gathering:
    """The messages that Odoo means to write about opportunities, one after the other.

    :ivar list posts: tuples of opportunity, name of the method, and its arguments
    :ivar set created: ids of the new opportunities whose creation Odoo is about to post
    :ivar set subtype_ids: subtypes that were found in the database
    """

    #: The arguments with which Odoo posts a creation and a change. Messages of others are never held back.
    CREATED = {"subtype_id", "author_id", "body"}
    TRACKED = {"author_id", "body", "tracking_value_ids"}

    def __init__(self):
        self.posts, self.created, self.subtype_ids = [], set(), set()
        self._is_open = True

    @classmethod
    def of(cls, env):
        """The one that is open in ``env``, or nothing."""
        gathering = env.context.get(HISTORY)
        return gathering if isinstance(gathering, cls) and gathering._is_open else None

    def close(self):
        """End it, for the environment lives on until the commit, and return the posts that were not returned yet."""
        posts, self.posts, self._is_open = self.posts, [], False
        return posts

    def takes(self, lead, method, args, kwargs):
        """Keep the message if Odoo's own history posts it.

        :return bool: whether it does
        """
        names = kwargs.keys()
        if args or not (
            names - {"subtype_id"} == self.TRACKED or (names == self.CREATED and self.created.intersection(lead.ids))
        ):
            return False
        self.created.difference_update(lead.ids)
        self.posts.append((lead, method, kwargs))
        return True


class Answers:
    """What Odoo asks before it inserts a message, looked up for all opportunities of a batch.

    :param leads: ``crm.lead``: the batch
    """

    def __init__(self, leads):
        self._leads = leads
        self.parents = parent_ids(leads)
        self._asked = {}

    @classmethod
    def of(cls, lead):
        """Those in the environment of ``lead``, if it is one of the batch, or nothing."""
        answers = lead.env.context.get(HISTORY)
        return answers if isinstance(answers, cls) and len(lead) == 1 and lead in answers._leads else None

    def once(self, lead, ask, **arguments):
        """What Odoo's own method ``ask`` answers about ``lead``, asked for all opportunities at once.

        :param ask: function of opportunities and ``arguments`` that returns a dict of lead id → answer
        """
        key = (ask.__name__, *sorted(arguments.items()))
        if key not in self._asked:
            self._asked[key] = ask(plain(lead.browse(self._leads.ids)), **arguments)
        return {lead.id: self._asked[key][lead.id]}


class Recipients:
    """Who is notified of the messages of a batch. Each answer is given once: a later message may have others.

    :param env: environment
    :param dict leads_by_kind: message type and id of the subtype → opportunities
    """

    def __init__(self, env, leads_by_kind):
        self._found = {}
        for (message_type, subtype_id), leads in leads_by_kind.items():
            found = env["mail.followers"]._get_recipient_data(leads, message_type, subtype_id, [])
            self._found |= {(lead_id, message_type, subtype_id): who for lead_id, who in found.items()}

    @classmethod
    def take(cls, records, message_type, subtype_id):
        """The recipients of a message about one opportunity, as Odoo has them, or ``None`` if it has to look."""
        if not records or records._name != "crm.lead" or len(records) != 1:
            return None
        recipients = records.env.context.get(HISTORY)
        if not isinstance(recipients, cls):
            return None
        return recipients._found.pop((records.id, message_type, subtype_id), None)


class Ready(Exception):
    """Odoo has reached the row that it would insert.

    :param lead: the opportunity, in the environment that inserts it
    :param dict values: of the message
    :ivar list tracked: values of the tracking values
    :ivar list others: commands about tracking values that create none
    """

    def __init__(self, lead, values):
        super().__init__(lead, values)
        self.lead, self.values = lead, values
        commands = values.get("tracking_value_ids") or []
        self.tracked = [command[2] for command in commands if _creates(command)]
        self.others = [command for command in commands if not _creates(command)]


def _creates(command):
    return len(command) == 3 and command[0] == 0


@contextmanager
def gathering(leads):
    """Gather what Odoo posts about ``leads`` and what is created in their environment.

    :return tuple: ``leads`` in the environment that gathers, and the :class:`Gathering`
    """
    gathered = Gathering()
    try:
        yield leads.with_context(**{HISTORY: gathered}), gathered
    finally:
        gathered._is_open = False


def plain(leads):
    """``leads`` in the environment without answers, for the code of others."""
    context = {name: value for name, value in leads.env.context.items() if name != HISTORY}
    return leads.with_context(context)  # pylint: disable=context-overridden


def parent_ids(leads):
    """The message to which Odoo attaches the next one about each opportunity, as in ``_message_compute_parent_id``.

    :return dict: lead id → message id or ``False``
    """
    leads.env["mail.message"].flush_model(["model", "res_id", "message_type", "date"])
    leads.env.cr.execute(_FIRST if release.version_info[0] < 19 else _LATEST, [leads.ids])
    return {lead_id: parent_id or False for lead_id, parent_id in leads.env.cr.fetchall()}
