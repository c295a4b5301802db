"""The form in which two phone numbers are compared. Pure functions without Odoo, and without a table of all countries.

It is no number to call: it leaves out what is written or not for one and the same line.
"""

import re

#: A number with fewer digits is an extension or a slip, and no one person's.
FEWEST_DIGITS = 8
MOST_DIGITS = 15  # ITU-T E.164
#: WhatsApp still writes the 1 that Mexico gave up in 2019, and the 9 of Argentina's mobile numbers; Brazil put a 9
#: before its mobile numbers, which begin with 6 to 9: fixed lines begin with 2 to 5.
#: https://faq.whatsapp.com/1294841057948784, https://www.anatel.gov.br (nono dígito)
_SPARE = (
    (re.compile(r"^521(\d{10})$"), r"52\1"),
    (re.compile(r"^549(\d{10})$"), r"54\1"),
    # As it stands in a number without 9: +54 11 15 6724-6790.
    (re.compile(r"^54(?=\d{12}$)(11|[23]\d{2,3})15(\d{6,8})$"), r"54\1\2"),
    (re.compile(r"^55(\d\d)9([6-9]\d{7})$"), r"55\1\2"),
)
#: Digits of a national number without its prefixes, by the country's code: where it is certain.
_NATIONAL = {"52": 10, "54": 10, "57": 10, "51": 9, "56": 9, "593": 9, "34": 9, "1": 10}
#: What stands before a national number and is no part of it.
_MEXICAN_PREFIX = re.compile(r"^(?:01|044|045)(\d{10})$")
#: Argentina's 15, after an area code of two to four digits.
_ARGENTINE_15 = re.compile(r"^(11|[23]\d{2}|[23]\d{3})15(\d{6,8})$")
#: An extension, which does not identify a person's phone.
_EXTENSION = re.compile(r"(?:ext\.?|x|#).*$", re.IGNORECASE)


def phone_key(number, country_code=None):
    """The key of ``number``: equal for two ways to write one line.

    :param str number: as people and bots write it
    :param country_code: the code of the country in whose format a number without a code is written, such as 52
    :return: ``None`` if it is no phone number
    """
    text = _EXTENSION.sub("", (number or "").strip()).replace("(0)", "").strip()
    digits = re.sub(r"\D", "", text)
    code = str(country_code or "")
    if text.startswith(("+", "(+")) or digits.startswith("00"):
        digits = digits.lstrip("0")
    elif code:
        digits = _with_code(digits, code)
    if not FEWEST_DIGITS <= len(digits) <= MOST_DIGITS:
        return None
    for pattern, kept in _SPARE:
        digits = pattern.sub(kept, digits)
    return digits


def _with_code(digits, code):
    """A number without ``+`` as an international one."""
    size = _NATIONAL.get(code)
    national = _without_prefix(digits, code)
    if size and len(national) == size:
        return code + national
    # Bots write the international number without +; a national number would be too long for its country.
    if digits.startswith(code) and len(digits) >= len(code) + (size or 8):
        return digits
    if code == "55":  # two digits of the area, then eight or nine
        return code + national if len(national) in (10, 11) else digits
    # So long a number has a code already, of another country.
    return digits if len(digits) > (size or 11) else code + national


def _without_prefix(digits, code):
    if code == "52" and (match := _MEXICAN_PREFIX.match(digits)):
        return match[1]
    national = digits.lstrip("0") if code != "39" else digits
    if code == "54":
        national = national.removeprefix("9") if len(national) == 11 else national
        match = _ARGENTINE_15.match(national)
        if match and len(match[1] + match[2]) == 10:
            return match[1] + match[2]
    return national
