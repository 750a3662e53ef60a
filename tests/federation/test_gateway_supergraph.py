"""A supergraph's file that changes while the gateway runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from federation.supergraph.compose import FOLDER as SUPERGRAPH
from mesh.programs import NODE
from tests.federation.gateway import (
    MAIN,
    SCORES,
    UNKNOWN,
    gateway,
)
from tests.federation.world import World
from tests.support.whole import until


def _replace(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


DESCRIPTION = '{ __type(name: "Image") { description } }'
OTHER = "An image that is stored."


def _other(supergraph: str) -> str:
    """Another good one."""
    changed = supergraph.replace("A stored image.", OTHER)
    assert changed != supergraph
    return changed


def _bad(supergraph: str) -> tuple[str, ...]:
    """Wrong ones; of the last one the planner does not throw, it ends its process."""
    wrong_key = supergraph.replace('key: "id"', 'key: "_d"', 1)
    assert wrong_key != supergraph
    return ("type {", "type Query { a: Int }", "directive @a on FIELD", wrong_key)


async def test_a_bad_supergraph_changes_nothing_and_a_good_one_is_taken(
    graph: World, tmp_path: Path
):
    """A malformed file is left alone; the next good one is taken up while the gateway runs."""
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    async with gateway(graph, VISIONMESH_SUPERGRAPH=str(file)) as front:
        for count, bad in enumerate(_bad(good)):
            _replace(file, bad)

            async def refused(most: int = count) -> bool:
                # The file is looked at when somebody asks.
                assert (await front.ask("{ models { name } }")).codes == []
                return [line["level"] for line in front.logged].count("error") > most

            await until(refused, "the bad file was noticed")
        _replace(file, _other(good))

        async def taken_up() -> bool:
            return OTHER in (await front.ask(DESCRIPTION)).text

        await until(taken_up, "the good file was taken up")
        assert (await front.ask(SCORES, id=UNKNOWN)).places == {("image",): "IMAGE_NOT_FOUND"}


async def test_a_bad_supergraph_at_the_start_is_one_line(tmp_path: Path):
    """Whoever starts the gateway is told what is wrong with the file, and nothing else."""
    file = tmp_path / "supergraph.graphql"
    file.write_text(_bad((SUPERGRAPH / "supergraph.graphql").read_text())[-1])
    process = await asyncio.create_subprocess_exec(
        NODE,
        MAIN,
        env={**os.environ, "VISIONMESH_SUPERGRAPH": str(file)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    (line,) = said.decode().splitlines()
    assert line.startswith(f"gateway: {file}: ")
    assert "'_d' not found in type 'Image'" in line


async def test_the_first_request_after_a_change_is_answered_by_the_new_graph(
    graph: World, tmp_path: Path
):
    """Nobody is answered by a graph that is older than the interval says."""
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    env = {"VISIONMESH_SUPERGRAPH": str(file), "VISIONMESH_SUPERGRAPH_POLL_MS": "0"}
    async with gateway(graph, **env) as front:
        for _ in range(3):
            assert OTHER not in (await front.ask(DESCRIPTION)).text
            _replace(file, _other(good))
            assert OTHER in (await front.ask(DESCRIPTION)).text
            _replace(file, good)


async def test_a_changed_graph_makes_no_old_tag_good(graph: World, tmp_path: Path):
    """What was kept of one supergraph is asked for again under the next."""
    (image,) = await graph.stored(1)
    file = tmp_path / "supergraph.graphql"
    good = (SUPERGRAPH / "supergraph.graphql").read_text()
    file.write_text(good)
    env = {"VISIONMESH_SUPERGRAPH": str(file), "VISIONMESH_SUPERGRAPH_POLL_MS": "0"}
    async with gateway(graph, **env) as front:
        first = await front.get(query=SCORES, variables={"id": image})
        known = {"If-None-Match": first.headers["ETag"]}
        same = await front.get(known, query=SCORES, variables={"id": image})
        _replace(file, _other(good))
        changed = await front.get(known, query=SCORES, variables={"id": image})
    assert [same.status, changed.status] == [304, 200]
    assert changed.headers["ETag"] != first.headers["ETag"]
