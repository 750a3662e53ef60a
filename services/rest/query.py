"""Query strings, taken strictly: a parameter that is not known is an error and never ignored.

A misspelt parameter would otherwise change an answer silently, and every spelling of one question
would have its own place in a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from services.errors import InvalidArgument

MAX_PARAMETERS: Final = 32
"""Parameters in one query string, so that parsing it stays cheap."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_POLICY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


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


def image_id(raw: str) -> str:
    """An image id as it stands in a path. Raises InvalidArgument."""
    if not _DIGEST.fullmatch(raw):
        raise InvalidArgument(
            "an image id is the SHA-256 of the image's bytes in lower-case hexadecimal",
            field="id",
            limit="64 hexadecimal digits",
        )
    return raw


def policy_name(parameters: Mapping[str, str]) -> str:
    """The policy that is asked for; empty for the default one. Raises InvalidArgument."""
    name = parameters.get("policy", "")
    if name and not _POLICY.fullmatch(name):
        raise InvalidArgument(
            "a policy's name is lower-case letters, digits and dashes",
            field="policy",
            limit="64 characters",
        )
    return name


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
