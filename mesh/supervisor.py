"""Keep programs alive: start them together, wait for their health, stop them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from mesh.child import Child, Log, Pace, Program, State
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
        self._changed = asyncio.Event()
        self._tell = on_change
        self.children = tuple(Child(p, self._pace, log, self._on_change) for p in programs)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all programs at once."""
        self._tasks = [asyncio.create_task(child.supervise()) for child in self.children]

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
            await asyncio.gather(*self._tasks)

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.kill()

    def _all_healthy(self) -> bool:
        for child in self.children:
            if child.deaths_unhealthy >= self._pace.start_attempts:
                raise StartFailed(f"{child.program.title} cannot be started: it {child.reason}")
        return all(child.state is State.HEALTHY for child in self.children)

    def _on_change(self, _child: Child) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._tell()
