"""Several models and a verdict about one image: asked all at once, each failing on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services import errors
from services.client.verdicts import is_final
from services.errors import InvalidArgument, VisionmeshError
from services.limits import DEFAULT_TIMEOUT_S
from services.releases.release import Release
from services.releases.releases import Releases
from services.rest import failures
from services.rest.document import MODERATION
from services.rest.model_results import ModelResults
from services.rest.model_views import ModelView, Options
from services.rest.verdicts import Verdicts
from services.serving import deadline
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome

_OF_THE_REQUEST: Final = (
    errors.ImageNotFound,
    errors.PolicyNotFound,
    errors.ReleaseNotFound,
    errors.Unauthenticated,
)
"""What is wrong with a request as a whole, whoever is the first to say so."""

Said = Mapping[str, Any]
"""An outcome, or the VisionmeshError instead of one, of each that was asked by its name."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about an image: which models with which options, and by which policy."""

    digest: str
    options: Mapping[str, Options]
    """Of each model that is asked, by its name."""
    policy: str | None = None
    """None asks for no verdict; empty means the default policy."""
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of a question; at least one has an outcome. All were made by the release."""

    release: Release
    outcomes: Mapping[str, Any]
    failures: Mapping[str, VisionmeshError]

    @property
    def verdict(self) -> ModerationOutcome | None:
        """The outcome that has the verdict; None when there is none."""
        return self.outcomes.get(MODERATION)

    @property
    def complete(self) -> bool:
        """Whether asking again can only give the same."""
        return not self.failures and (self.verdict is None or is_final(self.verdict))

    @property
    def image_size(self) -> ImageSize | None:
        """Of the upright image; None when nobody could say."""
        sizes = (outcome.image_size for outcome in self.outcomes.values())
        return next((size for size in sizes if size.width), None)


class Analysis:
    """Composes what the mesh's models and moderation say."""

    def __init__(
        self, models: Sequence[ModelResults], verdicts: Verdicts, releases: Releases
    ) -> None:
        self._models = {model.view.name: model for model in models}
        self._verdicts = verdicts
        self._releases = releases

    @property
    def views(self) -> Mapping[str, ModelView]:
        """The models that can be asked, by name, in the order of the answer."""
        return {name: model.view for name, model in self._models.items()}

    async def of(self, question: Question) -> Findings:
        """What everybody says; who is late has failed, a little before the current deadline.

        Raises what is wrong with the request as a whole, and one error when all have failed.
        """
        asks = {
            name: self._ask(name, options, question) for name, options in question.options.items()
        }
        if question.policy is not None:
            asks[MODERATION] = self._judge(question.policy, question, question.release)
        # What comes after the answers, to name their release, has a share of the time for itself.
        with deadline.limit(deadline.for_callees_s(DEFAULT_TIMEOUT_S)):
            said = await _all(asks)
            if not question.release:
                said = await self._unmixed(said, question)
        failed = {name: one for name, one in said.items() if isinstance(one, VisionmeshError)}
        outcomes = {name: one for name, one in said.items() if name not in failed}
        if not outcomes:
            raise failures.of_all(failed)
        release = question.release or await self._made_by(outcomes)
        return Findings(release, outcomes, failed)

    async def _ask(self, name: str, options: Options, question: Question) -> Any:
        try:
            return await self._models[name].get(question.digest, options, question.release)
        except InvalidArgument as error:
            if error.field in self.views[name].parameters:
                raise _Refused(misread(self.views[name], error)) from error
            return error
        except VisionmeshError as error:
            return _unless_of_the_request(error)

    async def _judge(self, policy: str, question: Question, release: Release | None) -> Any:
        try:
            return await self._verdicts.give(question.digest, policy, release)
        except VisionmeshError as error:
            return _unless_of_the_request(error)

    async def _unmixed(self, said: Said, question: Question) -> Said:
        """The same, if no model speaks here by one version and in the verdict by another.

        Else the verdict is given again, by the versions that speak here: while two versions of a
        model answer, one name must not stand for a mixture.
        """
        outcomes = {name: one for name, one in said.items() if not isinstance(one, VisionmeshError)}
        verdict, here = outcomes.get(MODERATION), _versions(outcomes)
        if verdict is None or question.policy is None:
            return said
        judged = verdict.verdict.model_versions
        if all(here.get(name, version) == version for name, version in judged.items()):
            return said
        release = await self._made_by(outcomes)
        return {**said, **await _all({MODERATION: self._judge(question.policy, question, release)})}

    async def _made_by(self, outcomes: Mapping[str, Any]) -> Release:
        """The release of outcomes; of a model that speaks by two versions, not the verdict's."""
        models, policies = _versions(outcomes), {}
        if outcome := outcomes.get(MODERATION):
            verdict = outcome.verdict
            models = {**verdict.model_versions, **models}
            policies = {verdict.policy: verdict.policy_version}
        return await self._releases.made_by(models, policies)


class _Refused(Exception):
    """Ends a whole question with its cause's error."""

    def __init__(self, error: VisionmeshError) -> None:
        super().__init__(error.message)
        self.error = error


def misread(view: ModelView, error: InvalidArgument) -> InvalidArgument:
    """An error about one of a model's own parameters, in the words of an analysis."""
    return InvalidArgument(
        f"{view.name}: {error.message}", field=view.parameter(error.field), limit=error.limit
    )


def _unless_of_the_request(error: VisionmeshError) -> VisionmeshError:
    if isinstance(error, _OF_THE_REQUEST):
        raise _Refused(error) from error
    return error


async def _all(asks: Mapping[str, Coroutine[Any, Any, Any]]) -> Said:
    """What each says, at once, until the current deadline."""
    tasks = {name: asyncio.create_task(ask) for name, ask in asks.items()}
    try:
        done, _ = await asyncio.wait(
            tasks.values(),
            timeout=deadline.remaining_s(),
            return_when=asyncio.FIRST_EXCEPTION,
        )
        for raised in [task.exception() for task in done]:
            if isinstance(raised, _Refused):
                raise raised.error
            if raised:
                raise raised
        late = errors.DeadlineExceeded("no answer within the deadline")
        return {name: task.result() if task.done() else late for name, task in tasks.items()}
    finally:
        for task in tasks.values():
            task.cancel()


def _versions(outcomes: Mapping[str, Any]) -> dict[str, str]:
    """The versions by which models speak for themselves."""
    return {name: outcome.model_version for name, outcome in outcomes.items() if name != MODERATION}
