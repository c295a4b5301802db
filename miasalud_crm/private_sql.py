"""SQL whose failure shows no values: neither Odoo nor PostgreSQL writes what people said into a log.

psycopg2 puts the values into the statement; Odoo logs a statement that fails, and so does PostgreSQL. Here the
statement travels in a setting of the transaction, and a function executes it: its call holds no values. The function
reports a conflict with another transaction without an error, since conflicts are expected; it raises any other error
anew, without the row that PostgreSQL would show.
"""

import json
import re
import traceback
from contextlib import contextmanager

import psycopg2

from odoo.modules.registry import Registry
from odoo.tools import SQL

#: The database keeps the functions. Odoo's pool discards what a session keeps before each use of a connection, so that
#: functions of a session would be made anew in every transaction: half of PostgreSQL's time for a webhook.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {where}{name}(keep_message boolean) RETURNS text LANGUAGE plpgsql AS $block$
DECLARE
    result text; found record; rows text[] = '{}';
    code text; message text; schema_ text; table_ text; column_ text; type_ text; constraint_ text;
BEGIN
    PERFORM set_config('miasalud.conflict', '', true);
    {execute}
    RETURN result;
EXCEPTION WHEN query_canceled OR OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, schema_ = SCHEMA_NAME,
        table_ = TABLE_NAME, column_ = COLUMN_NAME, type_ = PG_DATATYPE_NAME, constraint_ = CONSTRAINT_NAME;
    -- Serialization failure, deadlock, lock not available. A duplicate is a conflict in the tables in which two
    -- transactions may create the same row; in another table it breaks a rule of another app, again and again.
    IF code IN ('40001', '40P01', '55P03')
       OR code IN ('23505', '23P01') AND (table_ LIKE 'manychat\\_%' OR table_ = 'utm_source') THEN
        PERFORM set_config('miasalud.conflict', code, true);
        RETURN '{nothing}';
    ELSE
        -- PostgreSQL's message about a constraint names the constraint and no value, and that about a text that is too
        -- long (22001) the limit. A trigger's may quote a person.
        IF NOT (keep_message OR code LIKE '23%' AND constraint_ || column_ <> '' OR code = '22001') THEN
            message := 'A statement failed with SQLSTATE ' || code || '.';
        END IF;
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, SCHEMA = schema_, TABLE = table_, COLUMN = column_,
            DATATYPE = type_, CONSTRAINT = constraint_;
    END IF;
END
$block$
"""
_CHANGE = """
    EXECUTE current_setting('miasalud.statement');
    GET DIAGNOSTICS result = ROW_COUNT;
"""
# A statement that changes several tables (“WITH … AS (UPDATE …)”) can be no part of another one.
_QUERY = """
    IF current_setting('miasalud.statement') ~ '^\\s*WITH\\s' THEN
        FOR found IN EXECUTE current_setting('miasalud.statement') LOOP
            rows := rows || to_jsonb(found)::text;
        END LOOP;
        result := '[' || array_to_string(rows, ',') || ']';
        RETURN result;
    END IF;
    EXECUTE format('WITH statement AS (%s) SELECT COALESCE(jsonb_agg(to_jsonb(statement)), ''[]'') FROM statement',
                   current_setting('miasalud.statement')) INTO result;
"""
_SEND = "SELECT set_config('miasalud.statement', %s, true) IS NULL"
_FUNCTIONS = "".join(
    _FUNCTION.replace("{name}", name).replace("{execute}", execute).replace("{nothing}", nothing) + ";"
    for name, execute, nothing in (("miasalud_change", _CHANGE, "0"), ("miasalud_query", _QUERY, "[]"))
)
_ARE_THERE = """
    SELECT to_regprocedure('miasalud_query(boolean)') IS NOT NULL,
           to_regprocedure('pg_temp.miasalud_query(boolean)') IS NOT NULL
