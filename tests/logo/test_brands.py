"""Registered brands: recognized from the next request on, everywhere, nothing looked at anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from services import errors
from services.brands import store as brand_store
from services.brands.manifest import Manifest, OwnBrand
from services.brands.store import BrandStore
from services.media.objects import Objects
from services.serving import tenancy
from tests.logo.drawings import encoded, logo, on_white, showing
from tests.logo.world import Replica, replica

MINE = 7
"""The number of a logo that is not built in."""

PICTURE = encoded(on_white(logo(MINE)), "PNG")
PHOTO = encoded(showing((logo(MINE, 180), 60, 90, 10), (logo(0, 150), 400, 250, -5)))


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects.open(tmp_path)


@pytest.fixture
async def one(objects: Objects) -> AsyncIterator[Replica]:
    async with replica(objects) as started:
        yield started


@pytest.fixture
async def other(objects: Objects) -> AsyncIterator[Replica]:
    async with replica(objects) as started:
        yield started


async def test_next_request_recognizes_it_on_every_replica(one: Replica, other: Replica):
    """What is registered through one replica the other one finds in an image that was looked at
    before, without looking again."""
    ref = await one.upload(PHOTO)
    assert await one.seen(ref) == await other.seen(ref) == ["alpha"]
    inferences = one.inferences + other.inferences
    brand = await one.register("mine", PICTURE)
    assert (brand.name, brand.built_in) == ("mine", False)
    assert sorted(await other.seen(ref)) == sorted(await one.seen(ref)) == ["alpha", "mine"]
    assert one.inferences + other.inferences == inferences


async def test_deletion_holds_from_the_next_request_on(one: Replica, other: Replica):
    """A brand that is deleted through one replica is unknown to the other one's next answer."""
    ref = await one.upload(PHOTO)
    await one.register("mine", PICTURE)
    assert "mine" in await other.seen(ref)
    await one.delete("mine")
    assert await other.seen(ref) == await one.seen(ref) == ["alpha"]
    assert await other.own() == []


async def test_version_names_the_brands(one: Replica):
    """An answer's version changes with the brands and comes back with them, however they came."""
    ref = await one.upload(PHOTO)
    before = (await one.recognize(ref)).model_version
    await one.register("mine", PICTURE)
    during = (await one.recognize(ref)).model_version
    await one.delete("mine")
    after = (await one.recognize(ref)).model_version
    await one.register("mine", PICTURE)
    again = (await one.recognize(ref)).model_version
    assert before == after == one.parts.recognition.version
    assert during == again != before
    assert len(during) == 32
    assert during[:16] == before[:16] == one.parts.model.version


async def test_pinned_brands_give_stored_answers_alone(one: Replica):
    """An answer by brands that are not there any more is given again when it is stored, and else
    not found."""
    ref, unseen = await one.upload(PHOTO), await one.upload(encoded(showing((logo(MINE), 9, 9, 0))))
    await one.register("mine", PICTURE)
    pinned = await one.recognize(ref)
    await one.delete("mine")
    assert (await one.recognize(ref, version=pinned.model_version)) == pinned
    lost = await one.recognize(unseen, version=pinned.model_version)
    assert lost.HasField("error")
    features_alone = await one.recognize(ref, version=one.parts.model.version)
    assert features_alone.HasField("error")


async def test_tenants_are_apart(one: Replica):
    """A tenant's brand is in nobody else's answers and lists, and its name is free for others."""
    ref = await one.upload(PHOTO)
    await one.upload(PHOTO, tenant="globex")
    await one.register("mine", PICTURE)
    assert await one.seen(ref, tenant="globex") == ["alpha"]
    assert await one.own(tenant="globex") == []
    with pytest.raises(errors.BrandNotFound):
        await one.delete("mine", tenant="globex")
    await one.register("theirs", PICTURE, tenant="globex")
    assert sorted(await one.seen(ref, tenant="globex")) == ["alpha", "theirs"]
    assert sorted(await one.seen(ref)) == ["alpha", "mine"]
    assert one.inferences == 1


async def test_brands_outlive_the_process(objects: Objects):
    """A replica that is started again recognizes what was registered before, also when what was
    found in the picture is lost or damaged."""
    async with replica(objects) as first:
        ref = await first.upload(PHOTO)
        await first.register("mine", PICTURE)
    for damage in (None, b"", b"damaged" * 9):
        if damage is not None:
            (kept,) = [name for name in await objects.list("brands/acme") if _is_features(name)]
            await objects.put(kept, damage)
        async with replica(objects) as again:
            unseen = await again.upload(encoded(showing((logo(MINE, 170), 200, 100, 3))))
            assert await again.seen(unseen) == ["mine"]
            assert sorted(await again.seen(ref)) == ["alpha", "mine"]
        for name in await objects.list("images"):
            if name.endswith("/results"):
                await objects.put(name, b"")


