"""What the models said about one image becomes its outcome: a verdict, or the image's own error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from services.errors import ImageNotFound, InvalidArgument, VisionmeshError
from services.moderation.evaluate import evaluate
from services.moderation.policy import Policy
from services.moderation.types import Answer, Outcome, Reply, Size

_log = structlog.get_logger()


def outcome_of(
    policy: Policy, digest: str, replies: Mapping[str, Reply], size: Size | None = None
) -> Outcome:
    """Judge one image by what the models said about it."""
    if error := image_error(replies):
        return Outcome(digest, error)
    verdict = evaluate(policy, replies)
    for failure in verdict.failures:
        _log.warning(
            "an expression has no value",
            policy=policy.name,
            rule=failure.code,
            expression=failure.expression,
            cause=_without_data(failure.cause),
            digest=digest,
        )
    return Outcome(digest, verdict, size or _size(replies))


async def judged(
    policy: Policy, digest: str, replies: Mapping[str, Reply], size: Size | None = None
) -> Outcome:
    """`outcome_of`, outside of the event loop where it can take long: where text is looked through.

    200 lines take 10 to 40 ms (`python -m bench.policies`).
    """
    if policy.language.reads_text:
        return await asyncio.to_thread(outcome_of, policy, digest, replies, size)
    return outcome_of(policy, digest, replies, size)


def image_error(replies: Mapping[str, Reply]) -> VisionmeshError | None:
    """What is wrong with the image itself, as opposed to with a model that was asked about it.

    An image that is not there, cannot be decoded, or is not the one that its digest names, is its
    caller's business, and no verdict. When one model could look at it nevertheless, the other one's
    complaint is its own. Everything else that a model can say leaves the model missing.
    """
    if any(isinstance(reply, Answer) for reply in replies.values()):
        return None
    for name in sorted(replies):
        reply = replies[name]
        if isinstance(reply, InvalidArgument | ImageNotFound):
            return reply
    return None


def _without_data(cause: str) -> str:
    """What went wrong without what it went wrong with, which may be text out of the image."""
    return ":".join(cause.split(":")[:2]).strip()


def _size(replies: Mapping[str, Reply]) -> Size:
    sizes = [reply.size for reply in replies.values() if isinstance(reply, Answer)]
    return next((size for size in sizes if size.width), Size())
