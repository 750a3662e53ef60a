"""The nearest tier: results in this process's memory, bounded by bytes and by time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from services.errors import VisionmeshError
from services.results.envelope import Value, fresh
from services.results.keys import ResultKey

MAX_BYTES: Final = 64 * 1024 * 1024

TTL_S: Final = 45.0
"""How long results stay after their image was last asked for. Who asks is checked to own the image
first, so of an image that nobody owns any more nothing is left after this and `SWEEP_S`, together
less than the minute in which a deletion is promised to be over."""

SWEEP_S: Final = 5.0

IMAGE_BYTES: Final = 900
RESULT_BYTES: Final = 500
"""What an image and each of its results take beside the result itself: keys, dicts, links
(measured with tracemalloc, and held by a test)."""


class _Image:
    """All that is known of one image, and when it was last asked for."""

    __slots__ = ("size", "used_at", "values")

    def __init__(self) -> None:
        self.values: dict[ResultKey, Value] = {}
        self.size = IMAGE_BYTES
        self.used_at = 0.0


class MemoryTier:
    """Results by image, least recently used first. What is put in has been checked."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        *,
        ttl_s: float = TTL_S,
        sweep_s: float = SWEEP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._sweep_s = sweep_s
        self._clock = clock
        self._images: OrderedDict[str, _Image] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.bytes = 0

    def __len__(self) -> int:
        """How many images something is known of."""
        return len(self._images)

    def get(self, key: ResultKey) -> Value | None:
        """A result, for somebody who was checked to own the image."""
        image = self._images.get(key.digest)
        if image is None:
            return None
        now = self._clock()
        if now - image.used_at >= self._ttl_s:
            self.forget(key.digest)
            return None
        image.used_at = now
        self._images.move_to_end(key.digest)
        value = image.values.get(key)
        return None if value is None else fresh(value)

    def put(self, key: ResultKey, value: Value) -> None:
        """Keep a result; what was asked for longest ago makes room for it."""
        size = _size(value)
        if IMAGE_BYTES + size > self._max_bytes:
            return
        image = self._images.get(key.digest)
        if image is None:
            image = self._images[key.digest] = _Image()
            self.bytes += image.size
        before = image.values.get(key)
        grown = size - (0 if before is None else _size(before))
        image.values[key] = fresh(value)
        image.size += grown
        self.bytes += grown
        image.used_at = self._clock()
        self._images.move_to_end(key.digest)
        while self.bytes > self._max_bytes:
            self._drop_oldest()
        self._arm()

    def forget(self, digest: str) -> None:
        """Forget all that is known of an image."""
        if image := self._images.pop(digest, None):
            self.bytes -= image.size

    def expire(self) -> None:
        """Forget the images that nobody has asked for lately."""
        latest = self._clock() - self._ttl_s
        while self._images and next(iter(self._images.values())).used_at <= latest:
            self._drop_oldest()

    def close(self) -> None:
        """Forget everything, and stop looking after it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._images.clear()
        self.bytes = 0

    def _drop_oldest(self) -> None:
        _, image = self._images.popitem(last=False)
        self.bytes -= image.size

    def _arm(self) -> None:
        """See that what is kept is forgotten in time, also when nobody asks for anything more."""
        if self._timer is None and self._images:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self.expire()
        self._arm()


def _size(value: Value) -> int:
    if isinstance(value, VisionmeshError):
        return RESULT_BYTES + 4 * len(value.message)
    return RESULT_BYTES + len(value)
