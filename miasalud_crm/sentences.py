"""Sentences that were made elsewhere or earlier, in the language of their reader.

The contract, the bridge and this addon store what is wrong with an event as a text: in English, or, of what Odoo itself
said, in the company's language. The text is kept as it is, because it also stands in answers, on queues, in SQL and in
rows of older releases. Here it is recognised by the templates of :mod:`.sentence_templates`, and said again in another
language. A text that no template fits stays as it is.
"""

import re
from collections import defaultdict
from functools import lru_cache

from odoo.tools.translate import get_translation

from .sentence_templates import TEMPLATES

MODULE = "miasalud_crm"
SOURCE_LANGUAGE = "en_US"
_PART = re.compile(r"%\((\w+)\)s")
#: The path of a field, before what is wrong with it.
_FIELD = re.compile(r"(\[?[\w.\]/ -]{1,80}): (.+)", re.DOTALL)
#: A sentence, and in brackets a detail.
_WITH_DETAIL = re.compile(r"(.+) (\(.+\))", re.DOTALL)
#: A longer text is not taken apart.
_LONGEST = 4000


def say(env, template, /, **parts):
    """``template`` with its ``parts``, in the language of ``env``. The template must be in :data:`TEMPLATES`."""
    return get_translation(MODULE, env.lang or SOURCE_LANGUAGE, template, parts)


def in_language(env, text):
    """``text`` in the language of ``env``, as far as it is made of known sentences.

    :param text: a sentence; several, between semicolons or on lines; each may begin with a field and a colon
    """
    language = env.lang or SOURCE_LANGUAGE
    if not text or len(text) > _LONGEST:
        return text
    written_in = [SOURCE_LANGUAGE, *(code for code, _name in env["res.lang"].get_installed())]
    for code in dict.fromkeys(written_in):
        if code != language and (found := _Reader(env, code, language).translate(text)) is not None:
            return found
    return text


def answer_in_language(env, body):
    """The body of a webhook's answer with its messages in the language of ``env``."""
    if (env.lang or SOURCE_LANGUAGE) == SOURCE_LANGUAGE:
        return body
    said = {**body}
    for name in ("warnings", "errors"):
        if said.get(name):
            said[name] = problems_in_language(env, said[name])
    if said.get("message"):
        said["message"] = in_language(env, said["message"])
    return said


def problems_in_language(env, problems):
    """Dicts of ``field`` and ``message``, with the messages in the language of ``env``."""
    return [{**each, "message": in_language(env, each.get("message"))} for each in problems or ()]


def refusal_in_language(env, error):
    """Why the contract refuses a request, in the language of ``env``: a line, and a line for each field it leaves out.

    :param bridge.contract.webhook.WebhookError error: the refusal
    """
    fields = [f"{each['field']}: {each['message']}" for each in error.errors if each["message"] not in error.message]
    return in_language(env, "\n".join([error.message, *fields]))


class _Reader:
    """Recognises texts of one language, and says them in another."""

    def __init__(self, env, written_in, language):
        self._env = env
        self._written_in = written_in
        self._language = language

    def translate(self, text):
        """``text`` in the other language, or ``None`` if nothing in it is known."""
        if (whole := self._sentence(text)) is not None:
            return whole
        for separator in ("\n", "; "):
            if separator in text:
                said = [self.translate(each) for each in text.split(separator)]
                return self._joined(separator, text.split(separator), said)
        if (field := _FIELD.fullmatch(text)) and (said := self.translate(field[2])) is not None:
            known = self.translate(field[1])
            return f"{field[1] if known is None else known}: {said}"
        if (detailed := _WITH_DETAIL.fullmatch(text)) and (said := self.translate(detailed[1])) is not None:
            detail = self.translate(detailed[2][1:-1])
            return f"{said} {detailed[2] if detail is None else f'({detail})'}"
        before, colon, after = text.partition(": ")
        if colon and (said := self._sentence(before)) is not None:
            return self._joined(": ", [before, after], [said, self.translate(after)])
        return None

    @staticmethod
    def _joined(separator, texts, said):
        if all(each is None for each in said):
            return None
        return separator.join(text if each is None else each for text, each in zip(texts, said, strict=True))

    def _sentence(self, text):
        """``text`` in the other language if it is one known sentence, else ``None``."""
        exact, patterns = _patterns(self._written_in)
        if template := exact.get(text):
            return get_translation(MODULE, self._language, template, ())
        for start, end, pattern, template in patterns:
            if text.startswith(start) and text.endswith(end) and (found := pattern.fullmatch(text)):
                parts = {name: self._part(name, value) for name, value in found.groupdict().items()}
                return get_translation(MODULE, self._language, template, parts)
        return None

    def _part(self, name, value):
        """A part of a sentence in the other language."""
        if name == "menu":
            return menu_path(self._env(context={"lang": self._language}), "miasalud_crm.manychat_stage_alias_menu")
        if name == "labels":
            labels = (each.strip("“”") for each in value.split(", "))
            return ", ".join(f"“{self._label(each)}”" for each in labels)
        if name == "model":
            return self._label(value, of_model=True)
        separator = ", " if name == "sources" else None
        if separator and separator in value:
            return separator.join(self._part(name, each) for each in value.split(separator))
        said = self.translate(value)
        return value if said is None else said

    def _label(self, label, of_model=False):
        event = self._env["manychat.event"].sudo()
        return event._label_in_language(label, of_model, self._written_in, self._language)


@lru_cache(8)
def _patterns(language):
    """The sentences without parts, and those with parts, the most specific first, as they are in ``language``.

    :return tuple: dict of text → template; list of how a text begins, how it ends, a regular expression, the template
    """
    exact, patterns = {}, defaultdict(list)
    for template in TEMPLATES:
        said = get_translation(MODULE, language, template, ())
        literals = _PART.split(said)
        if len(literals) == 1:
            exact.setdefault(said, template)
            continue
        seen, pattern = set(), ""
        for index, piece in enumerate(literals):
            if index % 2 == 0:
                pattern += re.escape(piece)
            else:
                pattern += f"(?P={piece})" if piece in seen else f"(?P<{piece}>.*?)"
                seen.add(piece)
        length = sum(map(len, literals[::2]))
        patterns[length].append((literals[0], literals[-1], re.compile(pattern, re.DOTALL), template))
    return exact, [each for length in sorted(patterns, reverse=True) for each in patterns[length]]


def menu_path(env, xml_id):
    """The way to a menu as the reader sees it: “CRM ▸ Configuration ▸ ManyChat ▸ Keys”.

    Also for readers who do not see the menu: the sentence around it says who opens it.
    """
    return env["ir.ui.menu"]._manychat_path(xml_id)
