"""E-mail addresses and links in a line of text, also disguised ones.

linkify-it finds addresses; what is ours is to undo disguises before, and to tell afterwards what
only looks like one: file names, abbreviations, and sentences without a blank between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from linkify_it import LinkifyIt
from linkify_it.tlds import TLDS

_CURLED: Final = r"(?:ät|arroba|arobase|chiocciola|ma[lł]pa|apenstaartje|klammeraffe|собака)"
_AT: Final = rf"(?:at|{_CURLED})"
_DOT: Final = r"(?:dot|punkt|point|punto|ponto|punt|kropka|точка)"
_GAP: Final = r"(?:\s+|[_-])"
_NAME: Final = r"\w(?:[\w.+-]*\w)?"
_PROVIDER: Final = (
    r"(?:gmail|googlemail|hotmail|outlook|yahoo|icloud|protonmail|gmx|web|aol|live|orange|libero"
    r"|wp)"
)

_SCHEME: Final = re.compile(r"\bh\s*[tx*]\s*[tx*]\s*p\s*(s?)\s*[:;]?\s*/\s*/\s*", re.I)
_BRACKETED_AT: Final = re.compile(rf"\s*[(\[{{<]\s*(?:{_AT}|a|@)\s*[)\]}}>]\s*", re.I)
_BRACKETED_DOT: Final = re.compile(rf"\s*[(\[{{<]\s*(?:{_DOT}|\.)\s*[)\]}}>]\s*", re.I)
_COPYRIGHT: Final = re.compile(r"(?<=[a-z])\s?©\s?(?=[\w-]+\.[a-z])", re.I)
_SPELLED: Final = re.compile(
    rf"({_NAME}?){_GAP}{_AT}{_GAP}([^\W_]+(?:{_GAP}{_DOT}{_GAP}[^\W_]+)+)", re.I
)
_CURLED_AT: Final = re.compile(rf"({_NAME})\s+{_CURLED}\s+([\w-]+\.[\w.-]*\w)", re.I)
_AT_PROVIDER: Final = re.compile(rf"({_NAME})\s+at\s+({_PROVIDER}\.[a-z.]+)", re.I)
_BARE_PROVIDER: Final = re.compile(rf"(\w*\d\w*)\s+({_PROVIDER})\s+(com|de|net|fr|it|pl)\b", re.I)
_CUT_PROVIDER: Final = re.compile(rf"({_NAME}@{_PROVIDER})(?![\w.-]|\s*[.,]\s*[a-z])", re.I)
_LOOSE_EMAIL: Final = re.compile(
    r"([\w.+-]+)(\s*)@\s*([\w-]+)\s*([.,]\s*)([a-z]{2,6})(?![\w-])", re.I
)
_LOOSE_DOT: Final = re.compile(
    rf"([\w-]{{2,}})(?:\s+{_DOT}\s+|\s+\.\s*)([a-z]{{2,6}})(?![\w-])", re.I
)
# `at some point in`: the words of a sentence, of the same spelling as those of an address.
_POINT: Final = re.compile(r"\bat\b.*\bpoint\b", re.I)
_DOT_WORD: Final = re.compile(rf"\s+{_DOT}\s+", re.I)
_SLASH_WORD: Final = re.compile(r"\s+slash\s+", re.I)
_LOOSE_WWW: Final = re.compile(r"\bwww\s*[.,]\s*([\w-]+)\s*[.,]\s*([a-z]{2,6})\b", re.I)
_LOOSE_HOST: Final = re.compile(r"\b(t|wa|m|vk)\s*\.\s*(me|com)\s*/\s*(?=\w)", re.I)
_ANCHOR: Final = re.compile(r"\bwww\b|@|://|\bslash\b", re.I)
_UNICODE_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")

_ALL: Final = frozenset(tld.lower() for tld in TLDS)
# Names without `www` and path count under these alone: the others are words too often.
_COMMON: Final = frozenset(
    "com net org info biz shop store online site app io co me tv eu xyz top club link website "  # noqa: SIM905 -- as prose
    "de at ch fr es it pt nl be lu pl uk ie us ca br mx ar cl in au nz jp cn kr ru ua by cz sk hu "
    "ro bg gr tr se no dk fi is ee lv lt hr si rs za ly gl gg рф укр 中国 한국".split()
)
# Common ones that are words of a sentence: they need more than a blank beside a dot.
_WORDS: Final = frozenset(
    ("de", "es", "it", "me", "at", "be", "in", "is", "to", "no", "so", "do", "my", "us", "by", "la")
)
_SECOND_LEVEL: Final = re.compile(r"\.(?:co|com|org|net|gov|ac)$", re.I)
# The end of an e-mail address whose beginning is elsewhere.
_MAILBOX: Final = re.compile(rf"{_PROVIDER}\.[a-z]{{2,3}}", re.I)
# Names that are written like addresses.
_PRODUCTS: Final = frozenset(("asp.net", "vb.net", "ado.net", "socket.io"))
_MESSENGERS: Final = re.compile(
    r"(?:^|\.)(?:t\.me|telegram\.me|wa\.me|whatsapp\.com|m\.me|ig\.me|discord\.gg|line\.me|lin\.ee|"
    r"signal\.me|signal\.group|instagram\.com|snapchat\.com|vk\.com|viber\.com|kik\.me|skype\.com)$"
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address: its kind, and how it is written plainly, in small letters."""

    kind: str
    value: str


