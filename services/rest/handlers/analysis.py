"""`/v1/images/{id}/analysis`: what all models see, and what a policy makes of it, in one answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from services.errors import InvalidArgument
from services.names import image_id
from services.releases.release import Release
from services.releases.releases import DEFAULT_POLICY, Releases
from services.rest import query, views
from services.rest.analysis import Analysis, Findings, Question, misread
from services.rest.answers import Asked, Kind
from services.rest.deadlines import time_limit
from services.rest.document import ANALYSIS, MODERATION
from services.rest.fields import Selector, Shape
from services.rest.model_views import ModelView, Options, tag_parts
from services.rest.selections import SchemaSelections
from services.rest.stored import Stored

INCLUDE: Final = "include"


class AnalysisHandlers:
    """Answers with every part that is included, and says without a model that all are the same."""

    def __init__(
        self,
        analysis: Analysis,
        releases: Releases,
        stored: Stored,
        shape: Shape,
        version: str,
        selections: SchemaSelections,
    ) -> None:
        """`shape` is that of an answer with all parts, `version` that of the code that writes."""
        self._analysis = analysis
        self._views = analysis.views
        self._releases = releases
        self._stored = stored
        self._shape = shape
        self._version = version
        self._selections = selections
        self._kinds: dict[tuple[str, ...], Kind] = {}

    async def get(self, request: web.Request) -> web.Response:
        """GET /v1/images/{id}/analysis"""
        digest = image_id(request.match_info["id"])
        given = query.parse(request.rel_url.raw_query_string, *self._known(self._parts), "fields")
        pinned = query.release_name(given["release"]) if "release" in given else ""
        async with time_limit(request):
            release = await self._releases.find(pinned) if pinned else None
            included = self._included(given, release)
            asked = self._kind(included).asked(request, *self._known(included))
            question = self._question(digest, asked.parameters, included, release)
            asked = replace(asked, parameters=self._written(asked.parameters, question, included))
            if asked.if_none_match:
                current = release or await self._releases.current()
                tag = asked.etag(*_parts(question, current))
                if asked.known(tag):
                    await self._stored.image(digest)  # what is deleted is not unmodified
                    return asked.not_modified(tag, asked.freshness(current.name))
            findings = await self._analysis.of(question)
        return self._answer(asked, question, findings)

    @property
    def _parts(self) -> tuple[str, ...]:
        return (*self._views, MODERATION)

    def _included(self, given: Mapping[str, str], release: Release | None) -> tuple[str, ...]:
        """The parts that are asked for, sorted. Raises InvalidArgument for those that are none.

        All when it is not said which; of a release, all that there were then.
        """
        if INCLUDE not in given:
            there = [name for name in self._views if release is None or name in release.models]
            return tuple(sorted([*there, MODERATION]))
        included = set(given[INCLUDE].split(","))
        if unknown := included.difference(self._parts):
            known = ", ".join(sorted(self._parts))
            raise InvalidArgument(
                f"include: there is no {min(unknown)!r}; there are: {known}",
                field=INCLUDE,
                limit=known,
            )
        return tuple(sorted(included))

    def _known(self, included: Collection[str]) -> list[str]:
        """The parameters that there are when these parts are included."""
        own = [
            view.parameter(name)
            for view in self._views.values()
            if view.name in included
            for name in view.parameters
        ]
        policy = ["policy"] if MODERATION in included else []
        return [INCLUDE, *policy, "release", *own]

    def _kind(self, included: tuple[str, ...]) -> Kind:
        """What `fields` selects from: only from what is included."""
        if included not in self._kinds:  # as many as there are sets of parts
            left_out = set(self._parts) - set(included)
            shape = {name: below for name, below in self._shape.items() if name not in left_out}
            selector = Selector(shape)
            self._kinds[included] = Kind(ANALYSIS, selector, self._version, self._selections)
        return self._kinds[included]

    def _question(
        self,
        digest: str,
        parameters: Mapping[str, str],
        included: Collection[str],
        release: Release | None,
    ) -> Question:
        options = {
            name: _options(view, parameters)
            for name, view in self._views.items()
            if name in included
        }
        policy = query.policy_name(parameters) if MODERATION in included else None
        return Question(digest, options, policy, release)

    def _written(
        self, parameters: Mapping[str, str], question: Question, included: Collection[str]
    ) -> dict[str, str]:
        """The parameters in the one way to write them, with what is included.

        Without it the same place would mean more as soon as the mesh has a further model.
        """
        kept = ("fields", "policy", "release")
        return {
            **{name: value for name, value in parameters.items() if name in kept},
            INCLUDE: ",".join(included),
            **{
                self._views[model].parameter(name): value
                for model, options in question.options.items()
                for name, value in options.items()
            },
        }

    def _answer(self, asked: Asked, question: Question, findings: Findings) -> web.Response:
        name, size = findings.release.name, findings.image_size
        view = {
            "imageId": question.digest,
            "release": name,
            "image": views.size(size) if size else None,
            **{model: self._model_part(model, findings) for model in question.options},
        }
        if question.policy is not None:
            view[MODERATION] = _verdict_part(findings)
        if not findings.complete:
            return asked.forgotten(view, place=asked.place(release=name))
        parts = _parts(question, findings.release)
        return asked.kept(view, *parts, freshness=asked.freshness(name))

    def _model_part(self, model: str, findings: Findings) -> views.Json:
        if error := findings.failures.get(model):
            return views.failed_model_part(error)
        outcome = findings.outcomes[model]
        result = self._views[model].json(outcome.result)
        return views.model_part(model, outcome.model_version, result)


def _verdict_part(findings: Findings) -> views.Json:
    if outcome := findings.verdict:
        return views.verdict_part(outcome.verdict)
    return views.failed_verdict_part(findings.failures[MODERATION])


def _options(view: ModelView, parameters: Mapping[str, str]) -> Options:
    """A model's own options out of what is said for all. Raises InvalidArgument."""
    own = {
        name: parameters[view.parameter(name)]
        for name in view.parameters
        if view.parameter(name) in parameters
    }
    try:
        return view.options(own)
    except InvalidArgument as error:
        raise misread(view, error) from error


def _parts(question: Question, release: Release) -> list[str]:
    """What the entity tag of a complete answer is made of."""
    policy = [] if question.policy is None else [f"policy={question.policy or DEFAULT_POLICY}"]
    models = ["&".join([model, *tag_parts(options)]) for model, options in question.options.items()]
    return [question.digest, release.name, *policy, *models]
