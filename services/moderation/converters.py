"""Between the contract's messages and this service's types."""

from __future__ import annotations

from typing import Any, Final

import structlog

from services import errors
from services.errors import VisionmeshError
from services.moderation.models import ModelSource
from services.moderation.policy import Policy
from services.moderation.types import (
    Answer,
    Decision,
    Evidence,
    Outcome,
    Reason,
    Reply,
    Severity,
    Size,
    Verdict,
)
from services.serving.status import from_status, to_status
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.moderation.v1 import moderation_pb2

_log = structlog.get_logger()

_DECISIONS: Final = {
    Decision.APPROVED: moderation_pb2.DECISION_APPROVED,
    Decision.REJECTED: moderation_pb2.DECISION_REJECTED,
    Decision.UNDETERMINED: moderation_pb2.DECISION_UNDETERMINED,
}
_SEVERITIES: Final = {
    Severity.LOW: moderation_pb2.SEVERITY_LOW,
    Severity.MEDIUM: moderation_pb2.SEVERITY_MEDIUM,
    Severity.HIGH: moderation_pb2.SEVERITY_HIGH,
    Severity.CRITICAL: moderation_pb2.SEVERITY_CRITICAL,
}


def reply_from_proto(source: ModelSource, digest: str, outcome: Any) -> Reply:
    """What a model's outcome message says about the image that it should be about."""
    if outcome.digest != digest:
        return broken_promise(source, "answered for another image", digest)
    if outcome.HasField("error"):
        return from_status(outcome.error)
    if not outcome.HasField("result"):
        return broken_promise(source, "gave neither a result nor an error", digest)
    try:
        source.check(outcome.result)
    except ValueError as error:
        return broken_promise(source, f"gave an impossible result: {error}", digest)
    size = Size(outcome.image_size.width, outcome.image_size.height)
    return Answer(outcome.result, outcome.model_version, size)


def broken_promise(source: ModelSource, cause: str, digest: str = "") -> errors.Internal:
    """The error for an answer that cannot be: what was wrong with it is logged, and not told."""
    _log.error("model broke its promise", model=source.name, cause=cause, digest=digest)
    return errors.Internal("internal error")


def outcome_to_proto(outcome: Outcome) -> moderation_pb2.ModerationOutcome:
    message = moderation_pb2.ModerationOutcome(digest=outcome.digest)
    if outcome.size.width:
        message.image_size.CopyFrom(ImageSize(width=outcome.size.width, height=outcome.size.height))
    if isinstance(outcome.result, VisionmeshError):
        message.error.CopyFrom(to_status(outcome.result))
    else:
        message.verdict.CopyFrom(verdict_to_proto(outcome.result))
    return message


def verdict_to_proto(verdict: Verdict) -> moderation_pb2.Verdict:
    return moderation_pb2.Verdict(
        decision=_DECISIONS[verdict.decision],
        reasons=[_reason_to_proto(reason) for reason in verdict.reasons],
        missing=verdict.missing,
        policy=verdict.policy,
        policy_version=verdict.policy_version,
        model_versions=verdict.model_versions,
        model_errors={name: to_status(error) for name, error in verdict.model_errors.items()},
        unknown_codes=verdict.unknown,
        release=verdict.release,
    )


def policy_to_proto(policy: Policy) -> moderation_pb2.Policy:
    return moderation_pb2.Policy(
        name=policy.name,
        version=policy.version,
        description=policy.description,
        codes=policy.codes,
        models=policy.models,
    )


def _reason_to_proto(reason: Reason) -> moderation_pb2.Reason:
    return moderation_pb2.Reason(
        code=reason.code,
        severity=_SEVERITIES[reason.severity],
        message=reason.message,
        evidence=[_evidence_to_proto(item) for item in reason.evidence],
    )


def _evidence_to_proto(item: Evidence) -> moderation_pb2.Evidence:
    message = moderation_pb2.Evidence(
        model=item.model,
        label=item.label,
        score=item.score,
        corners=[Point(x=corner.x, y=corner.y) for corner in item.corners],
        text=item.text,
    )
    if box := item.box:
        message.box.CopyFrom(Box(x=box.x, y=box.y, width=box.width, height=box.height))
    return message
