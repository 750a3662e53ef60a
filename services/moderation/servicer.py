"""The gRPC face of moderation: convert, delegate, convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import grpc

from services.moderation.converters import outcome_to_proto, policy_to_proto
from services.moderation.types import Outcome
from services.moderation.verdicts import Verdicts
from services.serving import tenancy, tracing
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import ModerationServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class Audit(Protocol):
    """Where verdicts are recorded, and read again: `services.audit.log.AuditLog`."""

    async def record(
        self,
        tenant: str,
        verdicts: Sequence[tuple[str, moderation_pb2.Verdict]],
        trace_id: str,
    ) -> None: ...

    async def confirm(self, tenant: str, request: moderation_pb2.EvaluateRequest) -> None: ...

    async def page(
        self, tenant: str, page_size: int = 0, page_token: str = "", digest: str = ""
    ) -> moderation_pb2.ListAuditEntriesResponse: ...


class ModerationServicer(ModerationServiceServicer):
    """Serves `visionmesh.moderation.v1.ModerationService`."""

    def __init__(self, verdicts: Verdicts, audit: Audit) -> None:
        self._verdicts = verdicts
        self._audit = audit

    async def Moderate(
        self, request: moderation_pb2.ModerateRequest, context: Context
    ) -> moderation_pb2.ModerateResponse:
        outcomes = await self._verdicts.moderate(request.images, request.policy, request.release)
        return moderation_pb2.ModerateResponse(outcomes=await self._recorded(outcomes))

    async def Evaluate(
        self, request: moderation_pb2.EvaluateRequest, context: Context
    ) -> moderation_pb2.EvaluateResponse:
        if request.replays:
            await self._audit.confirm(tenancy.tenant(), request)
        outcomes = await self._verdicts.evaluate(
            request.digests, request.policy, request.release, request.without
        )
        if request.replays:  # on record, as has been confirmed
            return moderation_pb2.EvaluateResponse(outcomes=map(outcome_to_proto, outcomes))
        return moderation_pb2.EvaluateResponse(outcomes=await self._recorded(outcomes))

    async def ListPolicies(
        self, request: moderation_pb2.ListPoliciesRequest, context: Context
    ) -> moderation_pb2.ListPoliciesResponse:
        policies = map(policy_to_proto, self._verdicts.policies)
        return moderation_pb2.ListPoliciesResponse(policies=policies)

    async def ListAuditEntries(
        self, request: moderation_pb2.ListAuditEntriesRequest, context: Context
    ) -> moderation_pb2.ListAuditEntriesResponse:
        return await self._audit.page(
            tenancy.tenant(), request.page_size, request.page_token, request.digest
        )

    async def _recorded(
        self, outcomes: Sequence[Outcome]
    ) -> list[moderation_pb2.ModerationOutcome]:
        """The outcomes as messages; none is given that should be on record and is not."""
        messages = [outcome_to_proto(outcome) for outcome in outcomes]
        verdicts = [(one.digest, one.verdict) for one in messages if one.HasField("verdict")]
        await self._audit.record(tenancy.tenant(), verdicts, tracing.trace_id())
        return messages
