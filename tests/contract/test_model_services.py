"""What every model service promises, over real gRPC: one suite for all of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services import catalog, errors, limits
from services.results.durable import results_path
from services.results.envelope import wrap
from services.results.frames import frame
from services.results.keys import ResultKey
from tests.contract.services import SERVICES, Answer, ModelService
from tests.contract.world import TENANT, World, black, inline, picture, world_of
from visionmesh.common.v1.image_pb2 import ImageRef

UNKNOWN = ImageRef(digest="f" * 64)


@pytest.fixture(params=SERVICES, ids=lambda service: service.__name__)
def service(request: pytest.FixtureRequest) -> ModelService:
    adapter: ModelService = request.param()
    return adapter


@pytest.fixture
async def world(service: ModelService, tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(service, tmp_path) as world:
        yield world


def kinds(answers: list[Answer]) -> list[type[BaseException] | None]:
    return [type(answer.error) if answer.error else None for answer in answers]


def test_every_model_of_the_catalog_is_in_this_suite():
    """The suite runs over all model services that the catalog names."""
    assert {service.process for service in SERVICES} == set(catalog.MODELS)


async def test_outcomes_keep_the_order_of_the_batch(world: World):
    """A full batch comes back in its order, each image with the result that it has alone."""
    refs = await world.stored(*map(picture, range(limits.MAX_BATCH_IMAGES)))
    refs = refs[1::2] + refs[::2]
    answers = await world.ask(*refs)
    assert [answer.digest for answer in answers] == [ref.digest for ref in refs]
    assert kinds(answers) == [None] * len(refs)
    assert world.looked_at == len(refs)
    for place in (0, 17, -1):
        (alone,) = await world.ask(refs[place])
        assert alone.result == answers[place].result
    assert len({answer.result for answer in answers}) > 50


async def test_size_is_that_of_the_upright_original(world: World):
    """An outcome carries width and height of the image that it is about."""
    refs = await world.stored(picture(1, (31, 77)), picture(2, (2000, 3)))
    assert [answer.size for answer in await world.ask(*refs)] == [(31, 77), (2000, 3)]


async def test_duplicates_in_a_batch_are_looked_at_once(world: World):
    """An image that a batch names several times has as many outcomes and one inference."""
    one, other = await world.stored(picture(1), picture(2))
    answers = await world.ask(one, other, one, one)
    assert [answer.digest for answer in answers] == [
        one.digest,
        other.digest,
        one.digest,
        one.digest,
    ]
    assert answers[0].result == answers[2].result == answers[3].result is not None
    assert world.looked_at == 2


async def test_unknown_image_leaves_the_others_alone(world: World):
    """A digest that names nothing is one NOT_FOUND among results."""
    one, other = await world.stored(picture(1), picture(2))
    answers = await world.ask(one, UNKNOWN, other)
    assert kinds(answers) == [None, errors.ImageNotFound, None]
    assert answers[1].digest == UNKNOWN.digest


async def test_inline_bytes_need_no_store(world: World):
    """Inline bytes of an unknown image are looked at, and leave nothing in the store."""
    ref = inline(picture(1, (40, 30)))
    (answer,) = await world.ask(ref)
    assert answer.result is not None
    assert answer.size == (40, 30)
    with pytest.raises(errors.ImageNotFound):
        await world.images.get(TENANT, ref.digest)


async def test_inline_and_stored_bytes_give_one_result(world: World):
    """The same image inline and from the store has the same result."""
    (inlined,) = await world.ask(inline(picture(1)))
    (stored,) = await world.ask(*await world.stored(picture(1)))
    assert inlined.result == stored.result


async def test_inline_bytes_under_another_digest_are_refused(world: World):
    """Bytes that another digest names are an error, also beside the right ones."""
    right = inline(picture(1))
    wrong = inline(picture(2), digest=right.digest)
    answers = await world.ask(wrong, right)
    assert kinds(answers) == [errors.DigestMismatch, None]
    assert answers[0].error is not None
    assert answers[0].error.field == "images.data"
    assert world.looked_at == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture(3)[:40], errors.CorruptImage),
        (picture(3, (640, 480))[:-30], errors.CorruptImage),
        (b"this is a text", errors.UnsupportedFormat),
    ],
    ids=["header only", "cut short", "text"],
)
async def test_inline_bytes_that_are_no_image(
    world: World, data: bytes, kind: type[errors.VisionmeshError]
):
    """Bytes that cannot be decoded are an error of their own, and the others have results."""
    answers = await world.ask(inline(picture(1)), inline(data), inline(picture(2)))
    assert kinds(answers) == [None, kind, None]


async def test_one_bad_image_in_a_hundred(world: World):
    """One corrupt image in a batch of a hundred leaves ninety-nine results, each in its place and
    the one that it has alone."""
    refs = [inline(picture(number)) for number in range(100)]
    refs[41] = inline(picture(41, (640, 480))[:-30])
    answers = await world.ask(*refs)
    assert [answer.digest for answer in answers] == [ref.digest for ref in refs]
    assert [number for number, kind in enumerate(kinds(answers)) if kind] == [41]
    assert kinds(answers)[41] is errors.CorruptImage
    assert world.looked_at == 99
    await assert_as_alone(world, answers, 40, 42, 99)


async def test_one_poisoned_image_in_a_hundred(world: World):
    """One image of a hundred of which the model makes no number leaves the others their results."""
    world.nan = True
    pictures = [*map(picture, range(41)), black(), *map(picture, range(42, 100))]
    answers = await world.ask(*await world.stored(*pictures))
    assert [number for number, kind in enumerate(kinds(answers)) if kind] == [41]
    assert kinds(answers)[41] is errors.Internal
    await assert_as_alone(world, answers, 40, 42, 99)


async def assert_as_alone(world: World, answers: list[Answer], *numbers: int) -> None:
    """Pictures of these numbers were answered as they are for whoever asks for them alone."""
    for number in numbers:
        before = world.looked_at
        # Whoever has not stored it shares nobody's result: it is looked at again.
        (alone,) = await world.ask(inline(picture(number)), tenant="globex")
        assert world.looked_at == before + 1
        assert (alone.digest, alone.result) == (answers[number].digest, answers[number].result)


async def test_too_many_inline_bytes_are_refused(world: World):
    """More inline bytes in one call than the limit are refused as a whole, naming the limit."""
    half = bytes(limits.MAX_INLINE_BYTES // 2 + 1)
    with pytest.raises(errors.ImageTooLarge) as failure:
        await world.ask(inline(half), inline(half))
    assert failure.value.field == "images"
    assert str(limits.MAX_INLINE_BYTES) in failure.value.limit


@pytest.mark.parametrize(
    ("refs", "field"),
    [
        ([], "images"),
        ([UNKNOWN] * (limits.MAX_BATCH_IMAGES + 1), "images"),
        ([UNKNOWN, ImageRef(digest="F" * 64)], "images[1].digest"),
        ([ImageRef()], "images[0].digest"),
    ],
    ids=["none", "129", "capitals", "no digest"],
)
async def test_contract_is_enforced(world: World, refs: list[ImageRef], field: str):
    """A request that breaks the contract is refused as a whole, naming the field."""
    with pytest.raises(errors.InvalidArgument) as failure:
        await world.ask(*refs)
    assert failure.value.field == field
    assert world.looked_at == 0


async def test_deadline_does_not_throw_the_batch_away(world: World):
    """Before the wire deadline the finished images have results, the others DEADLINE_EXCEEDED."""
    world.hold = True
    refs = await world.stored(picture(1), black(), picture(2))
    # That the call returns at all shows that the answer was there before the deadline.
    answers = await world.ask(*refs, timeout_s=3)
    assert kinds(answers) == [None, errors.DeadlineExceeded, None]
    assert world.held.is_set()


async def test_caller_that_leaves_disturbs_nobody(world: World):
    """A call that is cancelled ends; one that waits beside it gets its result."""
    world.hold = True
    (dark, bright) = await world.stored(black(), picture(1))
    leaving = asyncio.create_task(world.ask(dark))
    await world.held.wait()
    beside = asyncio.create_task(world.ask(dark, bright))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    world.release.set()
    assert kinds(await beside) == [None, None]


async def test_second_call_is_answered_from_stored_results(world: World):
    """What was looked at once is not looked at again."""
    refs = await world.stored(picture(1), picture(2))
    first = await world.ask(*refs)
    second = await world.ask(*refs)
    assert [answer.result for answer in first] == [answer.result for answer in second]
    assert [answer.size for answer in first] == [answer.size for answer in second]
    assert world.looked_at == 2


async def test_results_outlive_the_process(service: ModelService, tmp_path: Path):
    """A service that is started again answers from the results of the one before."""
    async with world_of(service, tmp_path) as world:
        refs = await world.stored(picture(1))
        before = await world.ask(*refs)
    async with world_of(service, tmp_path) as world:
        after = await world.ask(*refs)
        assert world.looked_at == 0
    assert after[0].result == before[0].result


async def test_another_version_looks_again(service: ModelService, tmp_path: Path):
    """Results of another version are not answered, and stay for those who run that version."""
    async with world_of(service, tmp_path) as world:
        refs = await world.stored(picture(1))
        (before,) = await world.ask(*refs)
    async with world_of(service, tmp_path, precision="fp16") as world:
        (other,) = await world.ask(*refs)
        assert world.looked_at == 1
    assert other.model_version != before.model_version
    async with world_of(service, tmp_path) as world:
        (again,) = await world.ask(*refs)
        assert world.looked_at == 0
    assert again.model_version == before.model_version


async def test_failing_inference_is_one_error_without_internals(world: World):
    """An engine that fails on one image leaves the others; the client sees an internal error."""
    world.fail = True
    refs = await world.stored(picture(1), black(), picture(2))
    answers = await world.ask(*refs)
    assert kinds(answers) == [None, errors.Internal, None]
    assert "secret" not in str(answers[1].error)
    world.fail = False
    assert kinds(await world.ask(*refs)) == [None, None, None]
    assert world.looked_at == 4


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "of no model", "out of range"])
async def test_broken_stored_result_costs_an_inference(
    service: ModelService, tmp_path: Path, damage: str
):
    """A stored result that is cut, empty, changed or nonsense is made again, never believed."""
    async with world_of(service, tmp_path) as world:
        refs = await world.stored(picture(1))
        (first,) = await world.ask(*refs)
    key = ResultKey(first.digest, service.process.model or "", first.model_version)
    file = tmp_path / results_path(key.digest)
    stored = file.read_bytes()
    file.write_bytes(
        {
            "cut": stored[:-1],
            "emptied": b"",
            "flipped": stored[:-1] + bytes([stored[-1] ^ 1]),
            "of no model": frame(key, wrap(key, b"garbage")),
            "out of range": frame(key, wrap(key, service.impossible)),
        }[damage]
    )
    # A cut or changed answer leaves what it was derived from, which was stored before it.
    lost = 0 if service.derived and damage in ("cut", "flipped") else 1
    for inferences in (lost, 0):
        async with world_of(service, tmp_path) as world:
            (again,) = await world.ask(*refs)
            assert again.result == first.result
            assert world.looked_at == inferences


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (1, 20_000), (20_000, 1)], ids=str)
async def test_tiny_and_thin_images_have_results(world: World, size: tuple[int, int]):
    """An image of hardly any pixels, or of one pixel's width, is looked at like any other."""
    refs = await world.stored(picture(1, size))
    for answers in (await world.ask(*refs), await world.ask(inline(picture(2, size)))):
        assert kinds(answers) == [None]
        assert answers[0].size == size


