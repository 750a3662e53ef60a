"""A collector, and what records for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.serving import telemetry
from services.serving.spans import Recorder
from tests.support.collector import Collector, collector


@pytest.fixture
async def collected() -> AsyncIterator[Collector]:
    async with collector() as running:
        yield running


@pytest.fixture
async def recorder(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Recorder]:
    """That of a process called `toy`."""
    for name, value in collected.environment.items():
        monkeypatch.setenv(name, value)
    async with telemetry.recording("toy", "127.0.0.1:1") as recorder:
        assert recorder is not None
        yield recorder
