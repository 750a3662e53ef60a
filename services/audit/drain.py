"""Takes what is in the spool over into the database."""

from __future__ import annotations

import structlog

from services.audit.database import Database
from services.audit.spool import Spool

_log = structlog.get_logger()


def drain(spool: Spool, database: Database) -> bool:
    """The oldest piece of it; False when there is none.

    Raises AuditUnavailable: what is not committed stays in the spool. What the database will never
    take is set aside, and holds up nothing behind it. Whatever ends the process on
    the way, every entry is in the database once: one that comes again has the same id, and changes
    nothing.
    """
    try:
        chunk = spool.take()
    except FileNotFoundError:
        return spool.skip()  # another replica has adopted it too, and was faster
    except OSError as error:
        _log.error("audit spool not readable", error=str(error))
        return spool.put_aside()
    if chunk is None:
        return False
    refused = database.insert(chunk.entries)
    try:
        spool.set_aside(refused)
        spool.done(chunk)
    except OSError as error:
        _log.error("audit spool not emptied", error=str(error))
        return False
    return True


def adopt(spool: Spool) -> None:
    """Take in hand what earlier processes left behind, where it can be read."""
    try:
        spool.adopt()
    except OSError as error:
        _log.error("audit spool not readable", error=str(error))
