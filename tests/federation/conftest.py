"""What most tests of the graph need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.federation.gateway import Gateway, gateway
from tests.federation.world import World, world


@pytest_asyncio.fixture
async def graph(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def front(graph: World) -> AsyncIterator[Gateway]:
    async with gateway(graph) as made:
        yield made
