"""How many bytes of request bodies may be in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.errors import Overloaded


class Budget:
    """So many bytes, for all bodies together."""

    def __init__(self, size_bytes: int) -> None:
        self.free_bytes = size_bytes

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A part of the budget, empty at first, that the block holds."""
        share = Share(self)
        share.hold()
        try:
            yield share
        finally:
            share.release()


class Share:
    """The part of one body. It is given back when the last of those that hold it lets go.

    A body outlives its request where the request's client has gone and its upload goes on.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._holders = 0
        self.taken_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Take what is missing to so many bytes. Raises Overloaded."""
        missing = size_bytes - self.taken_bytes
        if missing <= 0:
            return
        if missing > self._budget.free_bytes:
            raise Overloaded("too many uploads at once, try again soon")
        self._budget.free_bytes -= missing
        self.taken_bytes += missing

    def hold(self) -> None:
        """Keep the share until `release`, whoever else lets go of it."""
        self._holders += 1

    def release(self) -> None:
        """Let go, once for each `hold`."""
        self._holders -= 1
        if not self._holders:
            self._budget.free_bytes += self.taken_bytes
            self.taken_bytes = 0


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of one image. Who keeps them for longer than the request holds their share."""

    data: bytes
    share: Share
