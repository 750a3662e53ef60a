"""CPU time by process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import psutil

LOOKING: Final = "visionmesh_model_cpu_seconds_total{"


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


def looking_seconds(metrics_port: int) -> float:
    """CPU seconds of those threads of a model's process that look at images, as it says itself."""
    with urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as answer:  # our own
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(LOOKING))


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
