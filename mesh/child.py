"""One program and its life: started, watched, restarted when it dies, stopped.

It knows nothing of the mesh: what to start, how to ask for health and where lines go are arguments.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from mesh.health import Probe, Unhealthy

TETHER: Final = Path(__file__).with_name("tether.py")


class State(StrEnum):
    """Where a program is in its life."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """It runs, was healthy, and does not answer now."""
    WAITING = "waiting"
    """It died and will be started again."""
    STOPPED = "stopped"


class Role(StrEnum):
    """What a program that serves is asked for."""

    SERVING = "serving"
    STANDBY = "standby"
    """For its health alone: it is to take over."""
    LEAVING = "leaving"
    """For nothing: another has taken over."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program to keep alive: replica `replica` of `replicas`.

    Programs of a lower `tier` are stopped first, so that what they have begun can finish.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    probe: Probe
    replica: int = 0
    replicas: int = 1
    tier: int = 0

    @property
    def title(self) -> str:
        """What a person calls it: `nsfw`, or `nsfw.1` when there are several."""
        return self.name if self.replicas == 1 else f"{self.name}.{self.replica}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things happen, in seconds; the defaults are guesses that have worked."""

    first_delay_s: float = 0.2
    max_delay_s: float = 10.0
    settled_s: float = 10.0
    """Healthy for so long, a program's next death is its first again."""
    starting_interval_s: float = 0.05
    check_interval_s: float = 1.0
    check_timeout_s: float = 2.0
    unresponsive_s: float = 15.0
    """A program that was healthy and has not answered for so long is killed and restarted."""
    start_attempts: int = 2
    """A program that dies so often without ever being healthy cannot be started."""

    def delay_s(self, deaths: int) -> float:
        """Seconds to wait after the given number of deaths in a row, at least 1."""
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** min(deaths - 1, 32))


class Log(Protocol):
    """Where the lines of programs and the events of the supervisor go."""

    def lines(self, program: Program, lines: Sequence[bytes]) -> None: ...

    def event(self, level: str, message: str, **fields: object) -> None: ...


class Child:
    """One program's life: runs, restarts, stop."""

    def __init__(
        self,
        program: Program,
        pace: Pace,
        log: Log,
        on_change: Callable[[Child], None],
        role: Role = Role.SERVING,
    ) -> None:
        self.program = program
        self.role = role
        self.state = State.STARTING
        self.pid: int | None = None
        self.started_at: float | None = None
        """When the running process was started, as Unix time in seconds."""
        self.restarts = 0
        self.deaths_unhealthy = 0
        """Deaths in a row of processes that never became healthy."""
        self.reason = ""
        """Why it is not healthy."""
        self._pace = pace
        self._log = log
        self._on_change = on_change
        self._deaths = 0
        self._healthy_at: float | None = None
        self._stopping = asyncio.Event()
        self._stop_signal = signal.SIGTERM
        self._done = asyncio.Event()

    async def supervise(self) -> None:
        """Keep the program running until `stop`."""
        try:
            while not self._stopping.is_set():
                await self._live()
                if self._stopping.is_set():
                    break
                delay_s = self._after_death()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay_s)
                self.restarts += 1
        finally:
            self._done.set()
            self._change(State.STOPPED)

    async def stop(self, grace_s: float, *, at_once: bool = True) -> None:
        """Ask it to end, and kill it when it has not ended after `grace_s` seconds.

        `at_once` is for when nobody sends it anything new any more: what serves goes on for a while
        upon SIGTERM, and not upon SIGINT (services/serving/ending.py).
        """
        self._stopping.set()
        serves = self.state in (State.HEALTHY, State.UNHEALTHY)
        self.signal(signal.SIGINT if at_once and serves else signal.SIGTERM)
        try:
            await asyncio.wait_for(self._done.wait(), grace_s)
        except TimeoutError:
            self._event("warning", f"did not stop within {grace_s:g} s, killed")
            self.kill()
            await self._done.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running process, if there is one."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the running process and all that it started, now and for good."""
        self._stop_signal = signal.SIGKILL
        self._stopping.set()
        if self.pid is not None:
            _kill_group(self.pid)

    async def _live(self) -> None:
        """One process from start to end."""
        self._healthy_at = None
        read_end, write_end = os.pipe()
        try:
            # A session of its own: a terminal's Ctrl-C reaches the launcher alone, which then stops
            # everything in order.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(TETHER), str(os.getpid())),
                *self.program.argv,
                env=dict(self.program.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.pid = process.pid
        self.started_at = time.time()
        pump = asyncio.create_task(self._pump(read_end))
        watch = asyncio.create_task(self._watch())
        try:
            self._change(State.STARTING)
            if self._stopping.is_set():
                self.signal(self._stop_signal)  # asked while it was being started
            self.reason = _how_it_ended(await process.wait())
        finally:
            watch.cancel()
            _kill_group(process.pid)
            self.pid = None
            self.started_at = None
            await _finish(pump)
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        """Ask for health until cancelled; kill the process when it has hung for too long."""
        pace = self._pace
        failing_since: float | None = None
        while True:
            try:
                await self.program.probe.check(pace.check_timeout_s)
            except Unhealthy as error:
                if self.state is State.STARTING:
                    await asyncio.sleep(pace.starting_interval_s)
                    continue
                now = time.monotonic()
                failing_since = failing_since or now
                self.reason = str(error)
                self._change(State.UNHEALTHY)
                if self._stopping.is_set():
                    return  # who stops has said how long it may take
                if now - failing_since >= pace.unresponsive_s and self.pid is not None:
                    self._event("error", f"has not answered for {pace.unresponsive_s:g} s, killed")
                    _kill_group(self.pid)
                    return
            else:
                failing_since = None
                self._healthy_at = self._healthy_at or time.monotonic()
                self.deaths_unhealthy = 0
                self.reason = ""
                self._change(State.HEALTHY)
            await asyncio.sleep(pace.check_interval_s)

    def _after_death(self) -> float:
        """Count a death, say it, and return how many seconds to wait before the next start."""
        healthy_at = self._healthy_at
        if healthy_at is None:
            self.deaths_unhealthy += 1
        elif time.monotonic() - healthy_at >= self._pace.settled_s:
            self._deaths = 0
        self._deaths += 1
        delay_s = self._pace.delay_s(self._deaths)
        self._event("warning", f"{self.reason}, starts again in {delay_s:g} s")
        self._change(State.WAITING)
        return delay_s

    async def _pump(self, read_end: int) -> None:
        """Pass what the process writes on, line by line."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        rest = b""
        try:
            while chunk := await reader.read(65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > 65_536:  # a line without an end is passed on in pieces
                    lines, rest = [*lines, rest], b""
                if lines:
                    self._log.lines(self.program, lines)
        finally:
            if rest:
                self._log.lines(self.program, [rest])
            transport.close()

    def _change(self, state: State) -> None:
        if state is not self.state or state is State.STARTING:
            self.state = state
            self._on_change(self)

    def _event(self, level: str, message: str) -> None:
        program = self.program
        text = f"{program.title} {message}"
        self._log.event(level, text, process=program.name, replica=program.replica)


def _kill_group(pid: int) -> None:
    """Kill a process and whatever it started; each child leads its own process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _finish(pump: asyncio.Task[None]) -> None:
    """Let the last lines through; a stranger that holds the pipe open is not waited for."""
    with suppress(TimeoutError):
        await asyncio.wait_for(pump, 1.0)


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
