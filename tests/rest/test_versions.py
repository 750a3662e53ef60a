"""What the facade knows of models and policies before anybody asks."""

from __future__ import annotations

import asyncio

from services import errors
from services.rest.versions import Versions
from tests.support.mesh import FakeNsfw, adding, mesh_of


async def test_learns_by_itself_and_keeps_what_it_learnt():
    """A version that was learnt at start is known when its model is lost, though nobody asked."""
    nsfw = FakeNsfw()
    async with mesh_of(adding(nsfw)) as mesh:
        versions = Versions(mesh, ttl_s=0.0)
        learning = asyncio.create_task(versions.learn())
        await asyncio.wait_for(nsfw.described.wait(), 10)
        nsfw.error = errors.Unavailable("down")
        assert await versions.of_model("nsfw") == ("nsfw", nsfw.version)
        learning.cancel()
        await versions.close()


async def test_asks_again_until_there_is_an_answer():
    """A model that is down while the facade starts is learnt when it comes."""
    nsfw = FakeNsfw()
    nsfw.error = errors.Unavailable("down")
    async with mesh_of(adding(nsfw)) as mesh:
        versions = Versions(mesh, ttl_s=0.01)
        learning = asyncio.create_task(versions.learn())
        assert await versions.of_model("nsfw") is None
        nsfw.error = None
        await asyncio.wait_for(nsfw.described.wait(), 10)
        nsfw.error = errors.Unavailable("down again")
        assert await versions.of_model("nsfw") == ("nsfw", nsfw.version)
        learning.cancel()
        await versions.close()
