"""Every process of a mesh is exchanged under load, and nobody who asks notices."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from mesh.ports import max_replicas
from services.catalog import BY_NAME, PROCESSES
from services.moderation.settings import PACKAGED_POLICIES
from tests.support.load import load
from tests.support.whole import world

ALL_MODELS = {
    ("moderation", n): {"VISIONMESH_POLICIES_DIR": str(PACKAGED_POLICIES)} for n in (0, 1)
}

NAMES = [process.name for process in PROCESSES]

FEW = ("nsfw", "moderation", "rest", "subgraphs", "gateway")
"""One of each kind of process. With VISIONMESH_DRAIN=all they are all, which takes minutes."""

DOUBLED = NAMES if os.environ.get("VISIONMESH_DRAIN") == "all" else FEW


def several() -> dict[str, int]:
    """Two replicas of those that may have them."""
    return {name: min(2, max_replicas(BY_NAME[name])) for name in DOUBLED}


async def test_nothing_is_lost_by_sigterm(tmp_path: Path):
    """A replica beside another one that is just sent SIGTERM under load loses nothing either."""
    async with world(tmp_path, replicas=several(), replica_env=ALL_MODELS) as mesh:
        async with load(mesh) as work:
            await work.until_each(1)
            for name, count in several().items():
                if count > 1:
                    pid = mesh.mesh.pid(name, 1)
                    os.kill(pid, signal.SIGTERM)
                    await mesh.mesh.wait_restarted(name, pid, replica=1)
                    assert not work.failed
            await work.until_each(2)
        print(f"SIGTERM: {work.lasted_s:.0f} s, {dict(work.done)}, longest {work.longest_s:.1f} s")
    assert work.failed == []


@pytest.mark.parametrize("replicas", [2, 1])
async def test_nothing_is_lost(tmp_path: Path, replicas: int):
    """REST, GraphQL and gRPC under load, while each process is exchanged in turn: nothing fails."""
    count, names = (several(), DOUBLED) if replicas > 1 else ({}, NAMES)
    async with world(tmp_path, replicas=count, replica_env=ALL_MODELS) as mesh:
        before = mesh.mesh.pids
        async with load(mesh) as work:
            await work.until_each(1)
            begun = Counter(work.done)
            exchanged = []
            async for done in mesh.mesh.restart(names):
                exchanged.append(done)
                assert not work.failed
            meanwhile = work.done - begun
            await work.until_each(2)
        after = mesh.mesh.pids
        print(
            f"{replicas} replicas: {work.lasted_s:.0f} s, {dict(work.done)}, "
            f"longest {work.longest_s:.1f} s, {len(exchanged)} exchanged in "
            f"{sum(one.took_s for one in exchanged):.0f} s"
        )
    assert work.failed == []
    assert meanwhile.keys() == work.done.keys()
    assert after.keys() == before.keys()
    changed = {name for (name, _), pid in after.items() if pid not in before.values()}
    kept = {name for (name, _), pid in after.items() if pid in before.values()}
    assert changed == set(names)
    assert kept.isdisjoint(names)
    assert len(exchanged) == sum(name in names for name, _ in before)
