"""The supervisor over real processes: restarts, backoff, stop, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.child import Pace, State
from mesh.errors import StartFailed
from tests.cli.toys import (
    PATIENCE_S,
    QUICK,
    Recorder,
    alive,
    gone,
    healthy_again,
    supervised,
    toy,
    until,
)

ROOT = Path(__file__).resolve().parents[2]


async def test_restarts_what_dies():
    """A process that is killed is started again and found healthy, and its restart is counted."""
    async with supervised(toy("a"), toy("b")) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        a, b = supervisor.children
        assert a.pid is not None
        old_pid, other_pid = a.pid, b.pid
        os.kill(old_pid, signal.SIGKILL)
        await healthy_again(supervisor, a, old_pid)
        assert (a.restarts, b.restarts) == (1, 0)
        assert b.pid == other_pid


async def test_waits_longer_after_every_death():
    """A process that keeps dying is started ever more slowly, up to a limit."""
    log = Recorder()
    pace = replace(QUICK, max_delay_s=0.04)
    async with supervised(toy("a", "dies"), pace=pace, log=log) as supervisor:
        await supervisor.wait_until(lambda: supervisor.children[0].restarts >= 5, PATIENCE_S)
    delays = [float(found[1]) for text in log.events if (found := re.search(r"in (\S+) s$", text))]
    assert delays[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]


@pytest.mark.parametrize(("settled_s", "delays"), [(0.0, [0.01, 0.01]), (3600.0, [0.01, 0.02])])
async def test_backoff_starts_anew_after_a_healthy_while(settled_s, delays):
    """A death after a healthy while is a first one again; one that comes sooner is not."""
    log = Recorder()
    pace = replace(QUICK, settled_s=settled_s)
    async with supervised(toy("a"), pace=pace, log=log) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        for _ in range(2):
            [child] = supervisor.children
            assert child.pid is not None
            old_pid = child.pid
            os.kill(old_pid, signal.SIGKILL)
            await healthy_again(supervisor, child, old_pid)
    assert log.events == [
        f"a was ended by SIGKILL, starts again in {delay:g} s" for delay in delays
    ]


def test_delay_is_bounded_after_many_deaths():
    """The delay after any number of deaths is at most the greatest."""
    assert Pace().delay_s(10_000) == Pace().max_delay_s


async def test_kills_what_ignores_sigterm():
    """A process that ignores SIGTERM is killed after the grace, and said to be."""
    log = Recorder()
    async with supervised(toy("a", "stubborn"), log=log, grace_s=0.05) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        pid = supervisor.children[0].pid
        assert pid is not None
    assert not alive(pid)
    assert log.events == ["a did not stop within 0.05 s, killed"]


async def test_second_thoughts_kill_at_once():
    """While a stop waits for a process that ignores SIGTERM, `kill` ends it."""
    async with supervised(toy("a", "stubborn")) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        stop = asyncio.create_task(supervisor.stop(grace_s=3600.0))
        supervisor.kill()
        async with asyncio.timeout(PATIENCE_S):
            await stop


async def test_restarts_what_hangs():
    """A stopped process is unhealthy, and one that stays so is killed and started again."""
    pace = replace(QUICK, check_timeout_s=0.2, unresponsive_s=0.2)
    async with supervised(toy("a"), pace=pace) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        [child] = supervisor.children
        assert child.pid is not None
        old_pid = child.pid
        os.kill(old_pid, signal.SIGSTOP)
        await supervisor.wait_until(lambda: child.state is State.UNHEALTHY, PATIENCE_S)
        await healthy_again(supervisor, child, old_pid)
        assert not alive(old_pid)


async def test_what_a_process_started_ends_with_it():
    """The children of a process that dies are ended too, before it is started again."""
    log = Recorder()
    async with supervised(toy("a", "parent"), log=log) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        grandchild = next(int(text.split()[-1]) for text in log.texts if "child" in text)
        [child] = supervisor.children
        assert child.pid is not None
        assert alive(grandchild)
        os.kill(child.pid, signal.SIGKILL)
        await gone(grandchild)


async def test_says_what_cannot_be_started():
    """A process that always dies before it is healthy fails the start, by name and reason."""
    async with supervised(toy("good"), toy("bad", "dies")) as supervisor:
        with pytest.raises(StartFailed, match="bad cannot be started: it exited with status 3"):
            await supervisor.wait_healthy(PATIENCE_S)


async def test_says_what_is_not_healthy_in_time():
    """A process that runs and never becomes healthy fails the start by name."""
    async with supervised(toy("good"), toy("ill", "sick")) as supervisor:
        good, _ = supervisor.children
        await supervisor.wait_until(lambda: good.state is State.HEALTHY, PATIENCE_S)
        with pytest.raises(StartFailed, match=r"not healthy within 0\.1 s: ill"):
            await supervisor.wait_healthy(0.1)


async def test_stops_tier_after_tier():
    """Processes of a higher tier run until those of the lower ones have ended."""
    ended: list[tuple[str, list[str]]] = []
    async with supervised(toy("back", tier=1), toy("front", tier=0)) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        back, front = supervisor.children
        stop = asyncio.create_task(supervisor.stop(PATIENCE_S))
        await supervisor.wait_until(lambda: front.state is State.STOPPED, PATIENCE_S)
        ended.append(("front", [back.state]))
        await stop
    assert ended == [("front", [State.HEALTHY])]


async def test_stops_what_has_just_been_started():
    """A stop right after the start leaves nothing, whatever had been reached."""
    async with supervised(*(toy(name) for name in "abcd")) as supervisor:
        assert all(child.pid is None for child in supervisor.children)
    assert all(child.state is State.STOPPED for child in supervisor.children)


async def test_passes_on_every_line():
    """What a process writes to either of its streams reaches the log."""
    log = Recorder()
    async with supervised(toy("a"), log=log) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
    assert log.texts == ["a: on standard output", "a: on standard error"]


LAUNCHER = """
import asyncio
from tests.cli.toys import PATIENCE_S, supervised, toy

async def main():
    async with supervised(toy("a", "stubborn"), toy("b", "stubborn")) as supervisor:
        await supervisor.wait_healthy(PATIENCE_S)
        print(*(child.pid for child in supervisor.children), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_nothing_outlives_a_killed_launcher():
    """A launcher that is ended by `kill -9` takes its processes with it."""
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert launcher.stdout is not None
    pids = [int(word) for word in (await launcher.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    launcher.kill()
    await launcher.wait()
    await until(lambda: not any(map(alive, pids)), "the end of the launcher's processes")
