"""Objects under paths, on a disk or in a cloud: obstore, made durable, with our errors."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, MemoryStore, from_url

from services import errors
from services.media.folder import Folder, WouldBlock
from services.media.translation import TRANSLATED, unavailable

if TYPE_CHECKING:
    # Only in obstore's stubs, not at run time.
    from obstore import ObjectMeta, PutMode
    from obstore.store import ObjectStore, RetryConfig

RETRY: Final[RetryConfig] = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
"""How long a cloud store may be asked again; obstore's own three minutes outlive any deadline."""

_PATH: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*")
"""Paths that mean the same to every store and every file system."""


class Objects:
    """Objects by path. Every method raises StoreUnavailable when the store fails.

    A path is words of letters, digits, `.`, `_` and `-` between slashes, none of which begins with
    a dot. A reader sees an object whole or not at all: a folder renames, a cloud commits.
    """

    def __init__(self, store: ObjectStore, folder: Folder | None = None) -> None:
        """`folder` is where a local store keeps its files. Use `open`."""
        self._store = store
        self._folder = folder

    @classmethod
    def open(cls, location: str | Path) -> Self:
        """A folder, which is made when missing, or a URL: file, memory, s3, gs, az.

        Credentials and regions come from the environment, as each cloud's own tools read them.
        Raises InvalidArgument when the URL names no store, StoreUnavailable when the folder cannot
        be made.
        """
        try:
            if isinstance(location, Path) or "://" not in location:
                return cls._local(Path(location))
            url = urlsplit(location)
            if url.scheme == "file":
                return cls._local(Path(unquote(url.path)))
            if url.scheme == "memory":
                return cls(MemoryStore())
            return cls(from_url(location, retry_config=RETRY))
        except OSError as error:
            raise unavailable(error) from error
        except (BaseError, ValueError) as error:
            raise errors.InvalidArgument(
                f"store_url: {location!r} names no object store", field="store_url"
            ) from error

    @classmethod
    def _local(cls, root: Path) -> Self:
        folder = Folder(root)
        return cls(LocalStore(folder.root), folder)

    async def get(self, path: str) -> bytes | None:
        """An object, or None when there is none. Cheap: what is in memory needs no thread."""
        _check(path)
        with TRANSLATED:
            if self._folder is None:
                return await self._get_remote(path)
            try:
                return self._folder.read_cached(path)
            except WouldBlock:
                return await asyncio.to_thread(self._folder.read, path)

    def reader(self, path: str) -> Callable[[], bytes | None] | None:
        """What does `get` in a thread and blocks; None where the store is no folder.

        For what a thread needs anyway: what it reads itself is copied once, and still in that
        core's cache when it is used.
        """
        _check(path)
        return None if self._folder is None else partial(_read, self._folder, path)

    async def _get_remote(self, path: str) -> bytes | None:
        try:
            found = await obstore.get_async(self._store, path)
            return (await found.bytes_async()).to_bytes()
        except FileNotFoundError:
            return None

    async def put(self, path: str, data: bytes, *, durable: bool = False) -> None:
        """Write an object. When `durable`, return only when it survives a power cut."""
        await self.put_all({path: data}, durable=durable)

    async def put_all(
        self, objects: Mapping[str, bytes], *, touch: Iterable[str] = (), durable: bool = False
    ) -> None:
        """Write several objects, in no promised order, and sync them together.

        `touch` are made empty where they are missing, and else left as they are.
        """
        empty = list(touch)
        for path in (*objects, *empty):
            _check(path)
        with TRANSLATED:
            if self._folder is not None:
                await asyncio.to_thread(self._folder.write, objects, empty, durable=durable)
                return
            await _all(
                [obstore.put_async(self._store, path, objects[path]) for path in objects]
                + [self._touch_remote(path) for path in empty]
            )

    async def exchange(self, path: str, expected: bytes | None, data: bytes) -> bool:
        """Replace an object durably if it is what is `expected`, None for none; else do nothing.

        False then: somebody else was first, and who wants to goes on from what is there now.
        Of any number of processes that exchange one object, one at a time succeeds.
        """
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.exchange, path, expected, data)
            return await self._exchange_remote(path, expected, data)

    async def _exchange_remote(self, path: str, expected: bytes | None, data: bytes) -> bool:
        mode: PutMode = "create"
        try:
            found = await obstore.get_async(self._store, path)
            if (await found.bytes_async()).to_bytes() != expected:
                return False
            mode = {}  # what a store calls this state of it: either, or both
            if e_tag := found.meta["e_tag"]:
                mode["e_tag"] = e_tag
            if version := found.meta["version"]:
                mode["version"] = version
        except FileNotFoundError:
            if expected is not None:
                return False
        try:
            await obstore.put_async(self._store, path, data, mode=mode)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    async def _touch_remote(self, path: str) -> None:
        with contextlib.suppress(AlreadyExistsError):
            await obstore.put_async(self._store, path, b"", mode="create")

    @property
    def appends(self) -> bool:
        """Whether `append` can be used: clouds cannot add to an object."""
        return self._folder is not None

    async def append(self, path: str, data: bytes) -> bool:
        """Add to the end of an object, in one write; False when there is no such object.

        Never makes one, and syncs nothing. When it fails, a part may have been added. Only where
        `appends` is true.
        """
        return (await self.append_all([(path, data)]))[0]

    async def append_all(self, pieces: Sequence[tuple[str, bytes]]) -> builtins.list[bool]:
        """`append` to several objects at the cost of one: most of it is going to a thread and back.

        What fails keeps nothing else from being written; raises StoreUnavailable afterwards.
        """
        for path, _ in pieces:
            _check(path)
        if self._folder is None:
            raise errors.Internal("this store cannot append")
        with TRANSLATED:
            return await asyncio.to_thread(_append_each, self._folder, pieces)

    async def sync(self, paths: Iterable[str]) -> None:
        """Make names durable that somebody else may have written. Clouds' are already."""
        if self._folder is not None:
            with TRANSLATED:
                await asyncio.to_thread(self._folder.sync, list(paths))

    async def size(self, path: str) -> int | None:
        """An object's length in bytes, or None when there is none."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.size, path)
            try:
                return (await obstore.head_async(self._store, path))["size"]
            except FileNotFoundError:
                return None

    async def sizes(self, paths: Sequence[str]) -> builtins.list[int | None]:
        """Several objects' lengths, in their order, at the cost of one where that is possible."""
        for path in paths:
            _check(path)
        if self._folder is None:
            return await asyncio.gather(*(self.size(path) for path in paths))
        with TRANSLATED:
            return await asyncio.to_thread(lambda folder: [*map(folder.size, paths)], self._folder)

    async def exists(self, path: str) -> bool:
        """Whether there is an object under this path. Cheap: a folder's entry needs no thread."""
        if self._folder is None:
            return await self.size(path) is not None
        _check(path)
        with TRANSLATED:
            return self._folder.size(path) is not None

    async def delete(self, path: str, *, durable: bool = False) -> None:
        """Remove an object; one that is not there is no error."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                await asyncio.to_thread(self._folder.delete, path, durable=durable)
                return
            try:
                await obstore.delete_async(self._store, path)
            except FileNotFoundError:
                return

    async def clear_halves(self, path: str, before: datetime) -> int:
        """Remove what killed writers left directly in a folder before then; how many objects."""
        _check(path)
        if self._folder is None:
            return 0  # a cloud commits
        with TRANSLATED:
            return await asyncio.to_thread(self._folder.clear_halves, path, before)

    async def delete_folder(self, path: str) -> bool:
        """Remove every object below `path`; False when there was none."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.delete_folder, path)
        found = await self.list(path)
        await _all(self.delete(object_path) for object_path in found)
        return bool(found)

    async def list(self, prefix: str) -> builtins.list[str]:
        """The paths of all objects below a folder, sorted."""
        _check(prefix)
        with TRANSLATED:
            if self._folder is not None:
                found = await asyncio.to_thread(_collect, self._store, prefix)
            else:
                found = await obstore.list(self._store, prefix).collect_async()
            return sorted(entry["path"] for entry in found)

    async def names(self, path: str) -> builtins.list[str]:
        """The names directly below a folder, half-written objects' and folders' too; sorted."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.names, path)
        folders, found = await self._level(path)
        return sorted([*folders, *found])

    async def folders(self, path: str) -> builtins.list[str]:
        """The names of the folders directly below a folder, sorted."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.folders, path)
        return sorted((await self._level(path))[0])

    async def ages(self, path: str) -> dict[str, datetime]:
        """The names of the objects directly below a folder, and when each was last written.

        Half-written ones are among them, with a `HALF` in their names.
        """
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.ages, path)
        return (await self._level(path))[1]

    async def tree(self, path: str) -> dict[str, builtins.list[str]]:
        """The folders directly below a folder and the names in each, empty ones too; sorted."""
        _check(path)
        with TRANSLATED:
            if self._folder is not None:
                return await asyncio.to_thread(self._folder.tree, path)
        found: dict[str, builtins.list[str]] = {}
        for entry in await self.list(path):
            folder, _, name = entry.removeprefix(f"{path}/").partition("/")
            if name:
                found.setdefault(folder, []).append(name)
        return found

    async def _level(self, path: str) -> tuple[builtins.list[str], dict[str, datetime]]:
        """One level of a cloud's store: folders' names, and objects' with their ages."""
        with TRANSLATED:
            found = await obstore.list_with_delimiter_async(self._store, path)
            return (
                [prefix.rpartition("/")[2] for prefix in found["common_prefixes"]],
                {
                    entry["path"].rpartition("/")[2]: entry["last_modified"]
                    for entry in found["objects"]
                },
            )


def _read(folder: Folder, path: str) -> bytes | None:
    with TRANSLATED:
        return folder.read(path)


def _append_each(folder: Folder, pieces: Sequence[tuple[str, bytes]]) -> list[bool]:
    written, failure = [], None
    for path, data in pieces:
        try:
            written.append(folder.append(path, data))
        except OSError as error:
            failure = error
    if failure:
        raise failure
    return written


def _collect(store: ObjectStore, prefix: str) -> Sequence[ObjectMeta]:
    return obstore.list(store, prefix).collect()


async def _all(calls: Iterable[Awaitable[Any]]) -> None:
    """Wait for every call, also when one fails: none is left running behind an error."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _check(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise errors.Internal("not a path of an object")
