"""What is known of the models' versions, and for how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services import errors
from services.moderation.versions import FAILURE_TTL_S, TTL_S, ModelVersions
from services.serving import deadline
from tests.moderation.world import Clock
from tests.support.mesh import FakeNsfw, adding, mesh_of
from visionmesh.nsfw.v1 import nsfw_pb2


class CountingNsfw(FakeNsfw):
    """Counts how often it is asked for its version, and while `silent` waits for `speak`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.silent = False
        self.speak = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def GetModel(
        self, request: nsfw_pb2.GetModelRequest, context: Any
    ) -> nsfw_pb2.GetModelResponse:
        self.asked += 1
        self.is_asked.set()
        if self.silent:
            await self.speak.wait()
        return await super().GetModel(request, context)


async def test_is_remembered_and_refreshed():
    """A version is asked for once in its time to live, and then anew."""
    nsfw, clock = CountingNsfw(), Clock()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, clock=clock)
        first = nsfw.version
        assert [await versions.current("nsfw"), await versions.current("nsfw")] == [first, first]
        nsfw.version = "fedcba9876543210"
        clock.now += TTL_S * 0.99
        assert await versions.current("nsfw") == first
        clock.now += TTL_S * 0.01
        assert await versions.current("nsfw") == "fedcba9876543210"
    assert nsfw.asked == 2


async def test_many_ask_once():
    """Callers at the same time share one question."""
    nsfw = CountingNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh)
        found = await asyncio.gather(*(versions.current("nsfw") for _ in range(20)))
    assert (set(found), nsfw.asked) == ({nsfw.version}, 1)


@pytest.mark.parametrize("silent", [False, True])
async def test_last_known_is_kept(silent: bool):
    """A model that fails or hangs costs one question a time to live, and keeps its version."""
    nsfw, clock = CountingNsfw(), Clock()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, ask_timeout_s=0.2, clock=clock)
        known = await versions.current("nsfw")
        nsfw.silent, nsfw.error = silent, None if silent else errors.Unavailable("down")
        clock.now += TTL_S
        assert [await versions.current("nsfw") for _ in range(3)] == [known] * 3
    assert nsfw.asked == 2


async def test_never_known():
    """Without any answer ever the error is the model's, remembered for a moment only."""
    nsfw, clock = CountingNsfw(), Clock()
    nsfw.error = errors.Unavailable("down")
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, clock=clock)
        for _ in range(3):
            with pytest.raises(errors.ModelUnavailable):
                await versions.current("nsfw")
        assert nsfw.asked == 1
        nsfw.error = None
        clock.now += FAILURE_TTL_S
        assert await versions.current("nsfw") == nsfw.version


async def test_hanging_model_is_asked_once_for_all():
    """Callers that wait for a model that was never heard of share one question, and its end."""
    nsfw, clock = CountingNsfw(), Clock()
    nsfw.silent = True
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, ask_timeout_s=0.2, clock=clock)
        waiters = (versions.current("nsfw") for _ in range(20))
        found = await asyncio.gather(*waiters, return_exceptions=True)
        with pytest.raises(errors.VisionmeshError):
            await versions.current("nsfw")
    assert {type(error) for error in found} == {errors.DeadlineExceeded}
    assert nsfw.asked == 1


async def test_waits_within_its_own_deadline():
    """A caller with little time gets its error in time, and the question goes on for others."""
    nsfw = CountingNsfw()
    nsfw.silent = True
    async with mesh_of(adding(nsfw)) as mesh, asyncio.timeout(10):
        versions = ModelVersions(mesh, ask_timeout_s=2.0)
        patient = asyncio.create_task(versions.current("nsfw"))
        await nsfw.is_asked.wait()
        with deadline.limit(0.05), pytest.raises(errors.DeadlineExceeded):
            await versions.current("nsfw")
        assert not patient.done()
        nsfw.speak.set()
        assert await patient == nsfw.version
    assert nsfw.asked == 1


async def test_caller_that_leaves_disturbs_nobody():
    """When the one that asked first is cancelled, its question goes on for those that wait."""
    nsfw = CountingNsfw()
    nsfw.silent = True
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, ask_timeout_s=10.0)
        async with asyncio.timeout(10):
            first = asyncio.create_task(versions.current("nsfw"))
            await nsfw.is_asked.wait()
            second = asyncio.create_task(versions.current("nsfw"))
            first.cancel()
            await asyncio.wait([first])
            nsfw.speak.set()
            assert await second == nsfw.version
    assert nsfw.asked == 1


async def test_learned_after_a_failure():
    """A model that has just said its version is known, although asking it has failed before."""
    nsfw = CountingNsfw()
    nsfw.error = errors.Unavailable("down")
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh)
        with pytest.raises(errors.ModelUnavailable):
            await versions.current("nsfw")
        versions.learn("nsfw", "fedcba9876543210")
        assert await versions.current("nsfw") == "fedcba9876543210"


async def test_last_asks_nobody():
    """The last version is what was heard of, however old, and None before that."""
    nsfw, clock = CountingNsfw(), Clock()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, clock=clock)
        assert versions.last("nsfw") is None
        versions.learn("nsfw", "fedcba9876543210")
        clock.now += 100 * TTL_S
        assert versions.last("nsfw") == "fedcba9876543210"
    assert nsfw.asked == 0


async def test_what_a_model_said_need_not_be_asked():
    """A version that is learned lives as long as one that was asked for."""
    nsfw, clock = CountingNsfw(), Clock()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = ModelVersions(mesh, clock=clock)
        versions.learn("nsfw", "fedcba9876543210")
        assert await versions.current("nsfw") == "fedcba9876543210"
        clock.now += TTL_S
        assert await versions.current("nsfw") == nsfw.version
    assert nsfw.asked == 1


async def test_learned_while_asking_in_vain():
    """A version that is learned while the model does not say its own is not overwritten."""
    nsfw, clock = CountingNsfw(), Clock()
    async with mesh_of(adding(nsfw)) as mesh, asyncio.timeout(10):
        versions = ModelVersions(mesh, ask_timeout_s=0.5, clock=clock)
        versions.learn("nsfw", nsfw.version)
        clock.now += TTL_S
        nsfw.silent = True
        asking = asyncio.create_task(versions.current("nsfw"))
        await nsfw.is_asked.wait()
        versions.learn("nsfw", "fedcba9876543210")
        assert await asking == "fedcba9876543210"
    assert versions.last("nsfw") == "fedcba9876543210"
