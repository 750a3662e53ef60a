"""CPU time by process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

WORKERS: Final = ("onnx_", "sift_", "matching_")
"""How the names of threads begin that do what the bare pipeline does."""


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


def worker_seconds(pid: int) -> float:
    """CPU seconds of those threads of a process that look at images: `Workers` names them. What
    threads used that have ended is not in it. Linux only."""
    used = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has just ended
            if (task / "comm").read_text().startswith(WORKERS):
                used += _scheduled_seconds(task)
    return used


def thread_seconds(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process, to the nanosecond where `cpu_seconds` counts
    hundredths. Linux only."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has just ended
            used[int(task.name)] = _scheduled_seconds(task)
    return used


def _scheduled_seconds(task: Path) -> float:
    return int((task / "schedstat").read_text().split()[0]) / 1e9
