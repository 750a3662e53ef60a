"""The one place where errors of obstore and of the file system become ours."""

from __future__ import annotations

from types import TracebackType
from typing import Final

import structlog
from obstore.exceptions import BaseError

from services import errors

FOREIGN: Final = (BaseError, OSError, ValueError)
"""All that obstore and the file system raise, by their documentation and by test."""

_log = structlog.get_logger()


class Translation:
    """Around every call of obstore and of the file system.

    A class, because a generator's context costs as much as the read around which it stands.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, FOREIGN):
            raise unavailable(error) from error


TRANSLATED: Final = Translation()


def unavailable(error: Exception) -> errors.StoreUnavailable:
    """What a caller is told; what it was stays in the log."""
    _log.error("object store failed", kind=type(error).__name__, reason=str(error).split("\n")[0])
    return errors.StoreUnavailable("the object store cannot be reached")