async def test_output_that_is_no_number_is_no_result(world: World):
    """NaN from an engine is an error of its image, and is not kept."""
    world.nan = True
    refs = await world.stored(picture(1), black())
    assert kinds(await world.ask(*refs)) == [None, errors.Internal]
    world.nan = False
    assert kinds(await world.ask(*refs)) == [None, None]


async def test_many_calls_at_once_are_one_inference(world: World):
    """A hundred calls for one image, alone and in batches that overlap, look at it once."""
    refs = await world.stored(*map(picture, range(5)))
    calls = [world.ask(refs[0]) for _ in range(50)]
    calls += [world.ask(*refs[: 1 + number % 5]) for number in range(50)]
    answers = [answer for outcomes in await asyncio.gather(*calls) for answer in outcomes]
    assert kinds(answers) == [None] * len(answers)
    assert world.looked_at == len(refs)
    assert world.diagnostics.counters["inferences"] == len(refs)


async def test_call_without_the_meshs_token_is_refused(world: World):
    """Who does not show the token is believed nothing, and nothing is looked at."""
    refs = await world.stored(picture(1))
    with pytest.raises(errors.Unauthenticated):
        await world.ask(*refs, token="guessed")
    with pytest.raises(errors.Unauthenticated):
        await world.ask(*refs, tenant="")
    assert world.looked_at == 0


