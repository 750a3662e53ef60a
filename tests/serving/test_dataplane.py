"""The way from references to results, with a small model and a real store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services import errors
from services.inference.picture import Source
from services.limits import MAX_INLINE_BYTES
from services.serving import deadline
from services.serving.dataplane import BATCH_CONCURRENCY
from tests.serving.world import World, inline
from tests.support.mesh import digests
from tests.support.photos import jpeg
from visionmesh.common.v1.image_pb2 import ImageRef


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.close()


async def test_one_outcome_each_in_order(world: World):
    """Good and unknown references come back in the order in which they were given."""
    first, second = await world.photo(1), await world.photo(2)
    unknown = ImageRef(digest=digests(1)[0])
    outcomes = await world.look(second, unknown, first)
    assert [outcome.digest for outcome in outcomes] == [
        second.digest,
        unknown.digest,
        first.digest,
    ]
    assert [type(outcome.error) for outcome in outcomes] == [
        type(None),
        errors.ImageNotFound,
        type(None),
    ]
    assert (outcomes[0].width, outcomes[0].height) == (320, 240)


@pytest.mark.parametrize("reads", ["rendition", "original"])
async def test_model_gets_what_it_reads(reads: Source):
    """Stored or inline, a model gets the rendition or the very bytes that came, and one size."""
    photo = jpeg(2000, 1500)
    world = World(reads=reads)
    record, _ = await world.images.create("acme", photo)
    for ref in (ImageRef(digest=record.digest), inline(jpeg(2000, 1500, seed=1))):
        (outcome,) = await world.look(ref)
        original = len(ref.data or photo)
        assert (int(outcome.encoded or b"0") == original) == (reads == "original")
        assert (outcome.width, outcome.height) == (2000, 1500)
    assert world.model.sizes == [(2000, 1500)] * 2
    await world.close()


async def test_second_look_is_stored(world: World):
    """A result that is stored is answered without the model."""
    ref = await world.photo()
    (first,) = await world.look(ref)
    (second,) = await world.look(ref)
    assert first.encoded == second.encoded
    assert world.model.calls == 1


async def test_duplicates_are_looked_at_once(world: World):
    """A digest that a batch names five times costs one inference and has five outcomes."""
    ref = await world.photo()
    outcomes = await world.look(*[ref] * 5)
    assert len({outcome.encoded for outcome in outcomes}) == 1
    assert len(outcomes) == 5
    assert world.model.calls == 1


async def test_deleted_while_the_model_looks(world: World):
    """An image that is deleted during its inference is not found, and nothing of it is left."""
    ref = await world.photo()
    world.model.hold = asyncio.Event()
    call = asyncio.create_task(world.look(ref))
    await world.model.entered.wait()
    await world.images.delete("acme", ref.digest)
    world.model.hold.set()
    (outcome,) = await call
    assert isinstance(outcome.error, errors.ImageNotFound)
    assert await world.objects.list("images") == []


async def test_failure_is_one_outcome(world: World):
    """A model that fails on one image answers the others, and the failure is not stored."""
    poison, good = await world.photo(1), await world.photo(2)
    rendition = await world.images.rendition(await world.images.get("acme", poison.digest))
    world.model.fail = lambda data: RuntimeError("boom") if data == rendition else None
    outcomes = await world.look(poison, good)
    assert isinstance(outcomes[0].error, RuntimeError)
    assert outcomes[1].error is None
    world.model.fail = lambda data: None
    (again,) = await world.look(poison)
    assert again.error is None


async def test_inline_bytes_need_no_store(world: World):
    """Inline bytes of an image that is not stored are looked at, and leave nothing behind."""
    ref = inline(jpeg(320, 240, seed=7))
    (outcome,) = await world.look(ref)
    assert outcome.error is None
    assert (outcome.width, outcome.height) == (320, 240)
    assert await world.objects.list("images") == []


async def test_inline_bytes_under_another_digest(world: World):
    """Inline bytes that are not what the digest names are refused before anything is done."""
    ref = ImageRef(digest=digests(1)[0], data=jpeg(320, 240))
    (outcome,) = await world.look(ref)
    assert isinstance(outcome.error, errors.DigestMismatch)
    assert world.model.calls == 0


async def test_mismatch_beside_the_real_image(world: World):
    """Wrong inline bytes do not hide behind the same digest's stored image in one call."""
    real = await world.photo()
    liar = ImageRef(digest=real.digest, data=jpeg(64, 64))
    outcomes = await world.look(real, liar)
    assert outcomes[0].error is None
    assert isinstance(outcomes[1].error, errors.DigestMismatch)


async def test_corrupt_inline_bytes(world: World):
    """Inline bytes that are no image are that image's error."""
    (outcome,) = await world.look(inline(b"these are words"))
    assert isinstance(outcome.error, errors.UnsupportedFormat)


async def test_too_many_inline_bytes(world: World):
    """More inline bytes than a call may carry refuse the whole call, naming the limit."""
    half = bytes(MAX_INLINE_BYTES // 2 + 1)
    refs = [ImageRef(digest=digest, data=half) for digest in digests(2)]
    with pytest.raises(errors.ImageTooLarge, match=str(MAX_INLINE_BYTES)):
        await world.look(*refs)


async def test_deadline_answers_what_is_finished(world: World):
    """At the deadline finished images have results and the others DeadlineExceeded."""
    stored, stuck = await world.photo(1), await world.photo(2)
    await world.look(stored)
    world.model.hold = asyncio.Event()
    with deadline.limit(0.2):
        outcomes = await world.look(stored, stuck)
    assert outcomes[0].error is None
    assert isinstance(outcomes[1].error, errors.DeadlineExceeded)


async def test_cancelled_call_stops_its_work(world: World):
    """When the caller goes away its images are not worked on any more."""
    world.model.hold = asyncio.Event()
    ref = await world.photo()
    call = asyncio.create_task(world.look(ref))
    await world.model.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(world.model.left.wait(), 10)


async def test_batch_leaves_room(world: World):
    """A big batch never occupies the model with more than its share at once."""
    refs = [await world.photo(seed) for seed in range(BATCH_CONCURRENCY * 2)]
    await world.look(*refs)
    assert world.model.calls == len(refs)
    assert world.model.most_running <= BATCH_CONCURRENCY


async def test_model_is_told_the_size_of_the_original(world: World):
    """Stored and inline, a model gets the size of the image that coordinates are about."""
    large = jpeg(2000, 31)
    await world.look(inline(large))
    record, _ = await world.images.create("acme", large)
    await world.look(ImageRef(digest=record.digest))
    assert world.model.sizes == [(2000, 31)] * 2
