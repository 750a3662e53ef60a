"""What the registry says of one weight file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    """One weight file, `size` bytes long: `member` of a package, or what is converted from it.

    `license` is the weights' SPDX identifier (`NOASSERTION`: their authors state none), `precision`
    what the weights are computed in, `card` the path of the model card below `models/`.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
    description: Text
    member: Text
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    precision: Literal["fp32", "fp16", "int8"]
    license: Text
    card: Text
    wheel: Wheel | None = None
    tarball: Tarball | None = None
    conversion: Conversion | None = None
    preparation: Literal["logos"] | None = None
    """What is made of the file once, as that takes long: see models/preparation.py."""

    @model_validator(mode="after")
    def _one_package(self) -> ModelFile:
        if (self.wheel is None) == (self.tarball is None):
            raise ValueError("needs either a wheel or a tarball")
        return self

    @property
    def package(self) -> Wheel | Tarball:
        """What it comes out of."""
        package = self.wheel or self.tarball
        assert package is not None  # the validator has seen to it
        return package

    @property
    def filename(self) -> str:
        """Its name in the cache, with its hash: two revisions never meet under one name."""
        suffix = ".onnx" if self.conversion else PurePosixPath(self.member).suffix
        return f"{self.name}-{self.sha256[:12]}{suffix}"
