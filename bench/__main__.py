"""`python -m bench`: every benchmark but the long one (`python -m bench.zipf`)."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from bench import hits, rest_nsfw, tiers


def main(
    requests: Annotated[
        int, typer.Option(help="Photos of each round and number of connections.")
    ] = 200,
    answers: Annotated[
        int, typer.Option(help="Answers without a model, of each kind and round.")
    ] = 20_000,
) -> None:
    """Measure first looks beside the bare pipeline, answers without a model, and each tier."""
    asyncio.run(rest_nsfw.main(requests))
    asyncio.run(hits.main(answers))
    asyncio.run(tiers.main())


if __name__ == "__main__":
    typer.run(main)
