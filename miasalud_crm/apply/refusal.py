"""Why Odoo refused an event, as people read it: with the labels of their fields, and without the values of the row."""

import os
import re
import traceback

import psycopg2

from odoo.exceptions import RedirectWarning, UserError

from ..sentences import say

#: Longest reason kept: another module's message may be of any length.
MOST_CHARS = 2000


def reason(env, error):
    """Why ``error`` refused an event, in the language of ``env``.

    Only messages that were written for people appear as they are. The text of any other exception may quote the row.

    :param env: with a working transaction: the one of the error is rolled back to a savepoint
    """
    error = _raised_by_code(error)
    if isinstance(error, UserError | RedirectWarning):
        text = str(error.args[0]) if error.args else type(error).__name__
    elif isinstance(error, psycopg2.Error):
        text = _of_database(env, error)
    else:
        text = say(
            env,
            "An error in the program: %(kind)s in %(place)s. Odoo's log has the place in the code.",
            kind=type(error).__name__,
            place=_place(env, error),
        )
    # PostgreSQL stores no NUL in a text.
    return text.replace("\x00", "").strip()[:MOST_CHARS]


def _of_database(env, error):
    diag, labels = error.diag, _labels(env, error)
    named = {"model": _model_label(env, diag.table_name), "labels": _quoted(labels)}
    if message := _message_of_constraint(env, diag.constraint_name):
        return message
    if isinstance(error, psycopg2.errors.NotNullViolation):
        return say(env, "%(labels)s is required (%(model)s), and the event does not fill it.", **named)
    if isinstance(error, psycopg2.errors.UniqueViolation | psycopg2.errors.ExclusionViolation) and labels:
        return say(env, "There is another record with the same value of %(labels)s (%(model)s).", **named)
    if isinstance(error, psycopg2.errors.ForeignKeyViolation) and labels:
        return say(env, "%(labels)s does not exist any more, or is still in use (%(model)s).", **named)
    if isinstance(error, psycopg2.errors.StringDataRightTruncation):
        return _too_long(env, error)
    if isinstance(error, psycopg2.errors.RaiseException):
        return say(env, "A trigger of the database does not allow it.")  # its own words may quote the event
    if diag.constraint_name:
        named["rule"] = diag.constraint_name
        if labels:
            return say(
                env,
                "The rule “%(rule)s” of the database does not allow it (%(model)s). It is about %(labels)s.",
                **named,
            )
        return say(env, "The rule “%(rule)s” of the database does not allow it (%(model)s).", **named)
    return say(env, "The database does not accept a value: %(kind)s.", kind=type(error).__name__)


def _quoted(labels):
    return ", ".join(f"“{label}”" for label in labels)


def _too_long(env, error):
    limit = re.search(r"\((\d+)\)", error.diag.message_primary or "")
    length = int(limit.group(1)) if limit else 0
    env.cr.execute(
        """
        SELECT attname FROM pg_attribute
         WHERE attrelid = 'crm_lead'::regclass AND atttypid = 'varchar'::regtype AND atttypmod = %s AND NOT attisdropped
         ORDER BY attnum
        """,
        [length + 4],  # PostgreSQL counts four bytes for the length
    )
    labels = [_label(env, "crm_lead", column) for (column,) in env.cr.fetchall()]
    if labels:
        return say(
            env,
            "A value is longer than %(length)s characters, which is the limit of %(labels)s.",
            length=length,
            labels=_quoted(labels),
        )
    return say(env, "A value is longer than its field in the database allows (%(length)s characters).", length=length)


def _message_of_constraint(env, name):
    """The message that the module of a constraint has written for people, or ``None``."""
    if not name:
        return None
    constraint = env["ir.model.constraint"].sudo().search([("name", "=", name)], limit=1)
    return constraint.message or None


def _labels(env, error):
    """The labels of the fields that ``error`` is about."""
    diag = error.diag
    if not diag.table_name:
        return []
    columns = [diag.column_name] if diag.column_name else _columns(env.cr, diag)
    return [_label(env, diag.table_name, column) for column in columns]


def _columns(cr, diag):
    """The columns of a constraint or of a unique index, as PostgreSQL knows them."""
    if not diag.constraint_name:
        return []
    cr.execute(
        """
        SELECT attname
          FROM pg_attribute
          JOIN (SELECT conrelid AS relid, unnest(conkey) AS number FROM pg_constraint
                 WHERE conname = %(name)s AND conrelid = to_regclass(quote_ident(%(table)s))
                UNION
                SELECT indrelid, unnest(indkey) FROM pg_index
                 WHERE indexrelid = to_regclass(quote_ident(%(name)s))
                   AND indrelid = to_regclass(quote_ident(%(table)s))) AS used
            ON used.relid = attrelid AND used.number = attnum
         ORDER BY attnum
        """,
        {"name": diag.constraint_name, "table": diag.table_name},
    )
    return [column for (column,) in cr.fetchall()]


def _label(env, table, column):
    model = _model(env, table)
    field = model._fields.get(column) if model is not None else None
    return field._description_string(env) if field else column


def _model_label(env, table):
    model = _model(env, table)
    return env["ir.model"]._get(model._name).name if model is not None else table or "?"


def _model(env, table):
    # Several models may share a table; crm.lead and its neighbours do not.
    return next((env[name] for name in env.registry if env[name]._table == table and not env[name]._abstract), None)


def _raised_by_code(error):
    """What the code of a server action raised: Odoo's ``safe_eval`` puts a ``ValueError`` around it."""
    while isinstance(error, ValueError) and error.__context__ and _files(error)[-1:] == ["safe_eval.py"]:
        error = error.__context__
    return error


def _files(error):
    return [os.path.basename(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]


def _place(env, error):
    """The server action, or else the module, in whose code ``error`` was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "?"
    # The name that Odoo gives the code of a server action.
    actions = [re.fullmatch(r"ir\.actions\.server\((\d+),\)", frame.filename) for frame in frames]
    if found := [match for match in actions if match]:
        action = env["ir.actions.server"].sudo().browse(int(found[-1].group(1)))
        return say(env, "the server action “%(name)s”", name=action.display_name)
    path = frames[-1].filename
    folder = os.path.dirname(path)
    while folder != os.path.dirname(folder):
        if os.path.exists(os.path.join(folder, "__manifest__.py")):
            return os.path.basename(folder)
        folder = os.path.dirname(folder)
    return os.path.basename(path)
