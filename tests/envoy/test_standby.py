"""A replica that is to take over: known to Envoy, found healthy, and asked for nothing before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mesh.admin import known_ports
from mesh.proxy import write_endpoints
from tests.envoy.replica import Replica
from tests.envoy.world import HOST, Mesh, mesh_world
from tests.support.envoy import until

CLUSTERS = ("nsfw", "nsfw-by-digest")


def tell(mesh: Mesh, serving: Sequence[Replica], standby: Sequence[Replica] = ()) -> None:
    def addresses(replicas: Sequence[Replica]) -> list[tuple[str, int]]:
        return [(HOST, replica.port) for replica in replicas]

    directory = mesh.envoy.settings.endpoints_dir
    write_endpoints(directory, "nsfw", addresses(serving), standby=addresses(standby))


async def test_takes_over_in_one_step(tmp_path: Path):
    """While calls go on, who is on standby gets none until it serves, and then all: none fails."""
    async with mesh_world(tmp_path) as mesh:
        old, new = mesh.replicas
        tell(mesh, [old])
        for cluster in CLUSTERS:
            await mesh.envoy.until_healthy(cluster, 1)
        for one in mesh.replicas:
            one.calls.clear()
        answered: Counter[str] = Counter()
        over = asyncio.Event()

        async def ask(digest: str) -> None:
            while not over.is_set():
                answered[await mesh.call(digest)] += 1

        async with asyncio.TaskGroup() as tasks:
            for digest in ("", "ab" * 32, "cd" * 32):
                tasks.create_task(ask(digest))
            tell(mesh, [old], standby=[new])
            for cluster in CLUSTERS:
                await mesh.envoy.until_healthy(cluster, 2)
            assert new.calls == []
            tell(mesh, [new])

            async def left() -> bool:
                ports = await asyncio.to_thread(known_ports, mesh.envoy.admin_port)
                return ports["nsfw"] == {new.port}

            await until(left, "only the new one is known")
            before = len(old.calls)
            seen = answered["1"]

            async def serves() -> bool:
                return answered["1"] > seen + 10

            await until(serves, "calls to the new one")
            over.set()
        assert len(old.calls) - before <= 3  # what was on its way, one a caller
        assert sum(answered.values()) == len(old.calls) + len(new.calls)
