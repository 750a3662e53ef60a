"""Verdicts: `/v1/images/{id}/moderation` for a stored image, `/v1/moderations` for new bytes."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from aiohttp import web

from services.client.mesh import MeshClient
from services.errors import ImageNotFound, VisionmeshError
from services.rest import query, views
from services.rest.answers import Asked, Kind
from services.rest.bodies import BodyReader
from services.rest.deadlines import time_limit
from services.rest.uploads import Uploads
from services.rest.versions import Versions, verdict_parts
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome, Verdict

_DETERMINED = frozenset((moderation_pb2.DECISION_APPROVED, moderation_pb2.DECISION_REJECTED))


class ModerationHandlers:
    """Gives verdicts, and says without a model that a verdict is still the same."""

    def __init__(
        self,
        mesh: MeshClient,
        bodies: BodyReader,
        uploads: Uploads,
        versions: Versions,
        kind: Kind,
    ) -> None:
        self._mesh = mesh
        self._bodies = bodies
        self._uploads = uploads
        self._versions = versions
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/moderation"""
        asked = self._kind.asked(request, "policy")
        policy = query.policy_name(asked.parameters)
        digest = query.image_id(request.match_info["id"])
        async with time_limit(request):
            if asked.if_none_match and (parts := await self._versions.of_policy(policy)):
                tag = asked.etag(digest, *parts)
                if asked.known(tag):
                    await self._mesh.get_image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag)
            outcome = await self._moderate(digest, policy)
        return _answer(asked, outcome)

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/moderations"""
        asked = self._kind.asked(request, "policy")
        policy = query.policy_name(asked.parameters)
        begun = time.monotonic()
        async with time_limit(request):
            await self._versions.policy(policy)  # what cannot be judged must leave no image behind
        spent_s = time.monotonic() - begun  # the body has a time of its own, and does not count
        async with self._bodies.image(request) as body, time_limit(request, spent_s):
            digest = (await self._uploads.store(body)).image.digest
            # By digest alone: the store holds the small rendition that the models read, so the
            # bytes need not travel through every hop again.
            outcome = await self._moderate(digest, policy)
        location = f"/v1/images/{digest}/moderation"
        if policy:
            location += "?" + urlencode({"policy": policy})
        headers = {"Location": f"/v1/images/{digest}", "Content-Location": location}
        return asked.forgotten(views.moderation(outcome), headers=headers)

    async def _moderate(self, digest: str, policy: str) -> ModerationOutcome:
        outcome = (await self._mesh.moderate([ImageRef(digest=digest)], policy))[0]
        if outcome.HasField("error"):
            raise status.from_status(outcome.error)
        if not outcome.image_size.width:
            await self._measure(outcome)
        return outcome

    async def _measure(self, outcome: ModerationOutcome) -> None:
        """No model looked at the image: is it there at all, and how large is it?"""
        try:
            image = await self._mesh.get_image(outcome.digest)
        except ImageNotFound:
            raise
        except VisionmeshError:
            return  # the verdict matters more, and it says nothing in the image's favour
        outcome.image_size.CopyFrom(image.size)


def _answer(asked: Asked, outcome: ModerationOutcome) -> web.Response:
    verdict = outcome.verdict
    view = views.moderation(outcome)
    if not _is_final(verdict):
        return asked.forgotten(view)
    models = dict(verdict.model_versions)
    parts = verdict_parts(verdict.policy, verdict.policy_version, models)
    return asked.kept(view, outcome.digest, *parts)


def _is_final(verdict: Verdict) -> bool:
    """Whether asking again can only give the same verdict."""
    complete = not verdict.missing and not verdict.unknown_codes
    return complete and verdict.decision in _DETERMINED
