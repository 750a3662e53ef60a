"""What is known of a stored image, and the small file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import orjson

from services.media.info import ImageInfo
from services.media.pixels import RENDITION_VERSION
from services.media.rendition import rendition_size

_VERSION: Final = 2
"""Of the file's layout."""

_OWNERLESS: Final = 1
"""Was written when images had no owners, and lacks `renewedAt`."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One stored image. Sizes are pixels of the upright image.

    `rendition_bytes` is 0 when the original is its own rendition; `rendition_version` says by which
    code and libraries the stored rendition was made. `created_at` is when its owner stored it
    first, `renewed_at` when its owner last uploaded it: retention counts from there.
    """

    digest: str
    media_type: str
    byte_size: int
    width: int
    height: int
    orientation: int
    frames: int
    rendition_width: int
    rendition_height: int
    rendition_bytes: int
    rendition_version: str
    created_at: datetime
    renewed_at: datetime

    @classmethod
    def new(
        cls, digest: str, info: ImageInfo, original: bytes, rendition: bytes, now: datetime
    ) -> Self:
        """The record of an image that is being stored."""
        width, height = rendition_size(info)
        return cls(
            digest=digest,
            media_type=info.media_type,
            byte_size=len(original),
            width=info.width,
            height=info.height,
            orientation=info.orientation,
            frames=info.frames,
            rendition_width=width,
            rendition_height=height,
            rendition_bytes=0 if rendition is original else len(rendition),
            rendition_version=RENDITION_VERSION,
            created_at=now,
            renewed_at=now,
        )

    @property
    def blobs(self) -> dict[str, int]:
        """The names of the image's files beside its record, and their sizes in bytes."""
        files = {"original": self.byte_size}
        if self.rendition_bytes:
            files["rendition"] = self.rendition_bytes
        return files

    def encode(self) -> bytes:
        """The record as JSON."""
        return orjson.dumps(
            {
                "version": _VERSION,
                "digest": self.digest,
                "mediaType": self.media_type,
                "byteSize": self.byte_size,
                "width": self.width,
                "height": self.height,
                "orientation": self.orientation,
                "frames": self.frames,
                "renditionWidth": self.rendition_width,
                "renditionHeight": self.rendition_height,
                "renditionBytes": self.rendition_bytes,
                "renditionVersion": self.rendition_version,
                "createdAt": self.created_at.isoformat(),
                "renewedAt": self.renewed_at.isoformat(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record of a file. Raises ValueError when it is none, as after a power cut."""
        try:
            fields: dict[str, Any] = orjson.loads(data)
            if fields["version"] not in (_VERSION, _OWNERLESS):
                raise ValueError("a record of another version")
            return cls(
                digest=fields["digest"],
                media_type=fields["mediaType"],
                byte_size=fields["byteSize"],
                width=fields["width"],
                height=fields["height"],
                orientation=fields["orientation"],
                frames=fields["frames"],
                rendition_width=fields["renditionWidth"],
                rendition_height=fields["renditionHeight"],
                rendition_bytes=fields["renditionBytes"],
                rendition_version=str(fields["renditionVersion"]),
                created_at=datetime.fromisoformat(fields["createdAt"]),
                renewed_at=datetime.fromisoformat(
                    fields["createdAt" if fields["version"] == _OWNERLESS else "renewedAt"]
                ),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a record of an image") from error


def is_ownerless(data: bytes) -> bool:
    """Whether a shared record is from before images had owners. Raises ValueError as `decode`."""
    return ImageRecord.decode(data) is not None and orjson.loads(data)["version"] == _OWNERLESS