async def test_tenants_do_not_see_each_other(world: World):
    """Another tenant's image is as unknown as one that nobody has, with a stored result too."""
    refs = await world.stored(picture(1))
    await world.ask(*refs)
    theirs, nobodys = await world.ask(*refs, UNKNOWN, tenant="globex")
    for answer, ref in ((theirs, refs[0]), (nobodys, UNKNOWN)):
        assert type(answer.error) is errors.ImageNotFound
        assert str(answer.error).replace(ref.digest, "") == "there is no image "
        assert (answer.result, answer.size) == (None, (0, 0))


async def test_result_is_shared_beneath_tenants(world: World):
    """Two tenants that have one image cost one inference, and one's deletion is not the other's."""
    refs = await world.stored(picture(1))
    await world.stored(picture(1), tenant="globex")
    (one,) = await world.ask(*refs)
    (other,) = await world.ask(*refs, tenant="globex")
    assert one == other
    assert world.looked_at == 1
    await world.images.delete(TENANT, refs[0].digest)
    assert kinds(await world.ask(*refs)) == [errors.ImageNotFound]
    assert kinds(await world.ask(*refs, tenant="globex")) == [None]
    assert world.looked_at == 1


async def test_pinned_version_gives_its_own_results(service: ModelService, tmp_path: Path):
    """A version that is not served any more is answered from its stored results, or not found."""
    async with world_of(service, tmp_path) as world:
        refs = await world.stored(picture(1), picture(2))
        (old,) = await world.ask(refs[0])
        (pinned,) = await world.ask(refs[0], version=old.model_version)
        assert pinned == old
    async with world_of(service, tmp_path, precision="fp16") as world:
        answers = await world.ask(*refs, version=old.model_version)
        assert answers[0] == old
        assert kinds(answers) == [None, errors.ResultNotFound]
        assert {answer.model_version for answer in answers} == {old.model_version}
        assert world.looked_at == 0


