"""Replicas exchanged while requests go on: the new one serves before the old one stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mesh.child import Child, Program
from mesh.errors import InvalidOption, MeshError, StartFailed
from mesh.front import Front, wait_ready
from mesh.supervisor import Supervisor
from services.catalog import BY_NAME, PROCESSES
from services.serving.ending import GRACE_S, LAME_DUCK_S

TIMEOUT_S: Final = 60.0
"""How long a new replica may take until it is ready, and Envoy until it has found it."""

LEAVING_S: Final = 5.0
"""How long Envoy is waited for until it sends the old one nothing new (it takes milliseconds)."""

FAILED_S: Final = 3.0
"""How long a new replica may take to end that nobody was sent to."""

DRAIN_S: Final = LAME_DUCK_S + GRACE_S + 5.0
"""How long an old replica may take to end, which decides for itself how long it waits for what."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """One replica that was exchanged, and how many seconds that took."""

    title: str
    old_pid: int | None
    new_pid: int
    took_s: float


class Restarts:
    """Exchanges the replicas of a running mesh, one after the other."""

    def __init__(
        self, supervisor: Supervisor, front: Front, successor: Callable[[Program], Program]
    ) -> None:
        """`successor` is what takes over from a program, at a port that is free."""
        self._supervisor = supervisor
        self._front = front
        self._successor = successor
        self._turn = asyncio.Lock()

    def chosen(self, names: Sequence[str]) -> list[tuple[str, int]]:
        """Names and numbers of replicas: of `nsfw` all, `nsfw.1` is one, and nothing means all.

        Whoever is asked comes before who asks. Raises InvalidOption.
        """
        there = [
            (process.name, child.program.replica)
            for process in PROCESSES
            for child in self._supervisor.children
            if child.program.name == process.name
        ]
        wanted: set[tuple[str, int]] = set()
        for name in names:
            found = {one for one in there if name in (one[0], f"{one[0]}.{one[1]}")}
            if not found:
                known = ", ".join(dict.fromkeys(name for name, _ in there))
                raise InvalidOption(
                    f"{name}: there is no such replica to restart; there are: {known}"
                )
            wanted |= found
        return [one for one in there if one in wanted or not names]

    async def restart(self, names: Sequence[str]) -> AsyncGenerator[Restarted, None]:
        """Exchange replicas by their names, see `chosen`; each as it is done.

        Raises InvalidOption, MeshError while another restart is under way, StartFailed when a new
        replica cannot serve: then the old one goes on.
        """
        wanted = self.chosen(names)
        if self._turn.locked():
            raise MeshError("another restart is under way")
        async with self._turn:
            for name, replica in wanted:
                yield await self._exchange(self._child(name, replica))

    async def _exchange(self, old: Child) -> Restarted:
        began, old_pid = time.monotonic(), old.pid
        new = self._supervisor.add(self._successor(old.program), beside=old)
        try:
            await self._wait_ready(new)
        except BaseException:
            await self._supervisor.remove(new, FAILED_S, at_once=True)
            raise
        new_pid = new.pid
        self._supervisor.hand_over(old, new)
        process = BY_NAME[old.program.name]
        if process.by_envoy:
            # If it is Envoy that does not answer, the old one has a while yet.
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    await self._front.wait_left(process.name, old.program.port)
        await self._supervisor.remove(old, DRAIN_S)
        return Restarted(old.program.title, old_pid, new_pid or 0, time.monotonic() - began)

    async def _wait_ready(self, new: Child) -> None:
        process, title = BY_NAME[new.program.name], new.program.title
        try:
            await self._supervisor.wait_child(new, TIMEOUT_S)
            async with asyncio.timeout(TIMEOUT_S):
                await wait_ready(process, new.program.port)
                if process.by_envoy:
                    await self._front.wait_found(process.name, new.program.port)
        except TimeoutError:
            reason = f"{title} is not ready within {TIMEOUT_S:g} s"
            raise StartFailed(f"{reason}; the old one goes on") from None
        except StartFailed as error:
            raise StartFailed(f"{error}; the old one goes on") from None

    def _child(self, name: str, replica: int) -> Child:
        for child in self._supervisor.children:
            if (child.program.name, child.program.replica) == (name, replica):
                return child
        raise MeshError(f"this mesh has no {name}.{replica}")