def addresses(text: str) -> tuple[list[Address], str]:
    """The addresses in plain text, and what is left of the text without them."""
    if not _may_have(text):
        return [], text
    found: list[Address] = []
    left = text = undisguised(text)
    spans: list[tuple[int, int]] = []
    for cut in _CUT_PROVIDER.finditer(text):
        found.append(Address("email", cut[1].lower()))
        spans.append(cut.span())
    for email in _UNICODE_EMAIL.finditer(text):
        if email[0].rpartition(".")[2].lower() in _ALL and not email[0].isascii():
            found.append(Address("email", email[0].lower()))
            spans.append(email.span())
    for match in _linkify().match(text) or ():
        if any(first < match.last_index and match.index < last for first, last in spans):
            continue
        if address := _address(match.schema, match.text):
            found.append(address)
            spans.append((match.index, match.last_index))
    for first, last in sorted(spans, reverse=True):
        left = left[:first] + " " + left[last:]
    return found, left


def undisguised(text: str) -> str:
    """Text with addresses as they would be typed."""
    text = _SCHEME.sub(r"http\1://", text)
    text = _BRACKETED_AT.sub("@", text)
    text = _BRACKETED_DOT.sub(".", text)
    text = _COPYRIGHT.sub("@", text)
    text = _SPELLED.sub(_spelled, text)
    text = _CURLED_AT.sub(r"\1@\2", text)
    text = _AT_PROVIDER.sub(r"\1@\2", text)
    text = _BARE_PROVIDER.sub(r"\1@\2.\3", text)
    if _ANCHOR.search(text):
        text = _SLASH_WORD.sub("/", _DOT_WORD.sub(".", text))
    text = _LOOSE_DOT.sub(_loose_dot, text)
    text = _LOOSE_EMAIL.sub(_loose_email, text)
    text = _LOOSE_WWW.sub(r"www.\1.\2", text)
    return _LOOSE_HOST.sub(r"\1.\2/", text)


def _may_have(text: str) -> bool:
    return bool(_HINT.search(text))


_HINT: Final = re.compile(
    rf"[.,][)\]}}>]?\s*\w|@|©|/\s*/|\b{_AT}\b|\b{_DOT}\b|_at_|_dot_|\b{_PROVIDER}\b|[(\[{{]a[)\]}}]",
    re.I,
)


def _spelled(match: re.Match[str]) -> str:
    domain = re.sub(rf"{_GAP}{_DOT}{_GAP}", ".", match[2], flags=re.I)
    tld = domain.rpartition(".")[2].lower()
    if tld not in _ALL or (tld in _WORDS and _POINT.search(match[0])):
        return match[0]
    return f"{match[1]}@{domain}"


def _loose_dot(match: re.Match[str]) -> str:
    tld = match[2]
    if tld.lower() not in _COMMON - _WORDS or tld.istitle():
        return match[0]
    return f"{match[1]}.{tld}"


def _loose_email(match: re.Match[str]) -> str:
    name, before, host, dot, tld = match.groups()
    if tld.lower() not in _ALL or not re.search(r"[^\W\d_]", name) or not _letters(host):
        return match[0]
    if len(dot) > 1 and (tld.istitle() or tld.lower() in _WORDS or tld.lower() not in _COMMON):
        return match[0]
    if before and tld.istitle():
        return match[0]
    return f"{name}@{host}.{tld}"


def _address(schema: str, text: str) -> Address | None:
    if schema == "mailto:":
        return Address("email", text.lower().removeprefix("mailto:"))
    host, _, path = re.sub(r"(?i)^(?:[a-z]+:)?//", "", text).partition("/")
    host, _, port = host.partition(":")
    explicit = bool(schema) or host.lower().startswith("www.")
    if not (explicit or _is_host(host, bool(path or port))):
        return None
    messenger = _MESSENGERS.search(host.lower().removeprefix("www.")) and path
    return Address("messenger" if messenger else "link", text.lower())


def _is_host(host: str, has_path: bool) -> bool:
    """Whether a name without a scheme is one of a host, and no file, word or abbreviation."""
    name, _, tld = host.rpartition(".")
    label = _SECOND_LEVEL.sub("", name).rpartition(".")[2]
    if host.lower() in _PRODUCTS or _MAILBOX.fullmatch(host) or not _letters(label):
        return False
    if tld.istitle() or tld.isupper() != (tld.isupper() and label.isupper()):
        return False  # a sentence that begins without a blank before it
    if has_path:
        return tld.lower() in _ALL
    return tld.lower() in _COMMON and len(label) > 2


def _letters(text: str) -> bool:
    return any(character.isalpha() for character in text)


@cache
def _linkify() -> LinkifyIt:
    return LinkifyIt(options={"fuzzy_ip": False}).tlds(list(_ALL))
