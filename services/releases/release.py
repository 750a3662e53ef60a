"""What a release is: everything that shapes answers, under one name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from services import catalog

NAME: Final = re.compile(r"[0-9a-f]{16}")
"""What names of releases look like."""

VERSION: Final = re.compile(r"[!-~]{0,128}")
"""What versions may look like: models' and policies' are hexadecimal digits, or not known."""

GALLERY_MODELS: Final = frozenset(
    process.model for process in catalog.MODELS if process.model and process.has_gallery
)
"""The models whose answers depend on what a tenant's images are compared with: their versions are
those of the model, followed by the revision of the tenant's gallery."""

GALLERY_DIGITS: Final = 16

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Release:
    """The versions of all models, the gallery's revision and the policies' versions, by name.

    The gallery is that of one tenant: two tenants with brands of their own have two releases.
    A version is empty while it is not known. `name` is a hash of all of them, 16 hexadecimal
    digits: the same versions have the same name in every process of the mesh, for ever.
    """

    models: Mapping[str, str]
    gallery: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", hashlib.sha256(self.encode()).hexdigest()[:16])

    def version(self, model: str) -> str:
        """The version that a model's answers have in this release; empty when that is not known."""
        version = self.models.get(model, "")
        if model not in GALLERY_MODELS:
            return version
        return version + self.gallery if version and self.gallery else ""

    def having(self, models: Mapping[str, str], policies: Mapping[str, str] = NOTHING) -> Release:
        """The release with the versions of these models' answers in place of its own."""
        gallery, own = self.gallery, dict(models)
        for name in GALLERY_MODELS & models.keys():
            own[name], gallery = split(name, models[name])
        return self._with(own, gallery, policies)

    def of_model(self, model: str, version: str) -> Release:
        """The release with this version of a model itself in place of its own."""
        return self._with({model: version}, self.gallery, NOTHING)

    def within(self, gallery: str) -> Release:
        """The release with this gallery in place of its own."""
        return self._with(NOTHING, gallery, NOTHING)

    def _with(
        self, models: Mapping[str, str], gallery: str, policies: Mapping[str, str]
    ) -> Release:
        if (
            models.items() <= self.models.items()
            and gallery == self.gallery
            and policies.items() <= self.policies.items()
        ):
            return self
        return Release({**self.models, **models}, gallery, {**self.policies, **policies})

    def encode(self) -> bytes:
        """The release as JSON, in one form."""
        parts = {
            "models": dict(self.models),
            "gallery": self.gallery,
            "policies": dict(self.policies),
        }
        return json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def of(cls, content: Any, name: str) -> Release:
        """The release of this name out of its parsed JSON. Raises ValueError when it is not it."""
        if not isinstance(content, dict) or not is_version(content.get("gallery")):
            raise ValueError("has no gallery")
        models, policies = versions_of(content.get("models")), versions_of(content.get("policies"))
        release = cls(models, content["gallery"], policies)
        if release.name != name:
            raise ValueError(f"is the release {release.name}")
        return release


def split(model: str, version: str) -> tuple[str, str]:
    """The version of a model's answers as that of the model and the gallery's revision.

    The latter is empty for a model that does not depend on a gallery.
    """
    if model not in GALLERY_MODELS:
        return version, ""
    return version[:-GALLERY_DIGITS], version[-GALLERY_DIGITS:]


def is_version(content: Any) -> bool:
    """Whether what came out of JSON can be a version."""
    return isinstance(content, str) and VERSION.fullmatch(content) is not None


def versions_of(content: Any) -> dict[str, str]:
    """Versions by name, as they came out of JSON. Raises ValueError when they are none."""
    if not isinstance(content, dict) or not all(map(is_version, content.values())):
        raise ValueError("has no versions")
    return content
