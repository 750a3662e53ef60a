"""Request bodies: every byte is counted here, whatever the request says about its length.

aiohttp's own limit does not cover its multipart reader (aio-libs/aiohttp#13652), so that reader is
not used: a body is read up to its limit first, and parsed then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from services import errors
from services.limits import MAX_IMAGE_BYTES, MAX_PREDICT_BYTES, MAX_UPLOAD_BYTES
from services.rest import forms
from services.rest.budget import Body, Budget, Share
from services.rest.problems import HttpError

RAW_TYPES: Final = "image/*, application/octet-stream"
ALL_TYPES: Final = f"{RAW_TYPES}, multipart/form-data"

JSON_TYPES: Final = ("application/json", "application/x-www-form-urlencoded")
"""JSON, and what curl calls it when nobody says otherwise."""

JSON_SHARE: Final = 3
"""What base64 in JSON takes of the budget, in sizes of its body: that, its texts, their bytes."""

PARSE_INLINE_BYTES: Final = 64_000
"""Bodies up to this size are parsed on the event loop: a thread costs more than that takes."""


class BodyReader:
    """Reads uploads within a budget for all that are in memory at once."""

    def __init__(self, budget_bytes: int, timeout_s: float) -> None:
        self._budget = Budget(budget_bytes)
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def image(self, request: web.Request, *, form: bool = True) -> AsyncIterator[Body]:
        """The one image of a request, raw or as the file of a form, held until the block ends.

        Raises EmptyImage, ImageTooLarge, InvalidArgument, Overloaded, and HttpError for a body of
        another type or one that does not arrive.
        """
        is_form = _check_type(request, form)
        limit = MAX_UPLOAD_BYTES if is_form else MAX_IMAGE_BYTES
        with self._budget.share() as share:
            body = await self._read(request, limit, share)
            data = await _file_of(request, body) if is_form else body
            if not data:
                raise errors.EmptyImage("the image is empty", field="body")
            if len(data) > MAX_IMAGE_BYTES:
                raise _too_large(MAX_IMAGE_BYTES)
            yield Body(data, share)

    @asynccontextmanager
    async def read(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """The whole body of a request, at most `limit` bytes, held until the block ends.

        Raises ImageTooLarge, InvalidArgument, Overloaded, and HttpError for one that does not
        arrive.
        """
        with self._budget.share() as share:
            yield await self._read(request, limit, share)

    @asynccontextmanager
    async def json(self, request: web.Request) -> AsyncIterator[Body]:
        """The body of a request that is JSON, as it came, held until the block ends.

        Raises ImageTooLarge, InvalidArgument, Overloaded, and HttpError for a body of another type
        or one that does not arrive.
        """
        _check_coding(request)
        kind = request.content_type if request.headers.get(hdrs.CONTENT_TYPE) else ""
        if kind not in JSON_TYPES:
            raise _not_taken(kind, JSON_TYPES[0])
        with self._budget.share() as share:
            body = await self._read(request, MAX_PREDICT_BYTES, share)
            share.grow(JSON_SHARE * len(body))
            yield Body(body, share)

    async def _read(self, request: web.Request, limit: int, share: Share) -> bytes:
        declared = request.content_length or 0
        if declared > limit:
            raise _too_large(limit)
        share.grow(declared)
        await _continue(request)
        chunks, count = [], 0
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.content.iter_any():
                    count += len(chunk)
                    if count > limit:
                        raise _too_large(limit)
                    share.grow(count)
                    chunks.append(chunk)
        except TimeoutError:
            raise HttpError(
                HTTPStatus.REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "the body did not arrive in time",
                field="body",
                limit=f"{self._timeout_s:g} s",
            ) from None
        except web.RequestPayloadError as error:
            raise errors.InvalidArgument("the body is not valid HTTP", field="body") from error
        return b"".join(chunks)


async def leave_expectation(_request: web.Request) -> None:
    """Let the handler decide about `Expect: 100-continue`: a refused body need not be sent."""


async def _continue(request: web.Request) -> None:
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp does: this is no part of the answer


def _check_type(request: web.Request, form: bool) -> bool:
    """Whether the body is a form. Raises HttpError for types and codings that are not taken."""
    _check_coding(request)
    given = request.headers.get(hdrs.CONTENT_TYPE)
    kind = request.content_type if given else ""
    if kind.startswith("image/") or kind == "application/octet-stream":
        return False
    if form and kind == "multipart/form-data":
        return True
    raise _not_taken(kind, ALL_TYPES if form else RAW_TYPES)


def _not_taken(kind: str, accepted: str) -> HttpError:
    return HttpError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        f"the body's type is {kind or 'missing'}; send one of: {accepted}",
        field="Content-Type",
        limit=accepted,
        headers={"Accept": accepted},
    )


def _check_coding(request: web.Request) -> None:
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if coding != "identity":
        raise HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "images are compressed already: a body must not have a content coding",
            field="Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def _file_of(request: web.Request, body: bytes) -> bytes:
    content_type = request.headers[hdrs.CONTENT_TYPE]
    if len(body) <= PARSE_INLINE_BYTES:
        return forms.file_of(content_type, body)
    return await asyncio.to_thread(forms.file_of, content_type, body)


def _too_large(limit: int) -> errors.ImageTooLarge:
    return errors.ImageTooLarge(
        f"the body has more than {limit} bytes", field="body", limit=f"{limit} bytes"
    )