async def test_another_built_in_gallery_keeps_own_brands(objects: Objects):
    """With another revision of the built-in gallery answers have another version, and the tenant's
    own brands are still among them."""
    async with replica(objects) as first:
        ref = await first.upload(PHOTO)
        await first.register("mine", PICTURE)
        before = (await first.recognize(ref)).model_version
    async with replica(objects, revision="0" * 16) as second:
        after = await second.recognize(ref)
        assert sorted(one.brand for one in after.result.logos) == ["alpha", "mine"]
        assert second.inferences == 0
    assert after.model_version[:16] == before[:16]
    assert after.model_version != before


async def test_many_registrations_at_once_lose_nothing(one: Replica, other: Replica):
    """Brands that are registered and deleted at the same time through two replicas are all there,
    or gone."""
    pictures = {f"brand-{number}": encoded(on_white(logo(20 + number))) for number in range(6)}
    await asyncio.gather(
        *(
            (one, other)[place % 2].register(name, picture)
            for place, (name, picture) in enumerate(pictures.items())
        )
    )
    assert await one.own() == await other.own() == sorted(pictures)
    await asyncio.gather(
        *((one, other)[place % 2].delete(name) for place, name in enumerate(list(pictures)[:3]))
    )
    assert await one.own() == await other.own() == sorted(pictures)[3:]


