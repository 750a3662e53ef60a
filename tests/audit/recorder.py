"""Records one verdict after another, and says which ones were acknowledged; for tests to kill."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from services.audit.log import AuditLog
from tests.audit.world import TRACE, digest, verdict


async def main() -> None:
    folder, url, mode, first = sys.argv[1:]
    log = AuditLog.open(url, Path(folder), mode == "required", "moderation-0")
    for number in count(int(first)):
        await log.record("local", [(digest(number), verdict(number))], TRACE)
        print(number, flush=True)


asyncio.run(main())