"""
_IN_DATABASE, _IN_SESSION = "", "pg_temp."
#: An attribute of the registry: the functions are known to be in its database.
_KNOWN = "_miasalud_functions"
#: Each gives the cursor the rows, or the number of rows, that the statement itself would give.
_COUNT = "SELECT FROM generate_series(1, {where}miasalud_change(%s)::integer)"
_IDS = "SELECT (row ->> 'id')::integer FROM jsonb_array_elements({where}miasalud_query(%s)::jsonb) AS row"
_ANSWER = "SELECT current_setting('miasalud.conflict'), result FROM {where}miasalud_query(false) AS result"

#: Statements that may conflict or hold values. Odoo reads the ids of created rows only.
_CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE|LOCK|SET\s+CONSTRAINTS\b.*\bIMMEDIATE)\b", re.IGNORECASE)
_RETURNS = re.compile(r"\bRETURNING\b", re.IGNORECASE)
_RETURNS_ID = re.compile(r"\bRETURNING\s+\"?id\"?\s*$", re.IGNORECASE)


@contextmanager
def private(cr, keep_message=False):
    """Make every change over ``cr`` private while the context lasts: what the ORM and other modules write, too.

    The caller flushes what the ORM holds back before the context ends.

    :param bool keep_message: whether an error keeps the message of a trigger, which an Odoo user must read
    :raises psycopg2.errors.SerializationFailure: another transaction was in the way; no log says so
    """
    plain = cr.execute
    if getattr(plain, "is_private", False):
        yield
        return

    def execute(query, params=None, log_exceptions=True):
        # Never logged here: the caller reports what fails.
        code = query.code if isinstance(query, SQL) else query
        text = code.decode() if isinstance(code, bytes) else str(code)
        returns_id = bool(_RETURNS_ID.search(text))
        if not _CHANGES.match(text) or (_RETURNS.search(text) and not returns_id):
            return plain(query, params, log_exceptions=False)
        _send(cr, query, params)
        plain((_IDS if returns_id else _COUNT).replace("{where}", where), [keep_message], log_exceptions=False)
        if not cr.rowcount:
            # Over another cursor: of ``cr`` the caller reads no row and counts none.
            with cr.connection.cursor() as reader:
                reader.execute("SELECT current_setting('miasalud.conflict')")
                _raise_conflict(reader.fetchone()[0])
        return None

    where = _functions(cr)  # now: what is made within a savepoint goes with it
    execute.is_private = True
    cr.execute = execute
    try:
        yield
    finally:
        del cr.execute


def fetch(cr, query, params=None):
    """Run one private statement that returns rows: a ``SELECT … FOR UPDATE``, or a change with ``RETURNING``.

    :return list: of dicts; values as JSON has them
    :raises psycopg2.errors.SerializationFailure: another transaction was in the way; no log says so
    """
    where = _functions(cr)
    _send(cr, query, params)
    cr.execute(_ANSWER.replace("{where}", where), log_exceptions=False)
    conflict, rows = cr.fetchone()
    _raise_conflict(conflict)
    return json.loads(rows)


def make_functions(cr):
    """Make the functions in the database: at the installation, and at each upgrade."""
    cr.execute(_FUNCTIONS.replace("{where}", _IN_DATABASE))


def drop_functions(cr):
    """Drop the functions. What is private until the app is gone uses functions of its own."""
    cr.execute("DROP FUNCTION IF EXISTS miasalud_change(boolean), miasalud_query(boolean)")
    vars(Registry(cr.dbname)).pop(_KNOWN, None)


def failure(error):
    """The kind of ``error`` and its place in the code, for a log: without its text, which may quote a person."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def _send(cr, query, params):
    if isinstance(query, SQL):
        query, params = query.code, query.params
    statement = cr.mogrify(query, params or None).decode()
    # Over a cursor of its own: when the connection is lost, Odoo logs the failure of the next statement, a ROLLBACK
    # say, with the last one that ``cr`` sent.
    with cr.connection.cursor() as sender:
        sender.execute(_SEND, [statement])


def _functions(cr):
    """Where the functions are: in the database, since its installation or upgrade.

    Else this makes them for the transaction; a rollback takes them away again.
    """
    registry = Registry.registries.get(cr.dbname)
    if getattr(registry, _KNOWN, False):
        return _IN_DATABASE
    cr.execute(_ARE_THERE)
    in_database, in_session = cr.fetchone()
    if in_database:
        if registry is not None:
            setattr(registry, _KNOWN, True)  # it is made anew when an app is uninstalled
        return _IN_DATABASE
    if not in_session:
        cr.execute(_FUNCTIONS.replace("{where}", _IN_SESSION))
    return _IN_SESSION


def _raise_conflict(code):
    if code:
        error = psycopg2.errors.SerializationFailure("Another transaction was in the way.")
        error.__setstate__({"pgcode": "40001"})  # Odoo looks it up when it repeats a request
        raise error
