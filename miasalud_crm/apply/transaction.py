"""The transaction of a batch: one and undivided, whatever other apps do while events are applied."""

from contextlib import contextmanager

from odoo.exceptions import UserError


@contextmanager
def undivided(env):
    """Let other apps use the cursor as they do under any user, without dividing the transaction.

    Odoo flushes before a savepoint and before a commit, in whatever environment the transaction has: here also in that
    of the bridge's user, who has no access to what is flushed. So a flush happens as superuser. A commit in the middle
    would end the batch's own savepoint and its locks: it only flushes, and what it was for is committed with the batch.

    :param env: environment of the superuser
    :raises UserError: another app rolls the transaction back
    """
    cr = env.cr

    def flush():
        env.flush_all()
        cr.precommit.run()

    def refuse_rollback():
        raise UserError(env._("An automation or another app rolled everything back while the event was applied."))

    replaced = {"flush": flush, "commit": flush, "rollback": refuse_rollback}
    before = {name: vars(cr)[name] for name in replaced if name in vars(cr)}
    vars(cr).update(replaced)
    try:
        yield
    finally:
        for name in replaced:
            del vars(cr)[name]
        vars(cr).update(before)
