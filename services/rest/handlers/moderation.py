"""Verdicts: `/v1/images/{id}/moderation` for a stored image, `/v1/moderations` for new bytes."""

from __future__ import annotations

import time

from aiohttp import web

from services.client.verdicts import is_final
from services.names import image_id
from services.releases.releases import DEFAULT_POLICY, Releases
from services.rest import query, views
from services.rest.answers import Asked, Kind
from services.rest.bodies import BodyReader
from services.rest.deadlines import time_limit
from services.rest.stored import Stored
from services.rest.uploads import Uploads
from services.rest.verdicts import Verdicts
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome


class ModerationHandlers:
    """Gives verdicts, and says without a model that a verdict is still the same."""

    def __init__(
        self,
        verdicts: Verdicts,
        bodies: BodyReader,
        uploads: Uploads,
        releases: Releases,
        stored: Stored,
        kind: Kind,
    ) -> None:
        self._verdicts = verdicts
        self._bodies = bodies
        self._uploads = uploads
        self._releases = releases
        self._stored = stored
        self._kind = kind

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/moderation"""
        asked = self._kind.asked(request, "policy", "release")
        policy = query.policy_name(asked.parameters)
        digest = image_id(request.match_info["id"])
        pinned = asked.release
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(digest, policy or DEFAULT_POLICY, current.name)
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            outcome = await self._verdicts.give(digest, policy, release)
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
            outcome = await self._verdicts.give(digest, policy)
        place = asked.place(f"/v1/images/{digest}/moderation", release=outcome.verdict.release)
        location = {"Location": f"/v1/images/{digest}"}
        return asked.forgotten(views.moderation(outcome), place=place, headers=location)


def _answer(asked: Asked, outcome: ModerationOutcome) -> web.Response:
    view, verdict = views.moderation(outcome), outcome.verdict
    if not is_final(outcome):
        return asked.forgotten(view, place=asked.place(release=verdict.release))
    parts = (outcome.digest, verdict.policy, verdict.release)
    return asked.kept(view, *parts, freshness=asked.freshness(verdict.release))
