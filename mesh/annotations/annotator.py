"""Asks what there is to see in an image, and leaves a picture of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from mesh.annotations.drawing import Annotations, draw
from mesh.annotations.files import names_of, save
from mesh.annotations.places import PLACES, places_of
from mesh.annotations.strip import Strip
from mesh.annotations.typeface import Typeface
from mesh.errors import InvalidOption
from services.client.mesh import MeshClient
from services.errors import VisionmeshError
from services.media.decode import decode_rgb, inspect
from services.rest.model_views import MODEL_VIEWS, ModelView
from services.serving import status
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.moderation.v1.moderation_pb2 import Verdict

AT_ONCE: Final = 2
"""Pictures that are drawn at the same time: a large photo takes some hundred megabytes."""

LOSSLESS: Final = frozenset({"image/png", "image/gif"})


class Annotator:
    """Draws onto copies of images, into one folder."""

    def __init__(self, client: MeshClient, folder: Path, labels: Iterable[str]) -> None:
        """`labels` are those of all images, in their order, for names that do not clash.

        Makes the folder. Raises InvalidOption when that cannot be.
        """
        self._client = client
        self._folder = folder
        self._names = names_of(labels)
        self._typeface = Typeface()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._views = [view for view in MODEL_VIEWS if view.name in PLACES]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    async def annotate(self, number: int, data: bytes, digest: str, verdict: Verdict) -> Path:
        """Leave a picture of the image that came as the `number`th; where.

        A model that does not answer is named in the picture. Raises CorruptImage, and InvalidOption
        when the folder cannot be written to.
        """
        asked = await asyncio.gather(*(self._ask(view, digest) for view in self._views))
        said = dict(zip((view.name for view in self._views), asked, strict=True))
        failures = {name: one for name, one in said.items() if isinstance(one, VisionmeshError)}
        results = {name: one for name, one in said.items() if name not in failures}
        counts = {name: len(list(PLACES[name](result))) for name, result in results.items()}
        strip = Strip(verdict, counts, failures)
        annotations = Annotations(places_of(results, verdict), strip)
        async with self._slots:
            try:
                return await asyncio.to_thread(self._draw, number, data, annotations)
            except OSError as error:
                raise self._unwritable(error) from error

    async def _ask(self, view: ModelView, digest: str) -> Any:
        """A model's result, of it what REST answers when nobody says otherwise; or its error."""
        try:
            image = ImageRef(digest=digest)
            [outcome] = await view.ask(self._client, [image], "", view.options({}))
            if outcome.HasField("error"):
                raise status.from_status(outcome.error)
        except VisionmeshError as error:
            return error
        return outcome.result

    def _draw(self, number: int, data: bytes, annotations: Annotations) -> Path:
        picture = draw(decode_rgb(data), annotations, self._typeface)
        lossless = inspect(data).media_type in LOSSLESS
        return save(picture, self._folder, self._names[number], lossless=lossless)

    def _unwritable(self, error: OSError) -> InvalidOption:
        return InvalidOption(f"--annotate {self._folder}: {(error.strerror or str(error)).lower()}")
