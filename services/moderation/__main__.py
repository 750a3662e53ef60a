"""The moderation process: `python -m services.moderation`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import structlog
from pydantic import ValidationError

from services.audit.log import AuditLog
from services.client.mesh import MeshClient
from services.errors import InvalidPolicy, VisionmeshError
from services.media.objects import Objects
from services.media.store import ImageStore
from services.moderation.archive import PolicyArchive
from services.moderation.converters import policy_to_proto
from services.moderation.fallback import Fallback
from services.moderation.models import MODELS, vocabulary
from services.moderation.moderator import Moderator
from services.moderation.policy_set import PolicySet
from services.moderation.recall import Recall
from services.moderation.servicer import ModerationServicer
from services.moderation.settings import ModerationSettings
from services.moderation.stored import StoredReplies
from services.moderation.verdicts import Verdicts
from services.releases.releases import Releases
from services.results.results import Results
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.server import run, serve
from visionmesh.moderation.v1 import moderation_pb2
from visionmesh.moderation.v1.moderation_pb2_grpc import add_ModerationServiceServicer_to_server

ARCHIVE_TIMEOUT_S: Final = 2.0
"""How long a start waits for its policies to be archived: later ones are tried again (a guess)."""

_log = structlog.get_logger()


async def main() -> None:
    settings = ModerationSettings()
    configure_logging("moderation", settings)
    diagnostics = Diagnostics()
    policies = PolicySet(settings.policies_dir, vocabulary(MODELS))
    objects = Objects.open(settings.object_store)
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(
            MeshClient(settings.mesh_address, token=settings.token)
        )
        replica = f"moderation-{settings.port}"
        audit = AuditLog.open(
            settings.audit_url, settings.data_dir, settings.audit_required, replica, diagnostics
        )
        stack.push_async_callback(audit.close)
        results = Results.over(
            objects,
            redis_url=settings.redis_url,
            redis_budget_s=settings.redis_budget_s,
            diagnostics=diagnostics,
        )
        stack.push_async_callback(results.close)

        async def in_use() -> Sequence[moderation_pb2.Policy]:
            return [policy_to_proto(policy) for policy in policies.all()]

        archive = PolicyArchive(objects, vocabulary(MODELS))
        stack.push_async_callback(archive.close)
        releases = Releases(objects, mesh, policies=in_use)
        stack.push_async_callback(releases.close)
        loaded = partial(reload, policies, archive, releases)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, loaded)
        archive.keep(policies.all())
        await archive.settle(ARCHIVE_TIMEOUT_S)
        await releases.start()

        stored = StoredReplies(ImageStore(objects), results, MODELS)
        verdicts = Verdicts(
            policies,
            archive,
            releases,
            Moderator(mesh, MODELS, releases, Fallback(stored, releases)),
            Recall(stored, releases),
        )
        register = partial(
            add_ModerationServiceServicer_to_server, ModerationServicer(verdicts, audit)
        )
        await serve(register, "moderation", settings, diagnostics)


def reload(policies: PolicySet, archive: PolicyArchive, releases: Releases) -> None:
    """Load the policies again; when one of them is bad, the last good ones stay."""
    try:
        policies.reload()
    except InvalidPolicy as error:
        _log.error("policies not loaded", error=error.message)
    else:
        archive.keep(policies.all())
        releases.policies_changed()
        names = [policy.name for policy in policies.all()]
        _log.info("policies loaded", policies=names)


if __name__ == "__main__":
    try:
        run(main())
    except (VisionmeshError, ValidationError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"moderation: {' '.join(str(error).split())}")
