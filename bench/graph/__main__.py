"""`python -m bench.graph`: the graph beside REST, in time, bytes and CPU."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from bench.graph import cost, execution, sizes, speed
from bench.report import console, machine


async def main(requests: int) -> None:
    """Measure all of it, with `requests` answers of each kind and round."""
    console.print(f"[bold]The graph beside REST[/] ({machine()})")
    await speed.main(requests)
    await sizes.main()
    await cost.main(requests)
    await execution.main()


def command(
    requests: Annotated[int, typer.Option(help="Answers of each kind and round.")] = 60,
) -> None:
    """Measure the graph beside REST: simulated models, then a real photo, then CPU."""
    asyncio.run(main(requests))


if __name__ == "__main__":
    typer.run(command)
