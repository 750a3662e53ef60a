"""What is current, what made an answer, and what stays when somebody is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services import errors
from services.brands.store import BrandStore
from services.releases.release import Release
from services.releases.releases import TTL_S, Releases
from services.serving import deadline, tenancy
from tests.releases.stores import A, B, C, Clock, CountingNsfw, Policies, Store
from tests.support.mesh import FakeLogo, adding, mesh_of

DOWN = errors.Unavailable("down")


class World:
    """A mesh of one model, and the store that its processes share."""

    def __init__(self) -> None:
        self.nsfw = CountingNsfw()
        self.policies = Policies()
        self.store = Store()
        self.clock = Clock()

    @asynccontextmanager
    async def process(
        self, *models: str, ttl_s: float = TTL_S, ask_timeout_s: float = 0.2
    ) -> AsyncIterator[Releases]:
        """One process, from its start to its end; started by the test where that matters."""
        async with mesh_of(adding(self.nsfw)) as mesh, asyncio.timeout(30):
            releases = Releases(
                self.store.objects,
                mesh,
                policies=self.policies,
                models=models or ("nsfw",),
                ttl_s=ttl_s,
                ask_timeout_s=ask_timeout_s,
                clock=self.clock,
            )
            try:
                yield releases
            finally:
                await releases.close()

    async def forget_process(self) -> None:
        """Let a process hear of everything, and end."""
        async with self.process() as releases:
            await releases.start()
            await releases.current()
            await releases.settle()


async def test_current_release():
    """The current release has the versions of all models and policies, and can be found."""
    w = World()
    w.policies = Policies(default="d1", strict="s1")
    async with w.process() as releases:
        release = await releases.current()
        assert release == Release({"nsfw": w.nsfw.version}, "", {"default": "d1", "strict": "s1"})
    async with w.process() as other:
        assert await other.find(release.name) == release


async def test_is_remembered_and_refreshed():
    """Versions are asked for once in their time to live, and then anew."""
    w = World()
    async with w.process() as releases:
        first = await releases.current()
        assert await releases.current() == first
        w.nsfw.version, w.policies.versions = B, {"default": "d2"}
        w.clock.now += TTL_S * 0.99
        assert await releases.current() == first
        w.clock.now += TTL_S * 0.01
        assert await releases.current() == Release({"nsfw": B}, "", {"default": "d2"})
    assert w.nsfw.asked == 2


async def test_what_made_an_answer():
    """An answer of another version than the current one is another release, and both are found."""
    w = World()
    async with w.process() as releases:
        current = await releases.current()
        old = await releases.made_by({"nsfw": B}, {"default": "d0"})
        assert old == Release({"nsfw": B}, "", {"default": "d0"})
        assert await releases.made_by({"nsfw": w.nsfw.version}) == current
        assert await releases.current() == current
    async with w.process() as other:
        assert await other.find(old.name) == old
        assert await other.find(current.name) == current


async def test_answers_wait_for_nobody_who_is_known():
    """While a model hangs, what made an answer is named without waiting for news of it."""
    w = World()
    async with w.process() as releases:
        current = await releases.current()
        w.nsfw.silent = True
        w.clock.now += TTL_S
        async with asyncio.timeout(0.2):
            assert await releases.made_by({}) == current
        await w.nsfw.is_asked.wait()


async def test_unknown_version_is_empty():
    """A model that was never heard of has no version; the release says so and does not fail."""
    w = World()
    w.nsfw.error = DOWN
    async with w.process() as releases:
        release = await releases.current()
        assert release == Release({"nsfw": ""}, "", {"default": "d1"})
        assert releases.last("nsfw") == ""
        with pytest.raises(errors.ModelUnavailable):
            await releases.version("nsfw")
        with pytest.raises(errors.ModelUnavailable):
            await releases.model("nsfw")


async def test_survives_a_restart_while_everything_is_down():
    """Versions that one process heard of are known to the next one, though nobody answers."""
    w = World()
    w.nsfw.version = B
    await w.forget_process()
    w.nsfw.error, w.policies.error = DOWN, DOWN
    async with w.process() as releases:
        await releases.start()
        assert releases.last("nsfw") == B
        assert await releases.version("nsfw") == B
        assert await releases.current() == Release({"nsfw": B}, "", {"default": "d1"})


async def test_what_is_heard_counts_more_than_what_was():
    """A version that a model says now takes the place of the one in the store."""
    w = World()
    await w.forget_process()
    w.nsfw.error = DOWN
    async with w.process() as releases:
        releases.learn("nsfw", C)
        await releases.start()
        assert releases.last("nsfw") == C
    w.nsfw.error, w.nsfw.version = None, B
    async with w.process() as releases:
        await releases.start()
        await releases.model("nsfw")
        assert await releases.version("nsfw") == B


@pytest.mark.parametrize("broken", ["down", "read_only"])
async def test_broken_store_fails_nothing(broken: str):
    """While the store fails everything is answered as ever; then it is all made up for."""
    w = World()
    setattr(w.store, broken, True)
    async with w.process(ttl_s=0.01) as releases:
        await releases.start()
        release = await releases.current()
        assert release.models["nsfw"] == w.nsfw.version
        assert await releases.find(release.name) == release
        setattr(w.store, broken, False)
        w.clock.now += 10.0
        assert await releases.current() == release
        await releases.settle()
    async with w.process() as other:
        assert await other.find(release.name) == release


async def test_hanging_store_delays_the_start_only_a_little(monkeypatch: pytest.MonkeyPatch):
    """A store that does not answer is not waited for for ever, neither by a start nor an answer."""
    monkeypatch.setattr("services.releases.releases.LOAD_TIMEOUT_S", 0.01)
    w = World()
    w.store.open.clear()
    async with w.process() as releases:
        await releases.start()
        assert (await releases.current()).models["nsfw"] == w.nsfw.version


async def test_flipping_versions_are_not_written_each_time():
    """Two versions that answer by turns cost one write a moment, not one an answer."""
    w = World()
    async with w.process() as releases:
        for _ in range(50):
            releases.learn("nsfw", A)
            releases.learn("nsfw", B)
            await asyncio.sleep(0)
        await w.store.has_written.wait()
        assert w.store.attempts == 1
        assert releases.last("nsfw") == B


async def test_learns_by_itself_until_everybody_has_answered():
    """Who is down at the start is asked again, though nobody wants to know."""
    w = World()
    w.nsfw.error, w.policies.error = DOWN, DOWN
    async with w.process() as releases:
        await releases.start()
        w.nsfw.error, w.policies.error = None, None
        assert releases._learning is not None
        await releases._learning
        w.nsfw.error, w.policies.error = DOWN, DOWN
        assert await releases.current() == Release({"nsfw": A}, "", {"default": "d1"})


async def test_many_ask_once():
    """Callers at the same time share one question, and its failure."""
    w = World()
    async with w.process() as releases:
        found = await asyncio.gather(*(releases.version("nsfw") for _ in range(20)))
        assert (set(found), w.nsfw.asked) == ({w.nsfw.version}, 1)
    w = World()
    w.nsfw.silent = True
    # Enough for a busy machine to connect in: the question has to arrive.
    async with w.process(ask_timeout_s=2.0) as releases:
        waiters = (releases.version("nsfw") for _ in range(20))
        failures = await asyncio.gather(*waiters, return_exceptions=True)
        assert {type(error) for error in failures} == {errors.DeadlineExceeded}
        assert w.nsfw.asked == 1


async def test_version_within_the_own_deadline():
    """A caller with little time has an error in time, and the question goes on for others."""
    w = World()
    w.nsfw.silent = True
    async with w.process() as releases:
        releases._ask_timeout_s = 10.0
        patient = asyncio.create_task(releases.version("nsfw"))
        await w.nsfw.is_asked.wait()
        with deadline.limit(0.05), pytest.raises(errors.DeadlineExceeded):
            await releases.version("nsfw")
        w.nsfw.speak.set()
        assert await patient == w.nsfw.version
    assert w.nsfw.asked == 1


async def test_word_of_a_model_is_believed_at_once():
    """A version that an answer told counts before the model is asked, and after it failed."""
    w = World()
    w.nsfw.error = DOWN
    async with w.process() as releases:
        with pytest.raises(errors.ModelUnavailable):
            await releases.version("nsfw")
        releases.learn("nsfw", B)
        assert await releases.version("nsfw") == B
        assert (await releases.current()).models == {"nsfw": B}
        releases.learn("nsfw", "")
        assert releases.last("nsfw") == B


async def test_learnt_while_asking_in_vain():
    """A version that is learnt while the model does not say its own is not overwritten."""
    w = World()
    async with w.process() as releases:
        await releases.version("nsfw")
        w.clock.now += TTL_S
        w.nsfw.silent = True
        w.nsfw.is_asked.clear()
        asking = asyncio.create_task(releases.version("nsfw"))
        await w.nsfw.is_asked.wait()
        releases.learn("nsfw", B)
        assert await asking == B


async def test_description_follows_the_version():
    """A model that is known to be another one by now is asked to describe itself again."""
    w = World()
    async with w.process() as releases:
        assert (await releases.model("nsfw")).version == w.nsfw.version
        w.nsfw.version = B
        assert (await releases.model("nsfw")).version != B
        releases.learn("nsfw", B)
        assert (await releases.model("nsfw")).version == B


async def test_model_that_is_none():
    """A name that no model has is said to be none."""
    async with World().process() as releases:
        for question in (releases.model, releases.version):
            with pytest.raises(errors.ModelNotFound):
                await question("horoscope")


async def test_policies():
    """Policies are found by name, the default one by none; a change is seen when it is told."""
    w = World()
    w.policies = Policies(default="d1", strict="s1")
    async with w.process() as releases:
        assert (await releases.policy("strict")).version == "s1"
        assert (await releases.policy("")).version == "d1"
        with pytest.raises(errors.PolicyNotFound, match="default, strict"):
            await releases.policy("lax")
        w.policies.versions = {"default": "d2"}
        releases.policies_changed()
        assert (await releases.current()).policies == {"default": "d2"}


BASE = "6a116a116a116a11"
OTHER = "7b227b227b227b22"
FEATURES = "1090109010901090"


@asynccontextmanager
async def with_logo(w: World, logo: FakeLogo) -> AsyncIterator[Releases]:
    """One process of a mesh with a model whose answers depend on a gallery."""
    async with mesh_of(adding(w.nsfw, logo=logo)) as mesh, asyncio.timeout(30):
        releases = Releases(
            w.store.objects, mesh, policies=w.policies, models=("nsfw", "logo"), clock=w.clock
        )
        try:
            yield releases
        finally:
            await releases.close()


async def register(w: World, name: str, tenant: str = "acme") -> str:
    """Register a brand, and the revision of its tenant's gallery from then on."""
    store = BrandStore(w.store.real)
    await store.add(tenant, name, name.encode())
    return (await store.manifest(tenant)).revision(BASE)


