"""Query strings, taken strictly: a parameter that is not known is an error and never ignored.

A misspelt parameter would otherwise change an answer silently, and every spelling of one question
would have its own place in a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote

from services.errors import InvalidArgument
from services.names import is_name
from services.releases.releases import DEFAULT_POLICY

MAX_PARAMETERS: Final = 32
"""Parameters in one query string, so that parsing it stays cheap."""

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_RELEASE: Final = re.compile(r"[0-9a-f]{16}")


def parse(raw: str, *known: str) -> dict[str, str]:
    """The parameters of a raw query string; exact duplicates count once.

    Raises InvalidArgument for a parameter that is not `known`, has two values, or is empty.
    """
    found: dict[str, str] = {}
    if not raw:
        return found
    for name, value in _pairs(raw):
        if name not in known:
            are = f"known are: {', '.join(known)}" if known else "there are none here"
            raise InvalidArgument(f"unknown parameter {name!r}; {are}", field=name)
        if not value:
            raise InvalidArgument(f"parameter {name!r} is empty", field=name)
        if found.setdefault(name, value) != value:
            raise InvalidArgument(f"parameter {name!r} has two values", field=name, limit="1")
    return found


def canonical_url(path: str, parameters: Mapping[str, str]) -> str:
    """The one way to write a URL: sorted as Envoy sorts for its cache, without what is default."""
    written = sorted(
        f"{name}={quote(value, safe='(),/')}"
        for name, value in parameters.items()
        if (name, value) != ("policy", DEFAULT_POLICY)
    )
    return f"{path}?{'&'.join(written)}" if written else path


def policy_name(parameters: Mapping[str, str]) -> str:
    """The policy that is asked for; empty for the default one. Raises InvalidArgument."""
    name = parameters.get("policy", "")
    if name and not is_name(name):
        raise InvalidArgument(
            "a policy's name is lower-case letters, digits and dashes",
            field="policy",
            limit="64 characters",
        )
    return name


def brand_name(raw: str) -> str:
    """A brand's name as it stands in a path. Raises InvalidArgument."""
    if not is_name(raw):
        raise InvalidArgument(
            "a brand's name is lower-case letters, digits and dashes",
            field="name",
            limit="64 characters",
        )
    return raw


def release_name(raw: str) -> str:
    """A release's name as a caller writes it. Raises InvalidArgument."""
    if not _RELEASE.fullmatch(raw):
        raise InvalidArgument(
            "a release's name is lower-case hexadecimal",
            field="release",
            limit="16 hexadecimal digits",
        )
    return raw


def whole_number(parameters: Mapping[str, str], name: str, most: int) -> int:
    """A parameter from 1 to `most`; 0 when it is not given. Raises InvalidArgument."""
    raw = parameters.get(name)
    if raw is None:
        return 0
    if _NUMBER.fullmatch(raw) and 0 < int(raw) <= most:
        return int(raw)
    raise InvalidArgument(f"{name} is a whole number from 1 to {most}", field=name, limit=str(most))


def _pairs(raw: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError as error:
        raise InvalidArgument("the query string is not UTF-8", field="query") from error
    except ValueError as error:
        raise InvalidArgument(
            "the query string has too many parameters",
            field="query",
            limit=f"{MAX_PARAMETERS} parameters",
        ) from error
