"""What a release is: everything that shapes answers, under one name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

NAME: Final = re.compile(r"[0-9a-f]{16}")
"""What names of releases look like."""

VERSION: Final = re.compile(r"[!-~]{0,128}")
"""What versions may look like: models' and policies' are hexadecimal digits, or not known."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Release:
    """The versions of all models, the gallery's revision and the policies' versions, by name.

    A version is empty while it is not known. `name` is a hash of all of them, 16 hexadecimal
    digits: the same versions have the same name in every process of the mesh, for ever.
    """

    models: Mapping[str, str]
    gallery: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", hashlib.sha256(self.encode()).hexdigest()[:16])

    def having(self, models: Mapping[str, str], policies: Mapping[str, str] = NOTHING) -> Release:
        """The release with these versions in place of its own."""
        if models.items() <= self.models.items() and policies.items() <= self.policies.items():
            return self
        return Release({**self.models, **models}, self.gallery, {**self.policies, **policies})

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
        if not isinstance(content, dict) or not isinstance(content.get("gallery"), str):
            raise ValueError("has no gallery")
        models, policies = versions_of(content.get("models")), versions_of(content.get("policies"))
        release = cls(models, content["gallery"], policies)
        if release.name != name:
            raise ValueError(f"is the release {release.name}")
        return release


def is_version(content: Any) -> bool:
    """Whether what came out of JSON can be a version."""
    return isinstance(content, str) and VERSION.fullmatch(content) is not None


def versions_of(content: Any) -> dict[str, str]:
    """Versions by name, as they came out of JSON. Raises ValueError when they are none."""
    if not isinstance(content, dict) or not all(map(is_version, content.values())):
        raise ValueError("has no versions")
    return content
