"""Load on a whole mesh: REST, GraphQL and gRPC at the same time, about photos old and new."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image

from services.catalog import MODELS
from tests.detection.pictures import encoded, photo
from tests.support.graph import ask, document, get
from tests.support.whole import Answer, World
from visionmesh.common.v1.image_pb2 import ImageRef

TIMEOUT_S = 60.0
"""The longest that a call may ask for: a busy machine loses nothing by being slow."""

PATIENCE_S = 120.0
"""How long a round of each kind of work may take."""

SIZE = (320, 240)

EVERYTHING = """
query ($ids: [ID!]!) {
  images(ids: $ids) {
    width
    nsfw { score }
    detection { detections { label } }
    ocr { text }
    logo { logos { brand } }
    moderation { isCompliant }
  }
}
"""

UPLOAD = "mutation ($file: Upload!) { uploadImage(file: $file) { image { id } } }"


def photos() -> Iterator[bytes]:
    """Details of real photos as JPEGs, no two of them alike."""
    pictures = [photo(name) for name in ("astronaut", "cat")]
    for number in itertools.count():
        picture = pictures[number % 2]
        left, top = number % 53, number // 2 % 37
        detail = picture.crop((left, top, picture.width - 53 + left, picture.height - 37 + top))
        yield encoded(detail.resize(SIZE, Image.Resampling.BILINEAR), 80 + number // 4000)


@dataclass
class Load:
    """What was asked, and what failed of it."""

    world: World
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    _photos: Iterator[bytes] = field(default_factory=photos)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lasted_s(self) -> float:
        return time.monotonic() - self.began

    async def moderate(self, _known: str) -> None:
        """A new photo by REST: its verdict, the verdict again, and gone."""
        answer = await self._rest(
            "POST", "/v1/moderations", data=next(self._photos), content_type="image/jpeg"
        )
        path = f"/v1/images/{answer.json['imageId']}"
        await self._rest("GET", f"{path}/moderation")
        await self._rest("DELETE", path)

    async def analyse(self, known: str) -> None:
        """A new photo and a known one by REST: everything about them, much of it stored."""
        new = await self.world.upload(next(self._photos))
        for digest in (new, known):
            answer = await self._rest("GET", f"/v1/images/{digest}/analysis")
            for name in (*(model.name for model in MODELS), "moderation"):
                assert not answer.json[name]["error"], answer.body
        await self._rest("GET", f"/v1/images/{known}/nsfw")

    async def query(self, known: str) -> None:
        """A new photo and a known one by GraphQL, from the upload to each model's field."""
        new = await self._upload()
        found = await ask(self.world, EVERYTHING, headers=_PATIENT, ids=[new, known])
        assert found.status == 200, found.body
        assert not found.places, found.body
        kept = await get(self.world, document("Verdict"), headers=_PATIENT, id=known)
        assert kept.status == 200, kept.body
        assert not kept.places, kept.body

    async def call(self, known: str) -> None:
        """A new photo and a known one by gRPC, alone and in batches."""
        grpc = self.world.grpc
        created = await grpc.create_image(next(self._photos), timeout_s=TIMEOUT_S)
        refs = [ImageRef(digest=digest) for digest in (created.image.digest, known)]
        calls: tuple[Callable[..., Awaitable[Any]], ...] = (
            grpc.classify,
            grpc.detect,
            grpc.read,
            grpc.recognize,
            grpc.moderate,
        )
        for outcomes in [
            await grpc.classify(refs[:1], timeout_s=TIMEOUT_S),
            *await asyncio.gather(*(call(refs, timeout_s=TIMEOUT_S) for call in calls)),
        ]:
            assert not [one for one in outcomes if one.HasField("error")], outcomes
        await grpc.delete_image(created.image.digest, timeout_s=TIMEOUT_S)

    async def repeat(self, work: Callable[[str], Awaitable[None]], known: list[str]) -> None:
        """Do one thing after another until the load ends."""
        for digest in itertools.cycle(known):
            if self._ended.is_set():
                return
            began = time.monotonic()
            try:
                await work(digest)
            except Exception as error:
                self.failed.append(f"{self.lasted_s:.1f} s: {work.__name__}: {error!r}")
            self.done[work.__name__] += 1
            self._progress.set()
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    async def until_each(self, count: int) -> None:
        """Wait until each kind of work was done so often, or something has failed."""

        async with asyncio.timeout(PATIENCE_S):
            while not self.failed and min(self.done[name] for name in _KINDS) < count:
                self._progress.clear()
                await self._progress.wait()

    def end(self) -> None:
        self._ended.set()

    async def _rest(self, method: str, path: str, **more: Any) -> Answer:
        answer = await self.world.call(method, path, **more)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer

    async def _upload(self) -> str:
        form = aiohttp.FormData()
        form.add_field("operations", json.dumps({"query": UPLOAD, "variables": {"file": None}}))
        form.add_field("map", json.dumps({"0": ["variables.file"]}))
        form.add_field("0", next(self._photos), filename="a.jpg", content_type="image/jpeg")
        url = f"{self.world.mesh.edge_url}/graphql"
        headers = {"apollo-require-preflight": "1", "x-request-timeout-ms": "60000"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=form, headers=headers) as response,
        ):
            content = await response.json()
        assert "errors" not in content, content
        digest: str = content["data"]["uploadImage"]["image"]["id"]
        return digest


_KINDS = ("moderate", "analyse", "query", "call")
_PATIENT = {"x_request_timeout_ms": str(int(TIMEOUT_S * 1000))}


@asynccontextmanager
async def load(world: World) -> Any:
    """Load on a mesh for as long as the context lasts; on leaving, what was begun is finished."""
    work = Load(world)
    known = [await world.upload(next(work._photos)) for _ in range(3)]
    async with asyncio.TaskGroup() as tasks:
        for kind in _KINDS:
            tasks.create_task(work.repeat(getattr(work, kind), known))
        try:
            yield work
        finally:
            work.end()
