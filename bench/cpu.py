"""CPU time by process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system CPU seconds that each named process has used so far."""
    used = {}
    for name, pid in pids.items():
        times = psutil.Process(pid).cpu_times()
        used[name] = times.user + times.system
    return used


def per_request_ms(
    before: Mapping[str, float], after: Mapping[str, float], requests: int
) -> dict[str, float]:
    """CPU milliseconds a request that each process used between two readings."""
    return {name: (after[name] - before[name]) * 1e3 / requests for name in before}


def thread_seconds(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process, to the nanosecond where `cpu_seconds` counts
    hundredths. Linux only."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has just ended
            used[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return used
