"""The messages about a batch of opportunities, written together.

Odoo itself says what it would post: its own code runs for each opportunity up to the row that it would insert. Then the
rows of all are inserted at once, and Odoo's own code continues for each: hooks after the post, notifications. What it
would look up for one opportunity after the other is looked up for all, and answered when it asks.
"""

import logging
from contextlib import contextmanager

from odoo import release

_logger = logging.getLogger(__name__)

#: The key in the context while the history of several opportunities is gathered, and then while it is written.
HISTORY = "manychat_history"

#: What is passed over or answered in advance: by model, the methods, and the modules whose definitions of them were read
#: and do nothing else for a tracking message or a creation message. A definition from anywhere else, also one that a
#: module puts into the place of another while Odoo runs (*Automation Rules* that wait for messages do), makes the whole
#: database write its history as Odoo does, one opportunity at a time.
_MAIL_THREAD = "odoo.addons.mail.models.mail_thread"
_OURS = "odoo.addons.miasalud_crm.models.crm_lead_history"
KNOWN = {
    "crm.lead": {
        "message_post": {
            _MAIL_THREAD,
            _OURS,
            "odoo.addons.rating.models.mail_thread",  # for a message with a rating
            "odoo.addons.sms.models.mail_thread",  # for a message of type “sms”
        },
        "_message_compute_parent_id": {_MAIL_THREAD, _OURS},
        "_message_create": {_MAIL_THREAD, _OURS},
        "_message_log": {_MAIL_THREAD, _OURS},
        "_message_log_batch": {_MAIL_THREAD},
        "_message_track": {_MAIL_THREAD, _OURS},
        "_track_discard": {_MAIL_THREAD, _OURS},
    },
    "mail.message": {
        "create": {"odoo.addons.mail.models.mail_message", "odoo.models", "odoo.orm.models"},
    },
}

#: Pairs of database and what was said of it in the log.
_logged = set()


def overrides(env):
    """The methods that somebody overrides in a way that is not known: sorted list of “model.method (module)”."""
    found = []
    for model, methods in KNOWN.items():
        for definitions in (vars(cls) for cls in type(env[model]).__mro__):
            for method in methods.keys() & definitions.keys():
                module = _module(definitions[method])
                if module not in methods[method]:
                    found.append(f"{model}.{method} ({module})")
    return sorted(found)


def is_odoos_way(env):
    """Whether this database writes its history one opportunity at a time. The log says why, once."""
    found = overrides(env)
    if found and (entry := (env.cr.dbname, *found)) not in _logged:
        _logged.add(entry)
        _logger.info(
            "The history of opportunities is written one by one, which takes longer, because of: %s", ", ".join(found)
        )
    return bool(found)


def _module(method):
    # functools.wraps() copies __module__, but not the globals.
    names = getattr(method, "__globals__", {})
    module = getattr(names.get("_call_"), "__module__", None) or names.get("__name__") or type(method).__module__
    # Odoo's own decorators change nothing.
    return _module(method.__wrapped__) if module in ("odoo.api", "odoo.orm.decorators") else module


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
    """What Odoo asks for each opportunity of a batch, looked up for all of them. Each answer is given once.

    :param leads: ``crm.lead``: the batch
    """

    def __init__(self, leads):
        self.leads = leads
        self.parents = parent_ids(leads)
        self.recipients = {}
        self._asked = {}

    @classmethod
    def of(cls, lead):
        """Those in the environment of ``lead``, if it is one of the batch, or nothing."""
        answers = lead.env.context.get(HISTORY)
        return answers if isinstance(answers, cls) and len(lead) == 1 and lead in answers.leads else None

    def once(self, lead, ask, **arguments):
        """What Odoo's own method ``ask`` answers about ``lead``, asked for all opportunities at once.

        :param ask: function of opportunities and ``arguments`` that returns a dict of lead id → answer
        """
        key = (ask.__name__, *sorted(arguments.items()))
        if key not in self._asked:
            self._asked[key] = ask(plain(lead.browse(self.leads.ids)), **arguments)
        return {lead.id: self._asked[key][lead.id]}

    def ask_recipients(self, env, leads_by_kind):
        """Find the recipients of each message.

        :param dict leads_by_kind: message type and id of the subtype → opportunities
        """
        for (message_type, subtype_id), leads in leads_by_kind.items():
            found = env["mail.followers"]._get_recipient_data(leads, message_type, subtype_id, [])
            self.recipients |= {(lead_id, message_type, subtype_id): who for lead_id, who in found.items()}


class Ready(Exception):  # noqa: N818, no error
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
    return leads.with_context({name: value for name, value in leads.env.context.items() if name != HISTORY})


def parent_ids(leads):
    """The message to which Odoo attaches the next one about each opportunity: dict of lead id → message id or ``False``.

    Like ``mail.thread._message_compute_parent_id``: the first message on Odoo 18; on 19 the newest of the last 200,
    before all others one that a person wrote.
    """
    leads.env["mail.message"].flush_model(["model", "res_id", "message_type", "date"])
    earliest = "SELECT id FROM mail_message {where} ORDER BY id LIMIT 1"
    newest = """
        SELECT id
          FROM (SELECT id, message_type, date, create_date FROM mail_message {where} ORDER BY date DESC, id DESC LIMIT 200)
               AS latest
         ORDER BY message_type IN ('comment', 'email') DESC, COALESCE(date, create_date) DESC, id DESC
         LIMIT 1
    """
    where = "WHERE model = 'crm.lead' AND res_id = lead_id AND message_type != 'user_notification'"
    one = (earliest if release.version_info[0] < 19 else newest).format(where=where)
    leads.env.cr.execute(f"SELECT lead_id, ({one}) FROM unnest(%s) AS lead_id", [leads.ids])
    return {lead_id: parent_id or False for lead_id, parent_id in leads.env.cr.fetchall()}
