"""What may come in, and for how long: read by both ends of every call and by Envoy's template."""

from __future__ import annotations

from typing import Final

MAX_IMAGE_BYTES: Final = 20_000_000
"""Bytes of one encoded image."""

MAX_IMAGE_PIXELS: Final = 50_000_000
"""Width times height of one image, checked in its header before anything is decoded."""

MAX_BATCH_IMAGES: Final = 128
"""Image references in one call."""

MAX_INLINE_BYTES: Final = 24_000_000
"""Bytes of all images carried inline in one call."""

MAX_MESSAGE_BYTES: Final = MAX_INLINE_BYTES + 1_000_000
"""One gRPC message, both ways: the inline bytes and everything around them."""

MAX_UPLOAD_BYTES: Final = MAX_IMAGE_BYTES + 64_000
"""One HTTP request body: an image and its multipart wrapping."""

MAX_PREDICT_BYTES: Final = MAX_INLINE_BYTES // 3 * 4 + 64_000
"""One body of `:predict`: the inline bytes as base64, and the JSON around them."""

DEFAULT_TIMEOUT_S: Final = 15.0
"""Deadline of a request for one image, unless the client asks for less."""

DEFAULT_BATCH_TIMEOUT_S: Final = 60.0
"""Deadline of a request for many images, unless the client asks for less."""

REDIS_BUDGET_S: Final = 0.25
"""What one operation of Redis may take, connecting included, before it is done without: a thousand
times what it does take, as a busy event loop is no outage."""
