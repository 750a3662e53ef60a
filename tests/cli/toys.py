"""Supervised toy processes, and what the supervisor said about them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from mesh.child import Child, Pace, Program, State
from mesh.health import HttpProbe
from mesh.supervisor import Supervisor

TOY = Path(__file__).with_name("toy.py")

PATIENCE_S = 30.0
"""How long a condition may take before a test gives up: long, as machines may be busy."""

QUICK = Pace(first_delay_s=0.01, check_interval_s=0.02, check_timeout_s=5.0)


class Recorder:
    """A log that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.events: list[str] = []

    def lines(self, program: Program, lines: Sequence[bytes]) -> None:
        self.texts += [f"{program.name}: {line.decode()}" for line in lines]

    def event(self, level: str, message: str, **fields: object) -> None:
        self.events.append(message)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def toy(name: str, *behaviour: str, tier: int = 0) -> Program:
    """A toy process on a free port."""
    port = free_port()
    return Program(
        name=name,
        argv=(sys.executable, "-I", str(TOY), str(port), *behaviour),
        env=os.environ,
        port=port,
        probe=HttpProbe(port, "/healthz"),
        tier=tier,
    )


@asynccontextmanager
async def supervised(
    *programs: Program, pace: Pace = QUICK, log: Recorder | None = None, grace_s: float = PATIENCE_S
) -> AsyncIterator[Supervisor]:
    """A running supervisor that is stopped on leaving, and the pids it has left are none."""
    supervisor = Supervisor(programs, log or Recorder(), pace=pace)
    supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop(grace_s)
    assert not psutil.Process().children(recursive=True)


async def healthy_again(supervisor: Supervisor, child: Child, old_pid: int) -> None:
    """Wait until another process is healthy in a child's place."""
    await supervisor.wait_until(
        lambda: child.state is State.HEALTHY and child.pid != old_pid, PATIENCE_S
    )


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    await until(lambda: not alive(pid), f"the end of {pid}")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition on other processes holds; AssertionError says `what` never came."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110, another process meets it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
