"""Names in messengers and social networks in a line of text."""

from __future__ import annotations

import re
from typing import Final

_HANDLE: Final = r"(?:live:)?[^\W\d_][\w.]{2,31}(?:#\d{4})?(?!\w)"
_MARKED: Final = rf"@\s?({_HANDLE})"
# With a digit, an underscore or a dot inside: no word of a sentence.
_TELLING: Final = rf"(?=\S*\w[\d_.]\w|\S*\w\d)({_HANDLE})"
_SAYS: Final = r"\s*(?:\b(?:id|is|name|user(?:name)?|nick|handle|ist)\b\s*)?"

# Names of services that mean nothing else.
_SERVICE: Final = (
    r"(?:tele\s?gra(?:m|rn)|whats\s?app|[i1l]nsta(?:gram)?|snap\s?chat|we\s?chat|weixin|微信|viber|skype"
    r"|threema|discord|kakao\s?talk|tik\s?tok|телеграмм?|телега)"
)
# Words and letters that can mean something else.
_SHORT: Final = r"(?:tg|ig|fb|kik|snap|vx)"
_OTHER: Final = r"(?:line|signal|wa|sc)"

_PATTERNS: Final = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?<!\w)(?:{_SERVICE}|{_SHORT}|{_OTHER}){_SAYS}[\s:=>\-–]*{_MARKED}",
        rf"(?<!\w){_SERVICE}{_SAYS}\s*[:=]\s*({_HANDLE})",
        rf"(?<!\w)(?:{_SERVICE}|{_SHORT}){_SAYS}\s*[:=\-–]?\s*{_TELLING}",
        rf"(?<!\w)line\s+id\s*:?\s*({_HANDLE})",
        rf"(?<![^\s:]){_MARKED.replace(_HANDLE, _TELLING)}".replace(r"\s?", ""),
        rf"^\W*@({_HANDLE})\W*$",
    )
)
_HINT: Final = re.compile(rf"@|(?<!\w)(?:{_SERVICE}|{_SHORT}|line)(?!\w)", re.I)


def handles(text: str) -> list[str]:
    """The names in plain text, in small letters."""
    if not _HINT.search(text):
        return []
    found = dict.fromkeys(
        match[match.lastindex or 0].lower().rstrip(".")
        for pattern in _PATTERNS
        for match in pattern.finditer(text)
    )
    return list(found)
