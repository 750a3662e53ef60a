"""By what a call is judged, and the name of what judged it: policies, versions, releases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.errors import PolicyNotFound
from services.moderation.archive import PolicyArchive
from services.moderation.moderator import Moderator
from services.moderation.policy import Policy
from services.moderation.policy_set import DEFAULT, PolicySet
from services.moderation.recall import Recall
from services.moderation.types import Outcome, Verdict
from services.releases.release import Release
from services.releases.releases import Releases
from visionmesh.common.v1.image_pb2 import ImageRef


class Verdicts:
    """Verdicts by a policy's name, as the mesh is now or as it was in a release."""

    def __init__(
        self,
        policies: PolicySet,
        archive: PolicyArchive,
        releases: Releases,
        moderator: Moderator,
        recall: Recall,
    ) -> None:
        self._policies = policies
        self._archive = archive
        self._releases = releases
        self._moderator = moderator
        self._recall = recall

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that are in use, by name."""
        return self._policies.all()

    async def moderate(
        self, refs: Sequence[ImageRef], policy: str = "", release: str = ""
    ) -> list[Outcome]:
        """Judge images by running models. Raises PolicyNotFound, ReleaseNotFound.

        The empty names mean the default policy and the mesh as it is.
        """
        pinned, rules = await self._rules(policy, release)
        outcomes = await self._moderator.moderate(refs, rules, pinned)
        return await self._named(outcomes, pinned)

    async def evaluate(
        self,
        digests: Sequence[str],
        policy: str = "",
        release: str = "",
        without: Collection[str] = (),
    ) -> list[Outcome]:
        """Judge images by what is stored alone; the models in `without` count as missing."""
        pinned, rules = await self._rules(policy, release)
        outcomes = await self._recall.evaluate(digests, rules, pinned, without)
        return await self._named(outcomes, pinned)

    async def _rules(self, policy: str, release: str) -> tuple[Release | None, Policy]:
        if not release:
            return None, self._policies.get(policy)
        pinned, name = await self._releases.find(release), policy or DEFAULT
        if version := pinned.policies.get(name):
            return pinned, await self._archive.get(name, version)
        known = ", ".join(pinned.policies)
        raise PolicyNotFound(
            f"the release {release} has no policy {name!r}; it has: {known}", field="policy"
        )

    async def _named(self, outcomes: Sequence[Outcome], pinned: Release | None) -> list[Outcome]:
        """The outcomes, each with the release that made it: two of one batch may differ in
        theirs."""
        verdicts = [one.result for one in outcomes if isinstance(one.result, Verdict)]
        made_by = (
            [pinned] * len(verdicts)
            if pinned
            else await self._releases.made_each(
                [(one.model_versions, {one.policy: one.policy_version}) for one in verdicts]
            )
        )
        names = iter(release.name for release in made_by)
        return [
            replace(outcome, result=replace(outcome.result, release=next(names)))
            if isinstance(outcome.result, Verdict)
            else outcome
            for outcome in outcomes
        ]
