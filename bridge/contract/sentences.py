"""Sentences about events for people, who read them in their own language in Odoo.

English is the form in which a sentence travels: in an answer, a queue message, a row of SQL or of Odoo. The addon knows
the templates (a test compares both lists), finds the one that a stored text was made of, and says it in the language of
the reader. So no format holds anything but a text, and a text of an older release or of a newer bridge stays readable.
"""

from __future__ import annotations


def sentence(template: str, /, **parts: object) -> str:
    """``template`` with its ``parts``, in English. The addon lists each literal that is the first argument here.

    :param template: with ``%(name)s`` for each part. In other languages the parts come in another order, and number is
        not inflected: word it so that one and many read right
    """
    return template % parts if parts else template
