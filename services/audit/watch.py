"""Whether what a thread waits for is overdue: a disk or a server may never answer at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LATE_S: Final = 3.0
"""How long one write may take before it is said that nobody answers (a guess)."""


class Watch:
    """Looks at one thing that one thread does at a time. Asked from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    @contextmanager
    def on(self) -> Iterator[None]:
        self._since = self._clock()
        try:
            yield
        finally:
            self._since = None

    @property
    def is_late(self) -> bool:
        since = self._since
        return since is not None and self._clock() - since > LATE_S
