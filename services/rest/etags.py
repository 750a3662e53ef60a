"""Entity tags that are known before any model runs.

A tag follows from what an answer is made of (digest, versions, selected fields) and from the code
that writes it, never from the answer's bytes. https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag(*parts: str) -> str:
    """A strong tag of the given parts, none of which holds a NUL."""
    return f'"{blake2b(chr(0).join(parts).encode(), digest_size=16).hexdigest()}"'


def names(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match header names `tag`.

    Compared weakly, as the RFC says for this header: Envoy weakens the tags of what it compresses.
    """
    return tag in _TAG.findall(if_none_match)


def matches(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match header names `tag`, or is `*`, which every answer meets."""
    return if_none_match.strip() == "*" or names(if_none_match, tag)
