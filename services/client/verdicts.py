"""What a verdict is worth to who asked for it: whether it lasts, and whose it is."""

from __future__ import annotations

from typing import Final

from services import errors
from services.releases.release import Release
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2 import ModerationOutcome, Verdict

_DETERMINED: Final = frozenset((moderation_pb2.DECISION_APPROVED, moderation_pb2.DECISION_REJECTED))


def is_final(outcome: ModerationOutcome) -> bool:
    """Whether asking again can only give the same answer."""
    verdict = outcome.verdict
    complete = not verdict.missing and not verdict.unknown_codes and outcome.image_size.width
    return bool(complete) and verdict.decision in _DETERMINED


def check_made_by(release: Release, verdict: Verdict) -> None:
    """Raises Internal for a verdict that is not of the release that it was asked of.

    It would be kept for a year under that release's name.
    """
    made_by = all(
        release.version(name) == version for name, version in verdict.model_versions.items()
    )
    policy = release.policies.get(verdict.policy) == verdict.policy_version
    if verdict.release != release.name or not made_by or not policy:
        raise errors.Internal("the verdict is not of the release that was asked for")
