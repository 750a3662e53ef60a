"""`python -m bench`: every benchmark but the long one (`python -m bench.zipf`)."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from bench import first_looks, hits, tiers
from bench.graph.__main__ import main as graph


def main(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(help="First looks of these alone: nsfw, detection, ocr, logo, verdict."),
    ] = None,
    requests: Annotated[
        int, typer.Option(help="Photos of each round and number of connections.")
    ] = 200,
    answers: Annotated[
        int, typer.Option(help="Answers without a model, of each kind and round.")
    ] = 20_000,
    queries: Annotated[
        int, typer.Option(help="Queries of the graph, of each kind and round.")
    ] = 60,
) -> None:
    """Measure first looks beside the bare pipeline, answers without a model, tiers, the graph."""
    asyncio.run(first_looks.main(requests, subjects or ()))
    if subjects:
        return
    asyncio.run(hits.main(answers))
    asyncio.run(tiers.main())
    asyncio.run(graph(queries))


if __name__ == "__main__":
    typer.run(main)