async def test_same_name_at_once_is_one_brand(one: Replica, other: Replica):
    """Of two registrations of one name at the same time one succeeds, and one is told."""
    outcomes = await asyncio.gather(
        one.register("mine", PICTURE),
        other.register("mine", encoded(on_white(logo(8)))),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Brand", "BrandExists"]
    assert await one.own() == ["mine"]


async def test_name_and_picture_are_registered_once(one: Replica):
    """A name of one's own, and a picture of one's own under another name, are refused by name."""
    await one.register("mine", PICTURE)
    with pytest.raises(errors.BrandExists) as named:
        await one.register("mine", encoded(on_white(logo(8))))
    assert named.value.field == "name"
    with pytest.raises(errors.BrandExists, match="'mine'") as pictured:
        await one.register("other", PICTURE)
    assert pictured.value.field == "picture"


async def test_built_in_name_gets_a_further_mark(one: Replica):
    """Registered under a built-in name a picture is a further mark of that brand, and when it is
    deleted the brand still has its own."""
    ref = await one.upload(PHOTO)
    brand = await one.register("alpha", PICTURE)
    assert brand.built_in
    assert brand.HasField("registered_at")
    assert await one.seen(ref) == ["alpha", "alpha"]
    await one.delete("alpha")
    assert await one.seen(ref) == ["alpha"]
    with pytest.raises(errors.BrandNotFound):
        await one.delete("alpha")


async def test_own_brand_that_looks_like_a_built_in_one(one: Replica):
    """A built-in logo that is registered under another name is called by the tenant's name."""
    ref = await one.upload(PHOTO)
    await one.register("ours", encoded(on_white(logo(0)), "PNG"))
    assert await one.seen(ref) == ["ours"]


@pytest.mark.parametrize(
    ("picture", "kind", "words"),
    [
        (b"these are words", errors.UnsupportedFormat, "picture: "),
        (PICTURE[:200], errors.CorruptImage, "picture: "),
        (encoded(on_white(logo(MINE, 12), 4)), errors.UnusablePicture, "20 x 20 pixels, at least"),
        (encoded(Image.new("RGB", (200, 200))), errors.UnusablePicture, "0 points"),
        (encoded(Image.new("RGBA", (200, 200), "white"), "PNG"), errors.UnusablePicture, "white"),
    ],
    ids=["text", "cut", "small", "black", "blank"],
)
async def test_unusable_picture_says_why(
    one: Replica, objects: Objects, picture: bytes, kind: type[Exception], words: str
):
    """A picture that is none, or shows nothing, is refused with its field, and nothing is kept."""
    with pytest.raises(kind, match=words) as failure:
        await one.register("mine", picture)
    assert getattr(failure.value, "field", "") == "picture"
    assert await objects.list("brands") == []


async def test_as_many_as_may_be(objects: Objects):
    """Beyond the limit a registration is refused, naming it; a deletion makes room."""
    async with replica(objects, max_brands=2) as few:
        for number in (20, 21):
            await few.register(f"brand-{number}", encoded(on_white(logo(number))))
        with pytest.raises(errors.TooManyBrands, match="at most 2"):
            await few.register("mine", PICTURE)
        assert await few.own() == ["brand-20", "brand-21"]
        await few.delete("brand-20")
        await few.register("mine", PICTURE)


async def test_ten_thousand_brands_are_too_many(one: Replica, objects: Objects):
    """At the limit of 1,000 the next of 10,000 brands is refused by number, and the others are
    listed in full."""
    registered = datetime.now(UTC)
    full = Manifest(
        tuple(
            OwnBrand(f"brand-{number:04}", f"{number:032x}", f"{number:064x}", registered)
            for number in range(brand_store.MAX_BRANDS)
        )
    )
    await objects.put("brands/acme/manifest.json", full.encode())
    with pytest.raises(errors.TooManyBrands, match="1000 brands of your own, at most 1000"):
        await one.register("mine", PICTURE)
    assert await one.own() == [brand.name for brand in full.brands]


async def test_unknown_brand_is_refused(one: Replica):
    """Who asks for a brand that there is not is told, and who asks for an own one is answered."""
    ref = await one.upload(PHOTO)
    with pytest.raises(errors.InvalidArgument, match="'mine'"):
        await one.recognize(ref, brands=["mine"])
    await one.register("mine", PICTURE)
    outcome = await one.recognize(ref, brands=["mine"])
    assert [found.brand for found in outcome.result.logos] == ["mine"]


async def test_pages_go_through_all_brands(one: Replica):
    """Pages of any size are sorted by name and together hold every brand once."""
    await one.register("beta", PICTURE)
    await one.register("delta", encoded(on_white(logo(8))))
    for size in (1, 2, 4, 100):
        names, token = [], ""
        while True:
            page = await one.client.list_brands(page_size=size, page_token=token)
            names += [(brand.name, brand.built_in) for brand in page.brands]
            assert len(page.brands) <= size
            if not (token := page.next_page_token):
                break
        assert names == [("alpha", True), ("beta", True), ("delta", False), ("gamma", True)]
    with pytest.raises(errors.InvalidArgument) as failure:
        await one.client.list_brands(page_token="?")
    assert failure.value.field == "page_token"


async def test_brands_that_cannot_be_read_are_not_taken_for_none(
    one: Replica, objects: Objects, tmp_path: Path
):
    """A damaged manifest is an error of the store: no answer says that nothing was found."""
    ref = await one.upload(PHOTO)
    await one.register("mine", PICTURE)
    (tmp_path / "brands" / "acme" / "manifest.json").write_bytes(b"{")
    with pytest.raises(errors.Unavailable):
        await one.recognize(ref)
    with pytest.raises(errors.Unavailable):
        await one.own()


async def test_crash_before_the_manifest_leaves_no_brand(objects: Objects):
    """A registration that dies before the manifest names it was never there, can be repeated, and
    what it left is cleared by a change an hour later."""
    now = datetime.now(UTC)
    store = BrandStore(objects, clock=lambda: now)
    stopped = _Stopped(objects)
    with pytest.raises(errors.StoreUnavailable):
        await BrandStore(stopped).add("acme", "mine", PICTURE)
    assert len(await objects.list("brands/acme")) == 1
    assert (await store.manifest("acme")).brands == ()
    brand = await store.add("acme", "mine", PICTURE)
    assert len([name for name in await objects.list("brands/acme") if "picture" in name]) == 2
    now += brand_store.ORPHANED + timedelta(minutes=1)
    await store.add("acme", "other", encoded(on_white(logo(8))))
    left = await objects.list("brands/acme")
    assert len([name for name in left if "picture" in name]) == 2
    assert await store.picture("acme", brand) == PICTURE


async def test_deletion_leaves_no_picture(one: Replica, objects: Objects):
    """Of a deleted brand neither its picture nor what was found in it is left."""
    await one.register("mine", PICTURE)
    assert len(await objects.list("brands/acme")) > 1
    await one.delete("mine")
    left = [name.rpartition("/")[2] for name in await objects.list("brands/acme")]
    assert [name for name in left if not name.startswith("manifest.json")] == []


async def test_nobody_registers_nothing(one: Replica):
    """A call for no tenant is refused."""
    tenancy.act_for("")
    for call in (
        one.client.list_brands(),
        one.client.register_brand("mine", PICTURE),
        one.client.delete_brand("mine"),
    ):
        with pytest.raises(errors.Unauthenticated):
            await call


class _Stopped(Objects):
    """A store that takes objects and fails before any is exchanged."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects._store, objects._folder)

    async def exchange(self, path: str, expected: bytes | None, data: bytes) -> bool:
        raise errors.StoreUnavailable("killed")


def _is_features(path: str) -> bool:
    name = path.rpartition("/")[2]
    return not name.startswith("manifest") and not name.endswith(".picture")
