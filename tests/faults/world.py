"""A mesh whose policies read every model, and what may happen to its processes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from services import catalog
from services.moderation.models import MODELS
from tests.support.whole import World, world

NAMES = tuple(process.model for process in catalog.MODELS if process.model)

every_model = pytest.mark.parametrize("process", catalog.MODELS, ids=lambda one: one.name)


def rule(model: str, holds: bool) -> str:
    """A rule that reads a model's result and always holds, or never does."""
    first = MODELS[model].result_type.DESCRIPTOR.fields[0]
    value = f"{model}.{first.name}"
    number = value if first.type == first.TYPE_DOUBLE else f"double(size({value}))"
    condition = f"{number} >= 0.0" if holds else f"{number} < 0.0"
    return (
        f"  - code: {model.upper()}\n    severity: low\n    message: Seen.\n    when: {condition}\n"
    )


def policy(holds: bool) -> str:
    """One rule for each model."""
    return "rules:\n" + "".join(rule(model, holds) for model in NAMES)


@asynccontextmanager
async def judging_world(folders: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Of the default policy no rule ever holds; of `rejects` all do."""
    policies = folders.mktemp("policies")
    (policies / "default.yaml").write_text(policy(holds=False))
    (policies / "rejects.yaml").write_text(policy(holds=True))
    env = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(policies)}}
    async with world(folders.mktemp("mesh"), replica_env=env) as running:
        yield running


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
