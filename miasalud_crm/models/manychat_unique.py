from odoo import api, models
from odoo.tools import SQL

#: In the context while an import writes its rows: Odoo checks them when all are written.
LOADING = "manychat_loading"


class ManychatUnique(models.AbstractModel):
    """Unique values, enforced by the database, with error messages of the model.

    Normally the INSERT of a duplicate fails with PostgreSQL's error, before an ``@api.constrains`` can raise a better
    one. The constraints made here are deferred until the model has checked. The database still stops SQL that bypasses
    the model, and two transactions that write at the same moment.
    """

    _name = "manychat.unique"
    _description = "Unique Values"

    #: Pairs of columns that are unique together, and the SQL condition on the rows that count (``None``: all rows).
    _unique = ()

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        for columns, condition in self._unique:
            self._make_unique(columns, condition)
        return super().init()

    @api.model_create_multi
    def create(self, vals_list):
        self._set_constraints("DEFERRED")
        records = super().create(vals_list)
        self._set_constraints("IMMEDIATE")
        return records

    def write(self, vals):
        self._set_constraints("DEFERRED")
        result = super().write(vals)
        self._set_constraints("IMMEDIATE")
        return result

    def _load_records(self, data_list, update=False):
        """Write all rows of an import before checking them: two rows may have swapped their values."""
        loading = self.with_context(**{LOADING: True})
        loading._set_constraints("DEFERRED")
        records = super(ManychatUnique, loading)._load_records(data_list, update).with_env(self.env)
        records._validate_fields(records._fields)
        records._set_constraints("IMMEDIATE")
        return records

    def _validate_fields(self, field_names, excluded_names=()):
        if self.env.context.get(LOADING):
            return None
        return super()._validate_fields(field_names, excluded_names)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _make_unique(self, columns, condition):
        name = self._unique_name(columns)
        self.env.cr.execute(
            "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = %s::regclass", [name, self._table]
        )
        if self.env.cr.fetchone():
            return
        identifiers = [SQL.identifier(column) for column in columns]
        if condition:  # PostgreSQL has no partial UNIQUE constraint; excluding equal values is the same
            equal = SQL(", ").join(SQL("%s WITH =", identifier) for identifier in identifiers)
            rule = SQL("EXCLUDE USING btree (%s) WHERE (%s)", equal, SQL(condition))
        else:
            rule = SQL("UNIQUE (%s)", SQL(", ").join(identifiers))
        table = SQL.identifier(self._table)
        self.env.cr.execute(
            SQL("ALTER TABLE %s ADD CONSTRAINT %s %s DEFERRABLE INITIALLY IMMEDIATE", table, SQL.identifier(name), rule)
        )

    def _unique_name(self, columns):
        return f"{self._table}_{'_'.join(columns)}_unique"

    def _set_constraints(self, mode):
        """Set when the database checks: ``DEFERRED``, after the model, or ``IMMEDIATE``, now.

        :raises psycopg2.IntegrityError: with ``IMMEDIATE``, if another transaction has written the same value since the
            model checked
        """
        self.flush_model()
        if mode == "IMMEDIATE" and self.env.context.get(LOADING):
            return
        names = SQL(", ").join(SQL.identifier(self._unique_name(columns)) for columns, _condition in self._unique)
        self.env.cr.execute(SQL("SET CONSTRAINTS %s %s", names, SQL(mode)))