async def test_gallery_is_part_of_the_release():
    """A release names the model and the gallery apart, and its answers' version is of both."""
    w = World()
    tenancy.act_for("acme")
    async with with_logo(w, FakeLogo()) as releases:
        release = await releases.current()
        assert (release.models["logo"], release.gallery) == (FEATURES, BASE)
        assert release.version("logo") == await releases.version("logo") == FEATURES + BASE
        assert release.version("nsfw") == w.nsfw.version
        made = await releases.made_by({"logo": FEATURES + OTHER, "nsfw": B})
        assert (made.models, made.gallery) == ({"logo": FEATURES, "nsfw": B}, OTHER)
        assert await releases.find(made.name) == made


async def test_registered_brand_is_another_release_at_once():
    """What a tenant registers is in its next release, whatever the clock says, and in nobody
    else's."""
    w = World()
    async with with_logo(w, FakeLogo()) as releases:
        tenancy.act_for("acme")
        before = await releases.current()
        revision = await register(w, "mine")
        assert revision != BASE
        after = await releases.current()
        assert after == before.within(revision)
        assert after.name != before.name
        assert await releases.version("logo") == FEATURES + revision
        assert await releases.last_version("logo") == FEATURES + revision
        tenancy.act_for("globex")
        assert await releases.current() == before
        await BrandStore(w.store.real).remove("acme", "mine")
        tenancy.act_for("acme")
        assert await releases.current() == before


