"""Releases in the object store: found again by every process, after every restart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from services import errors
from services.media.objects import Objects
from services.releases.release import NAME, Release, is_version, versions_of

_POLICIES: Final = "releases/last/policies.json"

_log = structlog.get_logger()


class Registry:
    """The releases that were ever named, and the versions that were heard of last.

    Every method raises StoreUnavailable when the store fails. What cannot be read is as if it were
    not there, and is written anew when its time comes.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def find(self, name: str) -> Release:
        """A release by its name. Raises ReleaseNotFound."""
        if release := await self._release(name):
            return release
        raise errors.ReleaseNotFound(f"there is no release {name!r}", field="release")

    async def publish(self, release: Release) -> None:
        """Make sure that a release is found from now on, also after a power cut."""
        path = _path(release.name)
        if await self._release(release.name):
            await self._objects.sync([path])  # whoever wrote it may have died before it was synced
        else:
            await self._objects.put(path, release.encode(), durable=True)

    async def last_models(self, names: Iterable[str]) -> dict[str, str]:
        """The versions that were heard of last, of those models that were."""
        found = {name: await self._read(_last(name)) for name in names}
        return {name: version for name, version in found.items() if is_version(version)}

    async def last_policies(self) -> dict[str, str]:
        """The versions of the policies that were heard of last, by name."""
        found = await self._read(_POLICIES)
        try:
            return {} if found is None else versions_of(found)
        except ValueError:
            return {}

    async def keep(self, models: Mapping[str, str], policies: Mapping[str, str]) -> None:
        """Keep what was heard of last: these models', and all policies unless there are none.

        One object a model: processes that hear of different ones do not undo each other.
        """
        written: dict[str, Any] = {_last(name): version for name, version in models.items()}
        if policies:
            written[_POLICIES] = dict(policies)
        if written:
            encoded = {path: json.dumps(content).encode() for path, content in written.items()}
            await self._objects.put_all(encoded, durable=True)

    async def _release(self, name: str) -> Release | None:
        if not NAME.fullmatch(name):
            return None
        content = await self._read(_path(name))
        try:
            return None if content is None else Release.of(content, name)
        except ValueError as error:
            _log.error("release is not readable", release=name, reason=str(error))
            return None

    async def _read(self, path: str) -> Any:
        data = await self._objects.get(path)
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError) as error:
            _log.error("not readable", path=path, reason=str(error))
            return None


def _path(name: str) -> str:
    return f"releases/{name}.json"


def _last(model: str) -> str:
    return f"releases/last/models/{model}.json"
