"""`python -m bench`: every benchmark, or the named ones."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from bench import rest_nsfw


def main(
    requests: Annotated[
        int, typer.Option(help="Photos of each round and number of connections.")
    ] = 200,
) -> None:
    """Measure stored photos through REST beside the bare pipeline."""
    asyncio.run(rest_nsfw.main(requests))


if __name__ == "__main__":
    typer.run(main)
