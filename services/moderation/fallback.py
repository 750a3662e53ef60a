"""What is known about images that a model gave no answer for: docs/decisions/lost-models.md."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from services import errors
from services.errors import VisionmeshError
from services.moderation.batch import each
from services.moderation.outcome import image_error
from services.moderation.stored import StoredReplies
from services.moderation.types import Answer, Reply
from services.releases.release import Release
from services.releases.releases import Releases
from services.serving.inline import check_digest
from visionmesh.common.v1.image_pb2 import ImageRef

Replies = Mapping[str, Reply]
"""What was said about one image, by model."""

_SAID: Final = (Answer, errors.InvalidArgument)
"""What a stored reply is when a model made it; everything else is why there is none."""

_log = structlog.get_logger()


class Fallback:
    """Stored results in place of answers that did not come.

    No model and no network but the store is asked: a model that hangs has used up nearly all of the
    time when it is given up.
    """

    def __init__(self, stored: StoredReplies, releases: Releases) -> None:
        self._stored = stored
        self._releases = releases

    async def complete(
        self,
        refs: Sequence[ImageRef],
        replies: Sequence[Replies],
        release: Release | None = None,
    ) -> list[Replies | VisionmeshError]:
        """The replies about each image, with stored ones for those that failed.

        Those of a release's versions when one is given, else of the last known ones.
        In place of replies it is the image's own error when the image turns out not to be there, or
        not to be the one that its digest names. Where the store fails, or the current deadline
        comes first, the replies stay as they are.
        """
        incomplete = [index for index, of_image in enumerate(replies) if _is_incomplete(of_image)]
        found = await each(
            incomplete, lambda index: self._complete(refs[index], replies[index], release)
        )
        return [found.get(index, of_image) for index, of_image in enumerate(replies)]

    async def _complete(
        self, ref: ImageRef, replies: Replies, release: Release | None
    ) -> Replies | VisionmeshError:
        try:
            if data := ref.data:  # perhaps no model came to check them
                await check_digest(ref.digest, data)
            size = await self._stored.size(ref.digest)
        except errors.DigestMismatch as error:
            return error
        except errors.ImageNotFound as error:
            return replies if data else error
        except VisionmeshError as error:
            _log.warning("image is not looked up", digest=ref.digest, error=error.message)
            return replies
        versions = {
            name: version
            for name in _failed(replies)
            if (version := await self._version(name, release))
        }
        stored = await asyncio.gather(
            *(
                self._stored.reply(ref.digest, name, version, size)
                for name, version in versions.items()
            )
        )
        found = zip(versions, stored, strict=True)
        said = {name: reply for name, reply in found if isinstance(reply, _SAID)}
        return {**replies, **said}

    async def _version(self, model: str, release: Release | None) -> str:
        return release.version(model) if release else await self._releases.last_version(model)


def _is_incomplete(replies: Replies) -> bool:
    return bool(_failed(replies)) and image_error(replies) is None


def _failed(replies: Replies) -> list[str]:
    return [name for name, reply in replies.items() if not isinstance(reply, Answer)]
