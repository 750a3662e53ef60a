"""Which release the mesh has now, which one made an answer, and what earlier ones were."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from services import catalog, errors
from services.brands.store import BrandStore
from services.client.mesh import MeshClient
from services.errors import PolicyNotFound, StoreUnavailable, VisionmeshError
from services.media.objects import Objects
from services.releases.publisher import Publisher
from services.releases.registry import Registry
from services.releases.release import GALLERY_MODELS, NOTHING, Release, split
from services.releases.remembered import Remembered
from services.serving import tenancy
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.moderation.v1.moderation_pb2 import Policy

TTL_S: Final = 5.0
"""How long a version is believed: how long an exchanged model may go unnoticed."""

ASK_TIMEOUT_S: Final = 1.0
"""How long a service may take to describe itself, which it has at hand (a guess)."""

LOAD_TIMEOUT_S: Final = 1.0
"""How long a start waits for the store to say what was heard of last (a guess)."""

FIRST_RETRY_S: Final = 0.1
"""How soon who did not answer is asked again; a mesh that starts answers within a second or two."""

LONGEST_RETRY_S: Final = 10.0
"""How seldom, in the end (a guess)."""

INTRODUCTION_S: Final = 5.0
"""How long after the start somebody who says nothing is waited for before requests are taken."""

GALLERY_PATIENCE_S: Final = 0.5
"""How long an answer waits for the store to say which brands its tenant has (a guess)."""

COLLECT_S: Final = 0.05
"""How long what is heard of is collected before it is written: at a start all speak at once."""

MODELS: Final = tuple(process.model for process in catalog.MODELS if process.model)

DEFAULT_POLICY: Final = "default"
"""What a request without a policy means."""

Policies = Callable[[], Awaitable[Sequence[Policy]]]
"""Describes all policies; raises VisionmeshError."""

_log = structlog.get_logger()


class Releases:
    """Knows the versions of models and policies, at most `ttl_s` seconds old, and names them.

    The last known version of what does not answer stays, also when this process starts again. A
    store that is down fails no answer: a release is published at the next occasion then.
    """

    def __init__(
        self,
        objects: Objects,
        mesh: MeshClient,
        *,
        policies: Policies | None = None,
        models: Iterable[str] = MODELS,
        ttl_s: float = TTL_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `policies` the moderation service is asked for them."""
        self._mesh = mesh
        self._brands = BrandStore(objects)
        self._ttl_s = ttl_s
        self._ask_timeout_s = ask_timeout_s
        self._registry = Registry(objects)
        self._publisher = Publisher(self._registry, clock=clock)
        self._models = {
            name: Remembered(partial(self._ask_model, name), ttl_s, clock=clock) for name in models
        }
        ask_policies = policies or partial(mesh.list_policies, timeout_s=ask_timeout_s)
        self._policies = Remembered(partial(self._ask_policies, ask_policies), ttl_s, clock=clock)
        self._parts: tuple[Remembered[Any], ...] = (*self._models.values(), self._policies)
        self._now = Release(dict.fromkeys(self._models, ""))
        self._kept = self._now
        self._loaded = False
        self._settled = asyncio.Event()
        self._settled.set()
        self._clock = clock
        self._started_at: float | None = None
        self._learning: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Recall what was heard of last, and begin to ask everybody until each has answered once.

        So that what a model lost later has made before is still known to be the same.
        """
        if self._learning is None:
            self._started_at = self._clock()
            self._learning = asyncio.create_task(self._learn())
            loading = asyncio.create_task(self._load())
            _, late = await asyncio.wait([loading], timeout=LOAD_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def settle(self) -> None:
        """Wait until what was heard of is in the store, for the next start."""
        await self._settled.wait()

    async def close(self) -> None:
        """Stop asking and writing."""
        for task in (begun := [task for task in (self._learning, self._keeping) if task]):
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        await asyncio.gather(*(part.close() for part in self._parts))
        await self._publisher.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The models of the mesh, in the catalog's order."""
        return tuple(self._models)

    @property
    def introduced(self) -> bool:
        """Whether everybody has answered once, or has had the time to.

        Before that, policies may be unknown that there are, and releases lack versions.
        """
        if all(part.last is not None for part in self._parts):
            return True
        begun = self._started_at
        return begun is not None and self._clock() - begun >= INTRODUCTION_S

    async def current(self) -> Release:
        """The release that the mesh has now, at most a moment old. Never fails.

        Waits a little for news, but not for who did not answer the last time.
        """
        if due := [part for part in self._parts if part.is_due]:
            await asyncio.gather(*(part.news() for part in due))
        return await self._named(await self._tenants())

    async def made_by(
        self, models: Mapping[str, str], policies: Mapping[str, str] = NOTHING
    ) -> Release:
        """The release of an answer that these versions made: the rest is what is known now.

        Published before it is returned, as all releases are: whoever is told a name can ask for it.
        """
        (release,) = await self.made_each([(models, policies)])
        return release

    async def made_each(
        self, answers: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]
    ) -> list[Release]:
        """The releases of many answers, each as `made_by` says: brands are read once for all."""
        for part in self._parts:
            if part.is_due:  # what an answer is made of is there: news are for the next one
                await (part.refresh(0.0) if part.last else part.news())
        rest = self._now
        if any(not GALLERY_MODELS & models.keys() for models, _ in answers):
            rest = await self._tenants()
        return [await self._named(rest.having(*versions)) for versions in answers]

    async def find(self, name: str) -> Release:
        """A release that was named once. Raises ReleaseNotFound, StoreUnavailable."""
        return await self._publisher.find(name)

    async def version(self, model: str) -> str:
        """The version of a model's answers for the current tenant.

        Raises what asking raised when the model was never heard of, and StoreUnavailable when the
        answers depend on brands that cannot be read.
        """
        remembered = await self._of(model)
        if self.last(model):
            await remembered.news()
        else:
            try:
                await remembered.current()
            except VisionmeshError:
                if not self.last(model):  # which may have been learnt meanwhile
                    raise
        if model not in GALLERY_MODELS:
            return self.last(model)
        return self._now.within(await self._gallery()).version(model)

    async def last_version(self, model: str) -> str:
        """As `version`, of what was heard of last, however long ago. Asks no model.

        Empty when nothing was, or when brands cannot be read.
        """
        if model not in GALLERY_MODELS:
            return self.last(model)
        return (await self._tenants()).version(model)

    def last(self, model: str) -> str:
        """A model's own version that was heard of last; else empty. Asks nobody."""
        return self._now.models.get(model, "")

    def learn(self, model: str, version: str) -> None:
        """Take the word of a model that has just said the version of its answers.

        Which gallery everybody has it does not say: the answer was by its tenant's.
        """
        own, _ = split(model, version)
        if own:
            self._changed_to(self._now.of_model(model, own))
        remembered = self._models.get(model)
        if remembered and remembered.last and remembered.last.version == version:
            remembered.confirm()

    async def model(self, name: str) -> Model:
        """A model's description. Raises ModelNotFound, ModelUnavailable."""
        remembered = await self._of(name)
        if remembered.last and split(name, remembered.last.version)[0] != self.last(name):
            remembered.doubt()
        return await remembered.current()

    async def policies(self) -> Sequence[Policy]:
        """All policies. Raises Unavailable."""
        return await self._policies.current()

    async def policy(self, name: str) -> Policy:
        """A policy by its name, the default one by the empty name. Raises PolicyNotFound."""
        policies = await self.policies()
        for policy in policies:
            if policy.name == (name or DEFAULT_POLICY):
                return policy
        known = ", ".join(policy.name for policy in policies)
        raise PolicyNotFound(f"there is no policy {name!r}; there are: {known}", field="policy")

    def policies_changed(self) -> None:
        """Ask for the policies at the next occasion, however young the last answer is."""
        self._policies.doubt()

    async def _named(self, release: Release) -> Release:
        await self._publisher.publish(release)
        return release

    async def _of(self, model: str) -> Remembered[Model]:
        if remembered := self._models.get(model):
            return remembered
        await self._mesh.get_model(model)  # which knows how to say that there is none
        raise errors.ModelNotFound(f"there is no model {model!r}", field="model")

    async def _ask_model(self, name: str) -> Model:
        model = await self._mesh.get_model(name, timeout_s=self._ask_timeout_s)
        if model.version:
            self._changed_to(self._now.having({name: model.version}))
        return model

    async def _ask_policies(self, ask: Policies) -> Sequence[Policy]:
        policies = await ask()
        versions = {policy.name: policy.version for policy in policies}
        if versions != self._now.policies:
            self._changed(Release(self._now.models, self._now.gallery, versions))
        return policies

    async def _tenants(self) -> Release:
        """What is known now, with the current tenant's gallery: empty when that cannot be read, or
        not in time, so that nothing is said to be unmodified of which nobody knows."""
        try:
            async with asyncio.timeout(GALLERY_PATIENCE_S):
                return self._now.within(await self._gallery())
        except (StoreUnavailable, TimeoutError):
            return self._now.within("")

    async def _gallery(self) -> str:
        """The revision of the current tenant's gallery: one small read, every time. For nobody it
        is that of the built-in one, which `_now` has. Raises StoreUnavailable."""
        base, tenant = self._now.gallery, tenancy.current()
        if not base or not tenant:
            return base
        return (await self._brands.manifest(tenant)).revision(base)

    def _changed_to(self, release: Release) -> None:
        if release != self._now:
            self._changed(release)

    def _changed(self, release: Release) -> None:
        self._now = release
        self._settled.clear()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), context=contextvars.Context())

    async def _learn(self) -> None:
        delay_s = FIRST_RETRY_S
        while unknown := [part for part in self._parts if part.last is None]:
            for part in unknown:
                part.doubt()
            await asyncio.gather(*(part.refresh(self._ask_timeout_s) for part in unknown))
            if any(part.last is None for part in unknown):
                await asyncio.sleep(delay_s)
                delay_s = min(LONGEST_RETRY_S, 2 * delay_s)
                if not self._loaded:
                    await self._load()

    async def _load(self) -> None:
        """Take from the store what nobody has said yet."""
        try:
            models = await self._registry.last_models(self._models)
            policies = await self._registry.last_policies()
        except VisionmeshError as error:
            _log.warning("last known versions are not recalled", error=error.message)
            return
        kept = Release({}).having(models, policies)
        self._kept = kept
        heard = {name: version for name, version in self._now.models.items() if version}
        known = {**self._now.models, **kept.models, **heard}
        self._now = Release(
            known, self._now.gallery or kept.gallery, self._now.policies or policies
        )
        self._loaded = True

    async def _keep(self) -> None:
        """Write down what was heard of, at most once a moment however often it changes."""
        delay_s = max(self._ttl_s, FIRST_RETRY_S)
        try:
            while self._now != self._kept:
                await asyncio.sleep(COLLECT_S)
                now = self._now
                models = {
                    name: version
                    for name in now.models
                    if (version := now.version(name)) and version != self._kept.version(name)
                }
                policies = {} if now.policies == self._kept.policies else now.policies
                try:
                    await self._registry.keep(models, policies)
                except VisionmeshError as error:
                    _log.warning("last known versions are not kept", error=error.message)
                    delay_s = min(LONGEST_RETRY_S, 2 * delay_s)
                else:
                    self._kept = now
                    if self._now == now:
                        self._settled.set()
                await asyncio.sleep(delay_s)
        finally:
            self._keeping = None
