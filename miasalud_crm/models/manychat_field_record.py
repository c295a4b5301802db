import psycopg2

from odoo import api, fields, models
from odoo.exceptions import UserError

from bridge.contract.names import spelling

from ..apply.conversion import Unconvertible

#: Records of these models are found by name, and never created by an event: people, rights, countries, mails.
NEVER_CREATED = ("res.", "ir.", "mail.", "base.", "account.", "hr.", "manychat.")
#: A table with no more records is compared as a whole: letter case, accents and languages do not count then.
FEW = 500
MOST_NAME_CHARS = 256


class ManychatFieldRecord(models.Model):
    """The record that a name from the chat stands for, for names whose record an event has created.

    It stays the same record when a user renames it: an ad's number becomes “Summer Campaign”.
    """

    _name = "manychat.field.record"
    _description = "Record of a Name from the Chat"

    model = fields.Char(required=True, readonly=True)
    key = fields.Char(required=True, readonly=True)
    res_id = fields.Integer(readonly=True, aggregator=None)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        # Two bridges that create the same record at the same moment: one of them waits and finds it.
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_field_record_unique ON manychat_field_record (model, key)"
        )
        return super().init()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _may_create(self, model):
        """Whether an event may create records of ``model``."""
        return not model.startswith(NEVER_CREATED) and bool(self.env[model]._rec_name)

    @api.model
    def _find_or_create(self, model, name, create):
        """The id of the record of ``model`` with that name.

        :param bool create: create a missing one
        :return: ``None`` if there is none
        :raises Unconvertible: it cannot be created
        """
        name = " ".join(name.split())[:MOST_NAME_CHARS]
        known = self.search([("model", "=", model), ("key", "=", spelling(name))])
        if known and self.env[model].browse(known.res_id).exists():
            return known.res_id
        known.unlink()
        if model == "utm.source" and create:  # the channel makes sources too
            return next(iter(self.env[model]._manychat_find_or_create([name]).values()))
        if found := self._find(model, name):
            return found
        return self._create_record(model, name) if create and self._may_create(model) else None

    def _find(self, model, name):
        Model = self.env[model].with_context(active_test=False)
        if model == "res.country" and len(name) == 2 and (country := Model.search([("code", "=", name.upper())])):
            return country.id
        languages = [code for code, _name in self.env["res.lang"].get_installed()]
        domain = [(Model._rec_name or "display_name", "=ilike", _literal(name))]
        if Model.search_count([], limit=FEW + 1) <= FEW:
            domain = []
        wanted, order = spelling(name), "active desc, id" if Model._active_name == "active" else "id"
        for lang in languages:
            for record in Model.with_context(lang=lang).search(domain, order=order):
                if spelling(record[Model._rec_name] if Model._rec_name else record.display_name) == wanted:
                    return record.id
        return None

    def _create_record(self, model, name):
        # What a failure takes back must be no more than this.
        self.env.flush_all()
        self.env.cr.precommit.run()
        try:
            with self.env.cr.savepoint(flush=False):
                memory = self.create({"model": model, "key": spelling(name)})
                memory.flush_recordset()
                Model = self.env[model].sudo()
                record = Model.create({Model._rec_name: name})
                self.env.flush_all()
                memory.res_id = record.id
                memory.flush_recordset()
        except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
            raise
        except (UserError, psycopg2.IntegrityError, psycopg2.DataError, KeyError, ValueError):
            # It needs more than a name, or another app forbids it.
            self.env.cr.clear()
            raise Unconvertible("not_created") from None
        return record.id


def _literal(text):
    """``text`` for a pattern of SQL in which it means itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
