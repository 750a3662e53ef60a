"""The file of a multipart form that is in memory already. https://www.rfc-editor.org/rfc/rfc7578"""

from __future__ import annotations

from typing import Final

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from services.errors import InvalidArgument

FIELD: Final = "file"
"""The name of the form's one part."""

MAX_HEADERS: Final = 8
"""Header lines of one part."""

MAX_HEADER_BYTES: Final = 4_096
"""Bytes of one header line of a part."""

MAX_BOUNDARY: Final = 70
"""Characters of a boundary. https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1"""

MAX_PARTS: Final = 8
"""Parts that are looked at, to say which one is too many."""


def file_of(content_type: str, body: bytes) -> bytes:
    """The content of a form's one part, which is named `file`. Raises InvalidArgument."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise InvalidArgument(
            "the form's boundary is missing or too long",
            field="Content-Type",
            limit=f"{MAX_BOUNDARY} characters",
        )
    try:
        return _one_part(boundary, body)
    except ParserLimitReached as error:
        raise InvalidArgument(
            "the form has too many parts, or a part has too many or too long headers",
            field="body",
            limit=f"{MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes",
        ) from error
    except (MultipartError, ValueError) as error:
        raise InvalidArgument("the form is cut off or malformed", field="body") from error


def _one_part(boundary: str, body: bytes) -> bytes:
    chunks: list[bytes] | None = None
    parser = PushMultipartParser(
        boundary,
        max_header_count=MAX_HEADERS,
        max_header_size=MAX_HEADER_BYTES,
        max_segment_count=MAX_PARTS,
    )
    with parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                _check_part(event.name, first=chunks is None)
                chunks = []
            elif event and chunks is not None:
                chunks.append(bytes(event))
    if chunks is None:
        raise InvalidArgument(f"the form has no part named {FIELD!r}", field=FIELD)
    return b"".join(chunks)


def _check_part(name: str, *, first: bool) -> None:
    if name != FIELD:
        raise InvalidArgument(
            f"the form has an unknown part {name[:100]!r}; its one part is named {FIELD!r}",
            field=name[:100],
            limit=f"1 part named {FIELD}",
        )
    if not first:
        raise InvalidArgument("the form has more than one file", field=FIELD, limit="1 file")
