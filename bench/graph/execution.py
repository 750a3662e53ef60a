"""What executing a model's part of a query costs: as graphql-core does it, with projections, and by
a plan.

In this process, with the models' words at hand: nothing is asked, and nothing is sent. They take
turns, so that a busy machine is busy for all.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from bench.graph import queries
from bench.graph.stubbed import AnsweringClient
from bench.report import median, table
from federation.subgraphs.context import Context
from federation.subgraphs.schemas import SUBGRAPHS, Schema
from services.media.objects import Objects
from services.media.store import ImageStore
from services.releases.releases import Releases
from services.serving import tenancy

ROUNDS: Final = 7
EXECUTIONS: Final = {1: 100, 100: 2}
"""In each round, by the number of images."""


async def main() -> None:
    tenancy.act_for(tenancy.LOCAL)
    rows = []
    with tempfile.TemporaryDirectory(prefix="graph-") as folder:
        objects = Objects.open(Path(folder))
        async with AnsweringClient("127.0.0.1:1") as mesh:  # where nobody is asked
            context = (mesh, ImageStore(objects), Releases(objects, mesh))
            for name in queries.FIELDS:
                measured = [await _measured(name, images, context) for images in EXECUTIONS]
                rows.append([name, *(f"{cost:.2f}" for costs in measured for cost in costs)])
    table(
        "CPU milliseconds of executing one field, about one image and about a hundred",
        ["field", *["graphql-core alone", "with projections", "by a plan"] * len(EXECUTIONS)],
        rows,
    )


async def _measured(name: str, images: int, parts: tuple[Any, ...]) -> list[float]:
    schema: Any = SUBGRAPHS[name]()
    projecting = schema.execution_context_class
    unplanned = super(Schema, schema).execute
    kinds: tuple[tuple[type, Any], ...] = (
        (StrawberryGraphQLCoreExecutionContext, unplanned),
        (projecting, unplanned),
        (projecting, schema.execute),
    )
    found: list[list[float]] = [[] for _ in kinds]
    said = []
    for number in range(ROUNDS + 1):
        for (executor, execute), costs in zip(kinds, found, strict=True):
            schema.execution_context_class = executor
            began = time.process_time()
            for _ in range(EXECUTIONS[images]):
                answer = await _executed(execute, name, images, parts)
            if number:  # the first round parses and compiles
                costs.append((time.process_time() - began) * 1e3 / EXECUTIONS[images])
            said.append(answer)
    assert all(answer == said[0] for answer in said)
    return [median(costs) for costs in found]


async def _executed(execute: Any, name: str, images: int, parts: tuple[Any, ...]) -> Any:
    ids = [{"__typename": "Image", "id": f"{number:064x}"} for number in range(images)]
    result = await execute(
        "query ($representations: [_Any!]!) { _entities(representations: $representations) "
        f"{{ ... on Image {{ {queries.FIELDS[name]} }} }} }}",
        {"representations": ids},
        Context(*parts),
    )
    assert not result.errors, result.errors
    return result.data