async def test_answer_of_a_tenant_says_nothing_about_the_others():
    """A version that is learnt from an answer by a tenant's gallery leaves the built-in one's."""
    w = World()
    tenancy.act_for("globex")
    async with with_logo(w, FakeLogo()) as releases:
        await releases.current()
        releases.learn("logo", "f" * 16 + OTHER)
        assert await releases.last_version("logo") == "f" * 16 + BASE
        assert releases.last("logo") == "f" * 16


async def test_gallery_that_cannot_be_read_is_not_known():
    """While brands cannot be read, no release claims a gallery, and a version is an error."""
    w = World()
    tenancy.act_for("acme")
    async with with_logo(w, FakeLogo()) as releases:
        before = await releases.current()
        await w.store.real.put("brands/acme/manifest.json", b"{")
        assert (await releases.current()).gallery == ""
        assert await releases.last_version("logo") == ""
        with pytest.raises(errors.StoreUnavailable):
            await releases.version("logo")
        assert (await releases.made_by({"logo": before.version("logo")})).gallery == BASE


async def test_gallery_is_recalled_at_the_next_start():
    """A process that starts while the model is lost knows model and gallery as they were last."""
    w = World()
    tenancy.act_for("acme")
    async with with_logo(w, FakeLogo()) as releases:
        await releases.start()
        await releases.current()
        await releases.settle()
    revision = await register(w, "mine")
    lost = FakeLogo()
    lost.version = ""
    async with with_logo(w, lost) as releases:
        await releases.start()
        assert await releases.last_version("logo") == FEATURES + revision


async def test_slow_store_holds_no_answer_up():
    """An answer of another model is named although the store does not say which brands there are:
    without a gallery."""
    w = World()
    tenancy.act_for("acme")
    async with with_logo(w, FakeLogo()) as releases:
        await releases.current()
        w.store.open.clear()
        release = await asyncio.wait_for(releases.made_by({"nsfw": B}), 10)
        assert (release.models["nsfw"], release.gallery) == (B, "")
        w.store.open.set()
