"""Answers that are derived from what a model made: what costs an inference, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services import errors
from services.serving import tenancy
from services.serving.dataplane import DataPlane, Outcome
from tests.serving.world import World, inline
from tests.support.photos import jpeg
from visionmesh.common.v1.image_pb2 import ImageRef


class Step:
    """Puts a version before what a model made."""

    def __init__(self, owner: Prefix, version: str) -> None:
        self._owner = owner
        self.version = version

    async def derive(self, made: bytes, width: int, height: int) -> bytes:
        self._owner.derived += 1
        self._owner.entered.set()
        if self._owner.hold:
            await self._owner.hold.wait()
        return f"{self.version} {width}x{height} ".encode() + made

    def check(self, encoded: bytes) -> None:
        if b"x" not in encoded:
            raise ValueError("not derived")


class Prefix:
    """A derivation whose version is another one for each tenant, and changes when it is told to."""

    version = "everybodys"

    def __init__(self) -> None:
        self.derived = 0
        self.edition = 1
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def current(self) -> Step:
        if self.error:
            raise self.error
        return Step(self, f"{tenancy.tenant()}-{self.edition}")


class Derived:
    """A data plane with a derivation, over the world of all data plane tests."""

    def __init__(self) -> None:
        self.world = World()
        self.prefix = Prefix()
        self.plane = DataPlane(
            self.world.model, self.world.images, self.world.results, None, self.prefix
        )

    async def look(self, *refs: ImageRef, version: str = "", tenant: str = "acme") -> list[Outcome]:
        tenancy.act_for(tenant)
        return await self.plane.outcomes(refs, version)

    async def close(self) -> None:
        await self.plane.close()
        await self.world.close()


@pytest.fixture
async def derived() -> AsyncIterator[Derived]:
    derived = Derived()
    yield derived
    await derived.close()


def encoded(outcomes: Sequence[Outcome]) -> list[bytes]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.encoded or b"" for outcome in outcomes]


async def test_another_step_costs_no_inference(derived: Derived):
    """When the step changes an answer is derived anew, once, from what the model made before."""
    ref = await derived.world.photo()
    (first,) = await derived.look(ref)
    assert first.model_version == "acme-1"
    assert encoded([first])[0].startswith(b"acme-1 320x240 ")
    derived.prefix.edition = 2
    second = encoded(await derived.look(ref))
    assert encoded(await derived.look(ref)) == second
    assert second[0].startswith(b"acme-2 ")
    assert (derived.world.model.calls, derived.prefix.derived) == (1, 2)


async def test_answers_are_stored(derived: Derived):
    """What was derived is found again when its step comes back, or is asked for by its version."""
    ref = await derived.world.photo()
    first = await derived.look(ref)
    derived.prefix.edition = 2
    assert await derived.look(ref, version="acme-1") == first
    derived.prefix.edition = 1
    assert await derived.look(ref) == first
    assert derived.prefix.derived == 1


async def test_version_that_is_not_current_is_not_derived(derived: Derived):
    """Another step's answer that is not stored is not found, also when the model's result is."""
    ref = await derived.world.photo()
    await derived.look(ref)
    for version in ("acme-0", "globex-1", derived.world.model.version):
        (outcome,) = await derived.look(ref, version=version)
        assert isinstance(outcome.error, errors.ResultNotFound)
    (visited,) = await derived.look(inline(jpeg(32, 32)), version="acme-0")
    assert isinstance(visited.error, errors.ResultNotFound)


async def test_tenants_have_answers_of_their_own(derived: Derived):
    """Two tenants with one image share what the model made, and each has its own answer."""
    ref = await derived.world.photo()
    await derived.world.photo(tenant="globex")
    (mine,) = encoded(await derived.look(ref))
    (theirs,) = encoded(await derived.look(ref, tenant="globex"))
    assert mine.startswith(b"acme-1 ")
    assert theirs == mine.replace(b"acme", b"globex")
    assert derived.world.model.calls == 1


async def test_many_at_once_derive_once(derived: Derived):
    """Any number of calls at the same time are one inference and one derivation."""
    ref = await derived.world.photo()
    answers = await asyncio.gather(*(derived.look(ref) for _ in range(20)))
    assert len({encoded(answer)[0] for answer in answers}) == 1
    assert (derived.world.model.calls, derived.prefix.derived) == (1, 1)


async def test_inline_bytes_are_derived_and_not_kept(derived: Derived):
    """Inline bytes of nobody's image are answered by the same step, and leave nothing."""
    ref = inline(jpeg(320, 240, seed=7))
    (outcome,) = await derived.look(ref)
    assert encoded([outcome])[0].startswith(b"acme-1 320x240 ")
    assert await derived.world.objects.list("images") == []
    derived.prefix.edition = 2
    assert encoded(await derived.look(ref))[0].startswith(b"acme-2 ")


async def test_what_the_model_cannot_look_at_is_the_answer(derived: Derived):
    """An image that the model refuses has that error for an answer, and nothing is derived."""
    derived.world.model.fail = lambda data: errors.CorruptImage("broken")
    ref = await derived.world.photo()
    for _ in range(2):
        (outcome,) = await derived.look(ref)
        assert isinstance(outcome.error, errors.CorruptImage)
    assert (derived.world.model.calls, derived.prefix.derived) == (1, 0)


async def test_step_that_cannot_be_read_fails_the_call(derived: Derived):
    """While it is not known by what answers would be derived, there are none."""
    ref = await derived.world.photo()
    await derived.look(ref)
    derived.prefix.error = errors.StoreUnavailable("down")
    with pytest.raises(errors.StoreUnavailable):
        await derived.look(ref)


async def test_deleted_while_it_is_derived(derived: Derived):
    """An image that is deleted during its derivation is not found, and nothing of it is left."""
    ref = await derived.world.photo()
    derived.prefix.hold = asyncio.Event()
    call = asyncio.create_task(derived.look(ref))
    await derived.prefix.entered.wait()
    await derived.world.images.delete("acme", ref.digest)
    derived.prefix.hold.set()
    (outcome,) = await call
    assert isinstance(outcome.error, errors.ImageNotFound)
    await derived.world.results.settle()
    assert await derived.world.objects.list("images") == []
