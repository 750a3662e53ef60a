"""What the facade's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rest.world import World, world
from tests.support import photos


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A small photo."""
    return photos.jpeg(64, 48)


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[World]:
    """A facade over a small mesh."""
    async with world(tmp_path) as started:
        yield started
