"""Verdicts: `/v1/images/{id}/moderation` for a stored image, `/v1/moderations` for new bytes."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from services import errors
from services.client.mesh import MeshClient
from services.errors import ImageNotFound, VisionmeshError
from services.releases.release import Release
from services.releases.releases import DEFAULT_POLICY, Releases
from services.rest import query, views
from services.rest.answers import Asked, Kind
from services.rest.bodies import BodyReader
from services.rest.deadlines import time_limit
from services.rest.stored import Stored
from services.rest.uploads import Uploads
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef, ImageSize
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome, Verdict

_DETERMINED: Final = frozenset((moderation_pb2.DECISION_APPROVED, moderation_pb2.DECISION_REJECTED))


class ModerationHandlers:
    """Gives verdicts, and says without a model that a verdict is still the same."""

    def __init__(
        self,
        mesh: MeshClient,
        bodies: BodyReader,
        uploads: Uploads,
        releases: Releases,
        stored: Stored,
        kind: Kind,
    ) -> None:
        self._mesh = mesh
        self._bodies = bodies
        self._uploads = uploads
        self._releases = releases
        self._stored = stored
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/moderation"""
        asked = self._kind.asked(request, "policy", "release")
        policy = query.policy_name(asked.parameters)
        digest = query.image_id(request.match_info["id"])
        pinned = asked.release
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(digest, policy or DEFAULT_POLICY, current.name)
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            outcome = await self._moderate(digest, policy, pinned)
        if release:
            _check_made_by(release, outcome.verdict)
        return _answer(asked, outcome)

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/moderations"""
        asked = self._kind.asked(request, "policy")
        policy = query.policy_name(asked.parameters)
        begun = time.monotonic()
        async with time_limit(request):
            await self._releases.policy(policy)  # what cannot be judged must leave no image behind
        spent_s = time.monotonic() - begun  # the body has a time of its own, and does not count
        async with self._bodies.image(request) as body, time_limit(request, spent_s):
            digest = (await self._uploads.store(body)).image.digest
            # By digest alone: the store holds the small rendition that the models read, so the
            # bytes need not travel through every hop again.
            outcome = await self._moderate(digest, policy)
        place = asked.place(f"/v1/images/{digest}/moderation", release=outcome.verdict.release)
        location = {"Location": f"/v1/images/{digest}"}
        return asked.forgotten(views.moderation(outcome), place=place, headers=location)

    async def _moderate(self, digest: str, policy: str, release: str = "") -> ModerationOutcome:
        refs = [ImageRef(digest=digest)]
        outcome = (await self._mesh.moderate(refs, policy, release=release))[0]
        if outcome.HasField("error"):
            raise status.from_status(outcome.error)
        if not outcome.image_size.width:
            await self._measure(outcome)
        return outcome

    async def _measure(self, outcome: ModerationOutcome) -> None:
        """No model looked at the image: is it there at all, and how large is it?"""
        try:
            record = await self._stored.image(outcome.digest)
        except ImageNotFound:
            raise
        except VisionmeshError:
            return  # the verdict matters more, and it says nothing in the image's favour
        outcome.image_size.CopyFrom(ImageSize(width=record.width, height=record.height))


def _answer(asked: Asked, outcome: ModerationOutcome) -> web.Response:
    view, verdict = views.moderation(outcome), outcome.verdict
    if not _is_final(outcome):
        return asked.forgotten(view, place=asked.place(release=verdict.release))
    parts = (outcome.digest, verdict.policy, verdict.release)
    return asked.kept(view, *parts, freshness=asked.freshness(verdict.release))


def _is_final(outcome: ModerationOutcome) -> bool:
    """Whether asking again can only give the same answer."""
    verdict = outcome.verdict
    complete = not verdict.missing and not verdict.unknown_codes and outcome.image_size.width
    return bool(complete) and verdict.decision in _DETERMINED


def _check_made_by(release: Release, verdict: Verdict) -> None:
    """Raises Internal for a verdict that is not of the release that it was asked of.

    It would be kept for a year under that release's name.
    """
    made_by = all(
        release.version(name) == version for name, version in verdict.model_versions.items()
    )
    policy = release.policies.get(verdict.policy) == verdict.policy_version
    if verdict.release != release.name or not made_by or not policy:
        raise errors.Internal("the verdict is not of the release that was asked for")
