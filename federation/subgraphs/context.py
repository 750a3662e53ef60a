"""What the resolvers of one request share: its release, and what was asked for it already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

from strawberry.dataloader import DataLoader

from federation.subgraphs.loading import OutcomeLoader
from services import errors
from services.client.mesh import MeshClient
from services.client.verdicts import check_made_by, is_final
from services.errors import VisionmeshError
from services.media.record import ImageRecord
from services.media.store import ImageStore
from services.releases.release import Release
from services.releases.releases import DEFAULT_POLICY, Releases
from services.serving import status, tenancy
from visionmesh.common.v1.image_pb2 import ImageRef, ImageSize
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome

MAX_POLICIES: Final = 8
"""Policies that one request may ask for: each asks all of its models (a guess)."""


class Ask(Protocol):
    """A method of the client: one call about many images."""

    async def __call__(
        self, mesh: MeshClient, images: Sequence[ImageRef], /, *, model_version: str = ""
    ) -> Sequence[Any]: ...


class Context:
    """One request's collaborators. Whatever its fields ask of one service goes out in one call."""

    def __init__(
        self,
        mesh: MeshClient,
        images: ImageStore,
        releases: Releases,
        pinned: Release | None = None,
    ) -> None:
        """With a `pinned` release, answers are that release's, or errors."""
        self.mesh = mesh
        self.releases = releases
        self._store = images
        self._pinned = pinned
        self._models: dict[str, OutcomeLoader[Any]] = {}
        self._verdicts: dict[str, OutcomeLoader[ModerationOutcome]] = {}
        self._records: DataLoader[str, ImageRecord] = DataLoader(self._read)
        self._versions: defaultdict[str, set[str]] = defaultdict(set)
        self._named: set[str] = set()
        self._lasts = True

    async def record(self, image_id: str) -> ImageRecord:
        """The tenant's own record of an image. Raises ImageNotFound, StoreUnavailable."""
        return await self._records.load(image_id)

    async def outcome(self, model: str, ask: Ask, image_id: str) -> Any:
        """What a model says about an image: its outcome message, which has a result."""
        loader = self._models.get(model)
        if loader is None:
            loader = self._models[model] = OutcomeLoader(partial(self._ask, model, ask))
        return await loader.load(image_id)

    async def verdict(self, policy: str, image_id: str) -> ModerationOutcome:
        """What a policy says about an image. Raises PolicyNotFound, ReleaseNotFound."""
        policy = policy or DEFAULT_POLICY
        loader = self._verdicts.get(policy)
        if loader is None:
            if len(self._verdicts) == MAX_POLICIES:
                raise errors.InvalidArgument(
                    f"one request may ask for at most {MAX_POLICIES} policies",
                    field="policy",
                    limit=str(MAX_POLICIES),
                )
            loader = self._verdicts[policy] = OutcomeLoader(partial(self._moderate, policy))
        return await loader.load(image_id)

    async def release(self) -> str:
        """The one release that made all that was answered; empty when there is none.

        Half of an answer may come from a replica on another version: then it has no name, and
        nobody may keep it. Neither may a verdict that is open, or that has not seen everything.
        """
        if not self._lasts:
            return ""
        if any(len(versions) != 1 for versions in self._versions.values()):
            return ""
        made = await self.releases.made_by(
            {model: version for model, (version,) in self._versions.items()}
        )
        names = self._named | ({made.name} if self._versions or not self._named else set())
        if self._pinned:
            return self._pinned.name if self._is_pinned() else ""
        return names.pop() if len(names) == 1 else ""

    def _is_pinned(self) -> bool:
        """Whether everything was made by the pinned release, as each part promised to be."""
        assert self._pinned is not None
        made = {model: version for model, (version,) in self._versions.items()}
        return self._named <= {self._pinned.name} and all(
            self._pinned.version(model) == version for model, version in made.items()
        )

    async def _read(self, ids: list[str]) -> Sequence[ImageRecord | BaseException]:
        tenant = tenancy.tenant()
        return [await self._record(tenant, image_id) for image_id in ids]

    async def _record(self, tenant: str, image_id: str) -> ImageRecord | BaseException:
        try:
            return await self._store.get(tenant, image_id)
        except VisionmeshError as error:
            return error

    async def _ask(self, model: str, ask: Ask, refs: Sequence[ImageRef]) -> Sequence[Any]:
        version = ""
        if self._pinned and not (version := self._pinned.version(model)):
            raise errors.ResultNotFound(
                f"the release knows no version of {model!r}", field="release"
            )
        outcomes = await ask(self.mesh, refs, model_version=version)
        self._versions[model] |= {
            outcome.model_version for outcome in outcomes if outcome.HasField("result")
        }
        if not self._versions[model]:
            del self._versions[model]  # nobody answered, and nobody made anything
        return outcomes

    async def _moderate(self, policy: str, refs: Sequence[ImageRef]) -> Sequence[ModerationOutcome]:
        release = self._pinned.name if self._pinned else ""
        outcomes = await self.mesh.moderate(refs, policy, release=release)
        for outcome in outcomes:
            if outcome.HasField("verdict"):
                await self._judge(outcome)
        return outcomes

    async def _judge(self, outcome: ModerationOutcome) -> None:
        """Note who made a verdict, and whether it lasts; one that nobody may have is an error."""
        try:
            if self._pinned:
                check_made_by(self._pinned, outcome.verdict)
            if not outcome.image_size.width:
                # No model looked at the image: is it there at all, and how large is it?
                record = await self.record(outcome.digest)
                outcome.image_size.CopyFrom(ImageSize(width=record.width, height=record.height))
        except errors.StoreUnavailable:
            pass  # the verdict matters more, and it says nothing in the image's favour
        except VisionmeshError as error:
            outcome.error.CopyFrom(status.to_status(error))
            return
        self._named.add(outcome.verdict.release)
        self._lasts &= is_final(outcome)
