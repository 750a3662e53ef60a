"""The moderation process: `python -m services.moderation`."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial

import structlog
from pydantic import ValidationError

from services import catalog
from services.client.mesh import MeshClient
from services.errors import InvalidPolicy, VisionmeshError
from services.media.objects import Objects
from services.media.store import ImageStore
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.servicer import ModerationServicer
from services.moderation.settings import ModerationSettings
from services.moderation.stored import StoredReplies
from services.moderation.versions import ModelVersions
from services.results.store import ResultStore
from services.serving.logs import configure_logging
from services.serving.server import run, serve
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server

_log = structlog.get_logger()


async def main() -> None:
    settings = ModerationSettings()
    configure_logging("moderation", settings)
    policies = PolicySet(settings.policies_dir, vocabulary(MODELS))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload, policies)
    objects = Objects.open(settings.object_store)
    async with MeshClient(settings.mesh_address) as mesh:
        stored = StoredReplies(ImageStore(objects), ResultStore(objects), MODELS)
        versions = ModelVersions(mesh)
        moderator = Moderator(mesh, MODELS, versions, Fallback(stored, versions))
        servicer = ModerationServicer(policies, moderator, Recall(stored, versions))
        register = partial(add_ModerationServiceServicer_to_server, servicer)
        await serve(register, catalog.BY_NAME["moderation"].grpc_service or "", settings)


def reload(policies: PolicySet) -> None:
    """Load the policies again; when one of them is bad, the last good ones stay."""
    try:
        policies.reload()
    except InvalidPolicy as error:
        _log.error("policies not loaded", error=error.message)
    else:
        names = [policy.name for policy in policies.all()]
        _log.info("policies loaded", policies=names)


if __name__ == "__main__":
    try:
        run(main())
    except (VisionmeshError, ValidationError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"moderation: {' '.join(str(error).split())}")
