"""The moderation subgraph: what a policy makes of what the models see."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, Self

import strawberry
from strawberry import ID, Info

from federation.subgraphs import arguments
from federation.subgraphs.context import Context
from federation.subgraphs.values import (
    Box,
    ModelVersion,
    Point,
    Size,
    box_of,
    points_of,
    size_of,
)
from services.names import image_id
from services.serving import status
from visionmesh.moderation.v1 import moderation_pb2

MAX_REASONS: Final = 100


@strawberry.enum(description="What a policy decides.")
class Decision(Enum):
    APPROVED = strawberry.enum_value(
        "APPROVED", description="No rule holds and every rule is known."
    )
    REJECTED = strawberry.enum_value("REJECTED", description="At least one rule holds.")
    UNDETERMINED = strawberry.enum_value(
        "UNDETERMINED", description="No rule holds and at least one is unknown."
    )


@strawberry.enum(description="How grave it is that a rule holds.")
class Severity(Enum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


_DECISIONS: Final = {
    moderation_pb2.DECISION_APPROVED: Decision.APPROVED,
    moderation_pb2.DECISION_REJECTED: Decision.REJECTED,
}
_COMPLIANT: Final = {Decision.APPROVED: True, Decision.REJECTED: False}
_SEVERITIES: Final = {
    moderation_pb2.SEVERITY_LOW: Severity.LOW,
    moderation_pb2.SEVERITY_MEDIUM: Severity.MEDIUM,
    moderation_pb2.SEVERITY_HIGH: Severity.HIGH,
    moderation_pb2.SEVERITY_CRITICAL: Severity.CRITICAL,
}


@strawberry.type(description="What a rule saw.")
class Evidence:
    model: str = strawberry.field(description="The model that saw it.")
    label: str = strawberry.field(description="What it is.")
    score: float | None = strawberry.field(description="How sure the model is, in its own unit.")
    box: Box | None = strawberry.field(description="Where it is, when it has a place.")
    corners: list[Point] | None = strawberry.field(
        description="Its four corners, of what may stand askew."
    )
    text: str | None = strawberry.field(description="The line of text that it was seen in.")


@strawberry.type(description="A rule that holds.")
class RejectionReason:
    code: str = strawberry.field(description="The rule's code.")
    severity: Severity = strawberry.field(description="How grave it is.")
    message: str = strawberry.field(description="One sentence for a person.")
    evidence: list[Evidence] = strawberry.field(description="What the rule saw.")


@strawberry.type(description="A policy, as it was when it was applied.")
class PolicyVersion:
    name: str = strawberry.field(description="As a request names it.")
    version: str = strawberry.field(description="Hash of its content.")


@strawberry.type(description="Why a model did not answer.")
class ModelError:
    model: str = strawberry.field(description="The model's name.")
    code: str = strawberry.field(description="As in errors' `extensions.code`.")
    detail: str = strawberry.field(description="One sentence for a person.")


@strawberry.type(description="What a policy says about one image.")
class Moderation:
    verdict: strawberry.Private[moderation_pb2.Verdict]
    image: Size | None = strawberry.field(description="Null when nobody could say in time.")

    @strawberry.field(
        description="True when no rule holds and none is unknown, false when one holds, else null: "
        "take null as not compliant."
    )
    def is_compliant(self) -> bool | None:
        return _COMPLIANT.get(_decision(self.verdict))

    @strawberry.field(description="What the policy decides.")
    def decision(self) -> Decision:
        return _decision(self.verdict)

    @strawberry.field(description="The rules that hold, most severe first.")
    def rejection_reasons(
        self,
        first: Annotated[
            int | None, strawberry.argument(description="Leaves out what comes after so many.")
        ] = None,
    ) -> list[RejectionReason]:
        most = arguments.first(first, MAX_REASONS)
        return [_reason(reason) for reason in self.verdict.reasons[:most]]

    @strawberry.field(description="Models that the policy reads and that did not answer.")
    def missing(self) -> list[str]:
        return list(self.verdict.missing)

    @strawberry.field(description="Codes of the rules that are unknown, in the policy's order.")
    def unknown_codes(self) -> list[str]:
        return list(self.verdict.unknown_codes)

    @strawberry.field(description="The policy that was applied.")
    def policy(self) -> PolicyVersion:
        return PolicyVersion(name=self.verdict.policy, version=self.verdict.policy_version)

    @strawberry.field(description="The models that answered, by name.")
    def models(self) -> list[ModelVersion]:
        versions = sorted(self.verdict.model_versions.items())
        return [ModelVersion(name=name, version=version) for name, version in versions]

    @strawberry.field(description="Why the missing models did not answer, by name.")
    def errors(self) -> list[ModelError]:
        found = sorted(self.verdict.model_errors.items())
        told = [(name, status.from_status(error)) for name, error in found]
        return [
            ModelError(model=name, code=error.code, detail=error.message) for name, error in told
        ]

    @strawberry.field(description="Names all that made the verdict.")
    def release(self) -> str:
        return self.verdict.release


@strawberry.federation.type(name="Image", keys=["id"], description="A stored image.")
class ModerationImage:
    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=ID(image_id(id)))

    @strawberry.field(description="What a policy says about it.")
    async def moderation(
        self,
        info: Info[Context, None],
        policy: Annotated[str, strawberry.argument(description="The policy's name.")] = "default",
    ) -> Moderation | None:
        outcome = await info.context.verdict(policy, self.id)
        size = size_of(outcome.image_size) if outcome.image_size.width else None
        return Moderation(verdict=outcome.verdict, image=size)


def _decision(verdict: moderation_pb2.Verdict) -> Decision:
    # Anything that is neither is not determined: it fails closed.
    return _DECISIONS.get(verdict.decision, Decision.UNDETERMINED)


def _reason(reason: moderation_pb2.Reason) -> RejectionReason:
    return RejectionReason(
        code=reason.code,
        severity=_SEVERITIES.get(reason.severity, Severity.CRITICAL),
        message=reason.message,
        evidence=[_evidence(seen) for seen in reason.evidence],
    )


def _evidence(seen: moderation_pb2.Evidence) -> Evidence:
    return Evidence(
        model=seen.model,
        label=seen.label,
        score=seen.score if seen.HasField("score") else None,
        box=box_of(seen.box) if seen.HasField("box") else None,
        corners=points_of(seen.corners) or None,
        text=seen.text or None,
    )
