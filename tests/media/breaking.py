"""A process that dies, or a disk that fails, at the n-th thing that is done to a store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final, Literal

import obstore
import pytest

Way = Literal["killed", "fails once", "fails for good"]
WAYS: Final[tuple[Way, ...]] = ("killed", "fails once", "fails for good")

STEPS: Final = ((os, "fsync"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "makedirs"))
CLOUD_STEPS: Final = ((obstore, "put_async"), (obstore, "delete_async"))


class Killed(BaseException):
    """What the code under test cannot catch: as good as the end of its process."""


class Breaking:
    """From `arm` to `repair`, the n-th change to any store goes wrong, before it has an effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        self._way: Way = "killed"
        self.broke = False
        for module, name in (*STEPS, *CLOUD_STEPS):
            monkeypatch.setattr(module, name, self._around(getattr(module, name)))
        monkeypatch.setattr(os, "open", self._around(os.open, self._makes))

    def arm(self, step: int, way: Way) -> None:
        """Break at this step, counted from 0."""
        self._left, self._way, self.broke = step, way, False

    def repair(self) -> None:
        """From here on all is well."""
        self._left = None

    @staticmethod
    def _makes(*arguments: Any) -> bool:
        return bool(arguments[1] & os.O_CREAT)

    def _around(
        self, real: Callable[..., Any], counts: Callable[..., bool] = lambda *_: True
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._left is not None and counts(*arguments):
                self._step()
            return real(*arguments, **options)

        return call

    def _step(self) -> None:
        assert self._left is not None
        self._left -= 1
        if self._left >= 0 or (self._way == "fails once" and self._left < -1):
            return
        self.broke = True
        if self._way == "killed":
            raise Killed
        raise OSError(errno.ENOSPC, "no space left on device")
