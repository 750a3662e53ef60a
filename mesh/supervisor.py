"""Keep programs alive: start them together, wait for their health, exchange and stop them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from mesh.child import Child, Log, Pace, Program, Role, State
from mesh.errors import StartFailed


class Supervisor:
    """Several programs, started together and stopped in order."""

    def __init__(
        self,
        programs: Iterable[Program],
        log: Log,
        *,
        pace: Pace | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called, on the event loop, after any program has changed its state."""
        self._pace = pace or Pace()
        self._log = log
        self._changed = asyncio.Event()
        self._tell = on_change
        self.children = [Child(p, self._pace, log, self._on_change) for p in programs]
        self._tasks: dict[Child, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start all programs at once."""
        self._tasks = {c: asyncio.create_task(c.supervise()) for c in self.children}

    def add(self, program: Program, beside: Child) -> Child:
        """Start one program more, which is to take over from a child."""
        child = Child(program, self._pace, self._log, self._on_change, Role.STANDBY)
        child.restarts = beside.restarts + 1
        self.children.insert(self.children.index(beside) + 1, child)
        self._tasks[child] = asyncio.create_task(child.supervise())
        return child

    def hand_over(self, old: Child, new: Child) -> None:
        """Let a child that is on standby serve in the place of another one."""
        old.role, new.role = Role.LEAVING, Role.SERVING
        self._on_change(new)

    async def remove(self, child: Child, grace_s: float, *, at_once: bool = False) -> None:
        """Stop a child for good; `at_once` when nobody can still send it something."""
        await child.stop(grace_s, at_once=at_once)
        await self._tasks.pop(child)
        self.children.remove(child)
        self._on_change(child)

    async def wait_child(self, child: Child, timeout_s: float) -> None:
        """Wait until a child is healthy. Raises StartFailed when it cannot be, or in time."""

        def healthy() -> bool:
            self._check_startable(child)
            return child.state is State.HEALTHY

        try:
            await self.wait_until(healthy, timeout_s)
        except TimeoutError:
            title = child.program.title
            raise StartFailed(f"not healthy within {timeout_s:g} s: {title}") from None

    async def wait_healthy(self, timeout_s: float) -> None:
        """Wait until all are healthy. Raises StartFailed when one cannot be, or in time."""
        try:
            await self.wait_until(self._all_healthy, timeout_s)
        except TimeoutError:
            late = [c for c in self.children if c.state is not State.HEALTHY]
            names = ", ".join(child.program.title for child in late)
            raise StartFailed(f"not healthy within {timeout_s:g} s: {names}") from None

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Wait until a condition on the children holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                await self._changed.wait()

    async def stop(self, grace_s: float) -> None:
        """Stop all, tier after tier, each within `grace_s` seconds."""
        try:
            for tier in sorted({child.program.tier for child in self.children}):
                members = [child for child in self.children if child.program.tier == tier]
                await asyncio.gather(*(child.stop(grace_s) for child in members))
        finally:
            self.kill()
            await asyncio.gather(*self._tasks.values())

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.kill()

    def _all_healthy(self) -> bool:
        for child in self.children:
            self._check_startable(child)
        return all(child.state is State.HEALTHY for child in self.children)

    def _check_startable(self, child: Child) -> None:
        if child.deaths_unhealthy >= self._pace.start_attempts:
            raise StartFailed(f"{child.program.title} cannot be started: it {child.reason}")

    def _on_change(self, _child: Child) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._tell()
