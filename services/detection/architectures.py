"""The detectors that the service knows: what is between a picture, an engine and a result.

Which of them a weight file is run by stands in the registry of weight files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from models.entry import ModelFile
from services.detection import boxes, dfine, labels, processing
from services.detection.types import DetectionResult, DFineParameters, Parameters
from services.errors import ModelFileError
from services.inference.engine import Engine, Tensors, TensorSpec
from services.inference.picture import Picture
from services.inference.pixels import PIXEL_SOURCES

_UINT8: Final = np.dtype(np.uint8)
_FLOAT32: Final = np.dtype(np.float32)


class Architecture(Protocol):
    """One detector without its weights."""

    @property
    def parameters(self) -> Any:
        """A dataclass: what its processing is set to."""
        ...

    @property
    def sources(self) -> Sequence[ModuleType]:
        """The modules that decide between an image's bytes and what is found in it."""
        ...

    @property
    def input(self) -> TensorSpec:
        """What its weights take."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What its weights must give."""
        ...

    def prepare(self, picture: Picture) -> Tensors:
        """The input for a picture. Raises CorruptImage."""
        ...

    def postprocess(self, outputs: Tensors, width: int, height: int) -> DetectionResult:
        """The result of an image of this size. Raises EngineOutputError."""
        ...


@dataclass(frozen=True, slots=True)
class CenterNet:
    """CenterNet, letterboxed: see processing.py."""

    parameters: Parameters = field(default_factory=Parameters)
    sources: ClassVar[Sequence[ModuleType]] = (processing, boxes, labels, *PIXEL_SOURCES)
    outputs: ClassVar[Sequence[TensorSpec]] = (
        TensorSpec(processing.HEAT, _FLOAT32, (None, len(labels.LABELS), None, None)),
        TensorSpec(processing.REACH, _FLOAT32, (None, 4, None, None)),
    )

    @property
    def input(self) -> TensorSpec:
        side = self.parameters.side
        return TensorSpec(processing.INPUT, _UINT8, (None, side, side, 3))

    def prepare(self, picture: Picture) -> Tensors:
        return processing.prepare(picture, self.parameters)

    def postprocess(self, outputs: Tensors, width: int, height: int) -> DetectionResult:
        return processing.postprocess(outputs, width, height, self.parameters)


@dataclass(frozen=True, slots=True)
class DFine:
    """D-FINE in any of its sizes: see dfine.py."""

    parameters: DFineParameters = field(default_factory=DFineParameters)
    sources: ClassVar[Sequence[ModuleType]] = (dfine, boxes, labels, *PIXEL_SOURCES)
    outputs: ClassVar[Sequence[TensorSpec]] = (
        TensorSpec(dfine.LOGITS, _FLOAT32, (None, None, len(labels.LABELS))),
        TensorSpec(dfine.BOXES, _FLOAT32, (None, None, 4)),
    )

    @property
    def input(self) -> TensorSpec:
        side = self.parameters.side
        return TensorSpec(dfine.INPUT, _FLOAT32, (None, 3, side, side))

    def prepare(self, picture: Picture) -> Tensors:
        return dfine.prepare(picture, self.parameters)

    def postprocess(self, outputs: Tensors, width: int, height: int) -> DetectionResult:
        return dfine.postprocess(outputs, width, height, self.parameters)


ARCHITECTURES: Final[Mapping[str, Architecture]] = {"centernet": CenterNet(), "dfine": DFine()}


def architecture_of(entry: ModelFile) -> Architecture:
    """The architecture that runs a registered file. Raises ModelFileError when none here does."""
    architecture = ARCHITECTURES.get(entry.architecture or "")
    if architecture is None:
        known = ", ".join(ARCHITECTURES)
        has = f"the architecture {entry.architecture!r}" if entry.architecture else "none"
        raise ModelFileError(
            f"the file {entry.name!r} is no detector: its registry entry must name one of the "
            f"architectures {known}, and has {has}"
        )
    return architecture


def warm_up(architecture: Architecture) -> tuple[Tensors, ...]:
    """Inputs of every shape that an engine will see."""
    spec = architecture.input
    return ({spec.name: np.zeros([size or 1 for size in spec.shape], spec.dtype)},)


def check_outputs(architecture: Architecture, engine: Engine) -> None:
    """Raise ModelFileError when a loaded engine's weights are not those of the architecture."""
    given = {spec.name: spec for spec in engine.outputs}
    for wanted in architecture.outputs:
        found = given.get(wanted.name)
        if found is None or not _fits(found, wanted):
            have = ", ".join(map(str, engine.outputs))
            raise ModelFileError(f"the weights have no output {wanted}; they have: {have}")


def _fits(found: TensorSpec, wanted: TensorSpec) -> bool:
    """Whether two shapes can be the same; a size that each call chooses may be any."""
    return (
        found.dtype == wanted.dtype
        and len(found.shape) == len(wanted.shape)
        and all(
            None in sizes or sizes[0] == sizes[1]
            for sizes in zip(found.shape, wanted.shape, strict=True)
        )
    )
