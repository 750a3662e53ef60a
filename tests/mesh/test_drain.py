"""Every process of a mesh is exchanged under load, and nobody who asks notices."""

from __future__ import annotations

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


@pytest.mark.parametrize("replicas", [2, 1])
async def test_nothing_is_lost(tmp_path: Path, replicas: int):
    """REST, GraphQL and gRPC under load, while each process is exchanged in turn: nothing fails."""
    count = {p.name: min(replicas, max_replicas(BY_NAME[p.name])) for p in PROCESSES}
    async with world(tmp_path, replicas=count, replica_env=ALL_MODELS) as mesh:
        before = mesh.mesh.pids
        async with load(mesh) as work:
            await work.until_each(1)
            exchanged = []
            async for done in mesh.mesh.restart():
                exchanged.append(done)
                assert not work.failed
            await work.until_each(2)
        after = mesh.mesh.pids
        print(
            f"{replicas} replicas: {work.lasted_s:.0f} s, {dict(work.done)}, "
            f"longest {work.longest_s:.1f} s, {len(exchanged)} exchanged in "
            f"{sum(one.took_s for one in exchanged):.0f} s"
        )
    assert work.failed == []
    assert after.keys() == before.keys()
    kept = {name for name, pid in after.items() if pid in before.values()}
    assert kept == {("envoy", 0)}
    assert len(exchanged) == len(before) - 1
