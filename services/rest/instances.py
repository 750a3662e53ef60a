"""TensorFlow Serving's predict request, read strictly: images in, and the form of the answer.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md. Every model
has one input, `image_bytes`, and one output. Pure code: it reads and decodes, and asks nobody.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.errors import EmptyImage, ImageTooLarge, InvalidArgument, VisionmeshError
from services.limits import MAX_BATCH_IMAGES, MAX_IMAGE_BYTES, MAX_INLINE_BYTES
from services.names import image_id
from visionmesh.common.v1.image_pb2 import ImageRef

SIGNATURE: Final = "serving_default"
"""The one signature, which TensorFlow Serving takes when none is named."""

INPUT: Final = "image_bytes"

ROWS: Final = {"instances": "predictions", "inputs": "outputs"}
"""What the answer is called, by what the request is called: row by row, or in columns."""

MAX_MARKS: Final = 16 * MAX_BATCH_IMAGES
"""Quotes, commas and brackets of a request, which base64 has none of; an image takes nine. So that
a body of millions of tiny values is refused before it takes a hundred times its size as objects."""

Item = ImageRef | VisionmeshError
"""An image, or what is wrong with it alone."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The images of a request in their order, and under which name their results are answered."""

    source: str
    items: Sequence[Item]

    @property
    def answer(self) -> str:
        return ROWS[self.source]


def parse(body: bytes) -> Batch:
    """Read a request's body.

    Raises InvalidArgument for what is no such request, and ImageTooLarge for too many bytes in all;
    what is wrong with the content of one image is that image's own error.
    """
    request = _object(body)
    unknown = request.keys() - {"signature_name", *ROWS}
    if unknown:
        raise _invalid("body", f"unknown member {min(unknown)!r}; known are: {_known()}")
    if request.get("signature_name", SIGNATURE) != SIGNATURE:
        raise _invalid("signature_name", f"the one signature is {SIGNATURE!r}", SIGNATURE)
    given = [name for name in ROWS if name in request]
    if len(given) != 1:
        raise _invalid("body", "needs either instances or inputs, and not both")
    [source] = given
    values = _values(request[source], source)
    if not 0 < len(values) <= MAX_BATCH_IMAGES:
        raise _invalid(source, f"{len(values)} images", f"1 to {MAX_BATCH_IMAGES} images")
    items = [_item(value, f"{source}[{number}]") for number, value in enumerate(values)]
    inline = sum(len(item.data) for item in items if isinstance(item, ImageRef))
    if inline > MAX_INLINE_BYTES:
        limit = f"{MAX_INLINE_BYTES} bytes"
        raise ImageTooLarge(f"{source}: {inline} bytes in all", field=source, limit=limit)
    return Batch(source, items)


def _object(body: bytes) -> dict[str, Any]:
    if sum(map(body.count, (b'"', b",", b"[", b"{"))) > MAX_MARKS:
        limit = f"{MAX_BATCH_IMAGES} images"
        raise _invalid("body", f"more values than {MAX_BATCH_IMAGES} images have", limit)
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid("body", "is not valid JSON") from error
    if not isinstance(request, dict):
        raise _invalid("body", "is not a JSON object")
    return request


def _values(given: Any, source: str) -> list[Any]:
    """The images of either form. In columns the one input may be named, and stand for itself."""
    if source == "inputs":
        if isinstance(given, dict) and given.keys() == {INPUT}:
            given = given[INPUT]
        if isinstance(given, dict):
            given = [given]
    if not isinstance(given, list):
        raise _invalid(source, "is not a list of images")
    return given


def _item(value: Any, field: str) -> Item:
    if isinstance(value, dict) and value.keys() == {INPUT}:
        value = value[INPUT]
    if isinstance(value, dict) and len(value) == 1:
        [(name, text)] = value.items()
        if name in ("b64", "imageId") and isinstance(text, str):
            try:
                return _inline(text) if name == "b64" else ImageRef(digest=image_id(text))
            except VisionmeshError as error:
                return type(error)(
                    f"{field}.{name}: {error.message}", field=f"{field}.{name}", limit=error.limit
                )
    forms = f'{{"b64": …}}, {{"{INPUT}": {{"b64": …}}}} or {{"imageId": …}}'
    raise _invalid(field, f"is none of {forms}", forms)


def _inline(text: str) -> ImageRef:
    """Raises InvalidArgument for what is no base64, EmptyImage, ImageTooLarge."""
    if len(text) // 4 * 3 - text[-2:].count("=") > MAX_IMAGE_BYTES:
        limit = f"{MAX_IMAGE_BYTES} bytes"
        raise ImageTooLarge(f"more than {limit}", limit=limit)
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii's own is one
        raise InvalidArgument("is not base64 (RFC 4648, with padding)") from error
    if not data:
        raise EmptyImage("the image is empty")
    return ImageRef(digest=hashlib.sha256(data).hexdigest(), data=data)


def _known() -> str:
    return ", ".join(("signature_name", *ROWS))


def _invalid(field: str, detail: str, limit: str = "") -> InvalidArgument:
    return InvalidArgument(f"{field}: {detail}", field=field, limit=limit)
