"""Telephone numbers in a line of text, also disguised ones.

Whether digits are a number of some country is Google's libphonenumber's to say. What is ours is to
find digits that stand for one, and to leave alone what is a valid number only by chance: prices,
sizes, dates, and the numbers of articles.
"""

from __future__ import annotations

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

REGIONS: Final = (
    *("DE", "GB", "FR", "US", "ES", "IT", "PT", "NL", "PL", "AT", "CH", "BE", "IE"),
    *("BR", "IN", "RU", "UA", "TR", "SE", "DK", "NO", "MX", "AU"),
)
"""Where a number without a country code may be from, in the order in which that is tried."""

_TRUNK: Final = ("DE", "GB", "FR", "NL", "AT", "CH", "BE", "IE", "IT", "SE", "AU")
_NINE_DIGITS: Final = ("ES", "PT", "PL")

_DIGIT: Final = r"[0-9OoIl|SB]"
_CANDIDATE: Final = re.compile(
    rf"(?<![\w.,:#&$€£])[+(]{{0,2}}[0-9OoIl|](?:[ ()./\-_–—]{{0,3}}{_DIGIT}){{6,16}}(?![\w%€$£])"
    r"(?![.,:]\d)"
)
# A column of a table, or a word.
_LONE_LETTER: Final = re.compile(r"\s[OoIl|SB](?!\S)")
_AS_DIGITS: Final = str.maketrans("OoIl|SB", "0011158")
_ENOUGH_DIGITS: Final = re.compile(r"(?:\d\D{0,4}){5}")
_US: Final = re.compile(r"\(?\d{3}\)?[ .-]\s?\d{3}[.-]\d{4}$")
_NINE: Final = re.compile(r"\d{3}[ -]?\d{3}[ -]?\d{3}$")

_ASKS: Final = re.compile(
    r"(?i)[☎✆📞📱🤙]|(?<![^\W_])(?:t[eé]l[eé]?f?(?:on|ono|oon|efon|efono|éfono)?|phone|ph|mob(?:il|ile)?"
    r"|m[oó]vil|cell?|cellulare|handy|natel|call|ring|sms|text|whats\s?app|whats|wapp?|wa|zap|viber"
    r"|signal|telegram|anruf\w*|ruf\w*|kontakt|contact\w*|ll[aá]m\w*|chiama\w*|bel|bellen|zadzwo[nń]"
    r"|dzwo[nń]|numer|n[uú]mero|appele[rz]|ligar|liga|my number|meine? (?:nr|nummer)"
    r"|тел|телефон|звони\w*)(?![^\W_])"
)
_IS_ANOTHER: Final = re.compile(
    r"(?i)(?:(?<![^\W_])(?:art|artikel|teile?|part|order|bestell|kunden?|customer|model|modell"
    r"|serial|serien|ref|sku|ean|upc|gtin|isbn|issn|imei|iban|vin|lot|tracking|s/n|sn|p/n|invoice"
    r"|rechnung\w*|box|hrb|ust-?id|id|no|n°|z[aä]hler|pzn|asin|fin)|nr|nummer|number)"
    r"[\s.:#-]*(?:no|nr|nummer|number)?[\s.:#-]*$"
)
_ZIP_CODE: Final = re.compile(r"\d{5}-\d{4}")
_DIGITS_BEFORE: Final = re.compile(r"\d\w*\s$")
_WORD: Final = re.compile(r"[^\W_]+")
_BETWEEN: Final = re.compile(r"[\s,.;:/\-]*")
_NUMBERS: Final = {
    word: str(value)
    for value, words in enumerate(
        (
            "zero null zéro cero nul ноль oh",
            "one eins ein un une uno um een jeden один",
            "two zwei zwo deux dos due dois twee dwa два",
            "three drei trois tres tre três drie trzy три",
            "four vier quatre cuatro quattro quatro cztery четыре",
            "five fünf fuenf cinq cinco cinque vijf pięć piec пять",
            "six sechs seis sei zes sześć szesc шесть",
            "seven sieben sept siete sette sete zeven siedem семь",
            "eight acht huit ocho otto oito osiem восемь",
            "nine neun neuf nueve nove negen dziewięć dziewiec девять",
            "ten zehn dix diez dieci dez tien",
            "eleven elf onze once undici elf",
            "twelve zwölf douze doce dodici doze twaalf",
        )
    )
    for word in words.split()
}
_COUNTING: Final = "0123456789101112"


