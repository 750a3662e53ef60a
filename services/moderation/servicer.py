"""The gRPC face of moderation: convert, delegate, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.moderation.converters import outcome_to_proto, policy_to_proto
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import ModerationServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class ModerationServicer(ModerationServiceServicer):
    """Serves `visionmesh.moderation.v1.ModerationService`."""

    def __init__(self, policies: PolicySet, moderator: Moderator, recall: Recall) -> None:
        self._policies = policies
        self._moderator = moderator
        self._recall = recall

    async def Moderate(
        self, request: moderation_pb2.ModerateRequest, context: Context
    ) -> moderation_pb2.ModerateResponse:
        policy = self._policies.get(request.policy)
        outcomes = await self._moderator.moderate(request.images, policy)
        return moderation_pb2.ModerateResponse(outcomes=map(outcome_to_proto, outcomes))

    async def Evaluate(
        self, request: moderation_pb2.EvaluateRequest, context: Context
    ) -> moderation_pb2.EvaluateResponse:
        policy = self._policies.get(request.policy)
        outcomes = await self._recall.evaluate(request.digests, policy)
        return moderation_pb2.EvaluateResponse(outcomes=map(outcome_to_proto, outcomes))

    async def ListPolicies(
        self, request: moderation_pb2.ListPoliciesRequest, context: Context
    ) -> moderation_pb2.ListPoliciesResponse:
        policies = map(policy_to_proto, self._policies.all())
        return moderation_pb2.ListPoliciesResponse(policies=policies)