@pytest.mark.parametrize("attempt", ["1", "2"])
async def test_pinned_version_may_be_served_elsewhere(world: World, attempt: str):
    """While Envoy has another replica to try, a call that lacks a result asks for that."""
    refs = await world.stored(picture(1))
    with pytest.raises(errors.ResultNotFound):
        await world.ask(*refs, version="f" * 16, attempt=attempt)
    assert kinds(await world.ask(UNKNOWN, version="f" * 16, attempt=attempt)) == [
        errors.ImageNotFound
    ]


@pytest.mark.parametrize("attempt", ["", "3", "4", "no number", "-1"])
async def test_last_replica_answers_what_it_has(world: World, attempt: str):
    """On the last attempt, and without Envoy, each image has its own outcome."""
    refs = await world.stored(picture(1))
    answers = await world.ask(*refs, UNKNOWN, version="f" * 16, attempt=attempt)
    assert kinds(answers) == [errors.ResultNotFound, errors.ImageNotFound]


async def test_deleted_image_is_gone(world: World):
    """After an image is deleted its stored result is not answered any more."""
    refs = await world.stored(picture(1))
    await world.ask(*refs)
    await world.images.delete(TENANT, refs[0].digest)
    assert kinds(await world.ask(*refs)) == [errors.ImageNotFound]


async def test_model_describes_itself(world: World):
    """GetModel names the model, the version of its outcomes, its labels, licence and limits."""
    model = await world.describe()
    (answer,) = await world.ask(inline(picture(1)))
    assert model.name == world.service.process.model
    assert model.version == answer.model_version != ""
    assert model.description
    assert model.license
    assert len(model.labels) > 1
    found = model.input_limits
    assert found.max_images == limits.MAX_BATCH_IMAGES
    assert found.max_image_bytes == limits.MAX_IMAGE_BYTES
    assert found.max_image_pixels == limits.MAX_IMAGE_PIXELS
    assert found.max_inline_bytes == limits.MAX_INLINE_BYTES
    assert "image/jpeg" in found.media_types


async def test_digest_and_version_are_in_every_outcome(world: World):
    """Results and errors alike say which image they are about and which model answered."""
    (good,) = await world.stored(picture(1))
    answers = await world.ask(good, UNKNOWN, inline(b"text"))
    model = await world.describe()
    assert {answer.model_version for answer in answers} == {model.version}
    assert answers[2].digest == hashlib.sha256(b"text").hexdigest()


async def test_unknown_method_is_unimplemented(world: World):
    """A method that the service does not have is UNIMPLEMENTED, not a crash."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = world.channel.unary_unary(
        f"/{world.service.process.grpc_service}/Nothing"
    )
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await method(b"")
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