def phones(text: str, before: str = "") -> tuple[list[str], str]:
    """The numbers in plain text, as E.164 has them, and what is left of the text without them.

    `before` is the line before it: `Tel.:` may stand there.
    """
    spelled, text = _digits_of_words(text)
    if not _ENOUGH_DIGITS.search(text) and not spelled:
        return [], text
    asked = (
        spelled or bool(_ASKS.search(text)) or (len(before) <= 20 and bool(_ASKS.search(before)))
    )
    found: list[str] = []
    left = text
    for match in _CANDIDATE.finditer(text):
        raw = match[0].translate(_AS_DIGITS)
        if _LONE_LETTER.search(match[0]) or sum(map(str.isdigit, match[0])) < 0.6 * sum(
            map(str.isdigit, raw)
        ):
            continue
        alone = not _WORD.search(text[: match.start()] + text[match.end() :])
        if number := _number(raw, text[: match.start()], asked, alone):
            found.append(number)
            left = left.replace(match[0], " ")
    return found, left


def _digits_of_words(text: str) -> tuple[bool, str]:
    """Whether a number is spelled in words, and the text with its digits."""
    if not _may_be_spelled(text):
        return False, text
    run: list[str] = []
    words = first = last = 0
    for word in _WORD.finditer(text):
        digits = _NUMBERS.get(word[0].lower()) or (word[0] if word[0].isdigit() else "")
        joined = bool(run) and _BETWEEN.fullmatch(text, last, word.start())
        if not (digits and joined):
            if _is_spelled(run, words):
                break
            run, words, first = [], 0, word.start()
        if digits:
            run.append(digits)
            words += not word[0].isdigit()
            last = word.end()
    if not _is_spelled(run, words):
        return False, text
    return True, f"{text[:first]}{''.join(run)}{text[last:]}"


def _may_be_spelled(text: str) -> bool:
    return sum(word in _NUMBERS for word in _WORD.findall(text.lower())) >= 3


def _is_spelled(run: list[str], words: int) -> bool:
    digits = "".join(run) if words >= 3 else ""
    return len(digits) >= 8 and digits not in _COUNTING


def _number(raw: str, before: str, asked: bool, alone: bool) -> str | None:
    digits = re.sub(r"\D", "", raw)
    if len(set(digits)) < 3 or not 7 <= len(digits) <= 15:
        return None
    if raw.lstrip("(").startswith("+"):
        return _valid("+" + digits)
    if _IS_ANOTHER.search(before) and not _ASKS.search(before):
        return None
    separated = bool(re.search(r"\d[ ()./\-_–—]+\d", raw))
    if digits.startswith("00"):
        return _valid("+" + digits[2:]) if separated or asked else None
    if not asked and (_DIGITS_BEFORE.search(before) or _ZIP_CODE.fullmatch(raw)):
        return None
    if asked:
        return next(filter(None, (_valid(digits, region) for region in REGIONS)), None)
    if _US.match(raw.strip()):
        return _valid(digits, "US")
    if digits.startswith("0") and len(digits) >= 9 and (separated or alone):
        if separated and len(re.split(r"[ ()./\-_–—]+", raw.strip("(+"))[0]) < 2:
            return None
        return next(
            filter(None, (_valid(digits, one, mobile=not separated) for one in _TRUNK)), None
        )
    if alone and _NINE.match(raw) and "000" not in digits:
        return next(filter(None, (_valid(digits, one, mobile=True) for one in _NINE_DIGITS)), None)
    return None


def _valid(digits: str, region: str | None = None, *, mobile: bool = False) -> str | None:
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    if mobile and phonenumbers.number_type(number) != PhoneNumberType.MOBILE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
