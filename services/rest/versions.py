"""The versions of models and policies: entity tags follow from them before any model runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from services import catalog
from services.client.mesh import MeshClient
from services.errors import PolicyNotFound, VisionmeshError
from services.rest.remembered import Remembered
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.moderation.v1.moderation_pb2 import Policy

DEFAULT_POLICY: Final = "default"
"""What a request without a policy means."""

ASK_TIMEOUT_S: Final = 1.0
"""How long a service may take to describe itself, which it has at hand (a guess)."""

FIRST_RETRY_S: Final = 0.1
"""How soon who did not answer is asked again; a mesh that starts answers within a second or two."""


class Versions:
    """What the models and the policies are now, at most `ttl_s` seconds old."""

    def __init__(self, mesh: MeshClient, ttl_s: float) -> None:
        self._mesh = mesh
        self._ttl_s = ttl_s
        self._models = {
            process.model: Remembered(_asking_model(mesh, process.model), ttl_s)
            for process in catalog.MODELS
            if process.model
        }
        self._policies = Remembered(partial(mesh.list_policies, timeout_s=ASK_TIMEOUT_S), ttl_s)

    @property
    def names(self) -> tuple[str, ...]:
        """The models of the mesh, in the catalog's order."""
        return tuple(self._models)

    async def model(self, name: str) -> Model:
        """A model's description. Raises ModelNotFound, ModelUnavailable."""
        if remembered := self._models.get(name):
            return await remembered.current()
        return await self._mesh.get_model(name)  # which knows how to say that there is none

    async def policies(self) -> list[Policy]:
        """All policies. Raises Unavailable."""
        return await self._policies.current()

    async def policy(self, name: str) -> Policy:
        """A policy by its name, the default one by the empty name. Raises PolicyNotFound."""
        policies = await self.policies()
        for policy in policies:
            if policy.name == (name or DEFAULT_POLICY):
                return policy
        known = ", ".join(policy.name for policy in policies)
        raise PolicyNotFound(f"there is no policy {name!r}; there are: {known}", field="policy")

    async def of_model(self, name: str) -> tuple[str, ...] | None:
        """What a result of this model depends on beside the image; None when it is not known."""
        try:
            return (name, (await self.model(name)).version)
        except VisionmeshError:
            return None

    async def of_policy(self, name: str) -> tuple[str, ...] | None:
        """What a verdict by this policy depends on beside the image; None when it is not known."""
        try:
            policy = await self.policy(name)
            models = {model: (await self.model(model)).version for model in policy.models}
        except VisionmeshError:
            return None
        return verdict_parts(policy.name, policy.version, models)

    async def learn(self) -> None:
        """Ask everything, again and again, until each has answered once.

        So that what a model lost later has made before is still known to be the same.
        """
        unknown: list[Remembered[Any]] = [*self._models.values(), self._policies]
        delay_s = FIRST_RETRY_S
        while unknown:
            answers = await asyncio.gather(
                *(one.current() for one in unknown), return_exceptions=True
            )
            unknown = [
                one
                for one, answer in zip(unknown, answers, strict=True)
                if isinstance(answer, VisionmeshError)
            ]
            if unknown:
                await asyncio.sleep(delay_s)
                delay_s = min(self._ttl_s, 2 * delay_s)

    async def close(self) -> None:
        """Stop asking."""
        await asyncio.gather(*(model.close() for model in self._models.values()))
        await self._policies.close()


def verdict_parts(policy: str, version: str, models: dict[str, str]) -> tuple[str, ...]:
    """What a verdict depends on beside the image, in one order."""
    return (policy, version, *(part for item in sorted(models.items()) for part in item))


def _asking_model(mesh: MeshClient, name: str) -> Callable[[], Awaitable[Model]]:
    return partial(mesh.get_model, name, timeout_s=ASK_TIMEOUT_S)
