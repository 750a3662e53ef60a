"""Reads single lines: which way up they are, and what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.inference.engine import Engine, Tensors
from services.ocr import crops, decoding
from services.ocr.boxes import Quads
from services.ocr.crops import Crop
from services.ocr.processing import INPUT
from services.ocr.types import Parameters

FLIPPED: Final = "save_infer_model/scale_0.tmp_1"
"""The classifier's output, float32 [n, 2]: how likely a line is upright, and upside down."""

CLASSIFIED_TOGETHER: Final = 16
"""Lines that the classifier sees in one inference."""

T = TypeVar("T")


class Reading(NamedTuple):
    """What a line says when it is read in one direction: quarters clockwise from left to right."""

    text: str
    score: float
    turn: int


class Reader:
    """The classifier and the recognizer."""

    def __init__(self, classifier: Engine, recognizer: Engine, parameters: Parameters) -> None:
        self._classifier = classifier
        self._recognizer = recognizer
        self._parameters = parameters

    async def read(self, rgb: NDArray[np.uint8], quads: Quads) -> list[Reading]:
        """The surest reading of each box, whose corners are in pixels of `rgb`.

        Each is read in its most likely direction, and in the others too when that does not
        convince. Raises EngineError, ModelUnavailable.
        """
        turns = [crops.first_turn(quad, self._parameters) for quad in quads]
        lines = await self._cut(rgb, zip(quads, turns, strict=True))
        for place, flipped in enumerate(await self._flipped(lines)):
            if flipped:
                turns[place] = (turns[place] + 2) % 4
                lines[place] = crops.upside_down(lines[place])
        readings = await self._recognize(lines, turns)
        again = [
            (place, turn)
            for place, reading in enumerate(readings)
            if reading.score < self._parameters.sure
            for turn in crops.other_turns(reading.turn, quads[place], self._parameters)
        ]
        lines = await self._cut(rgb, ((quads[place], turn) for place, turn in again))
        others = await self._recognize(lines, [turn for _, turn in again])
        for (place, _), other in zip(again, others, strict=True):
            if other.score > readings[place].score:
                readings[place] = other
        return readings

    async def _cut(
        self, rgb: NDArray[np.uint8], wanted: Iterable[tuple[NDArray[np.float32], int]]
    ) -> list[Crop]:
        def cut() -> list[Crop]:
            return [
                crops.cut(rgb, crops.turned(quad, turn), self._parameters) for quad, turn in wanted
            ]

        return await asyncio.to_thread(cut)

    async def _flipped(self, lines: Sequence[Crop]) -> list[bool]:
        """Whether the classifier is sure that a line is upside down."""
        batches = [
            lines[start : start + CLASSIFIED_TOGETHER]
            for start in range(0, len(lines), CLASSIFIED_TOGETHER)
        ]
        outputs = await together(
            self._classifier.infer(partial(_classified, some)) for some in batches
        )
        return [
            bool(sure > self._parameters.min_flip)
            for output in outputs
            for sure in output[FLIPPED][:, 1]
        ]

    async def _recognize(self, lines: Sequence[Crop], turns: Sequence[int]) -> list[Reading]:
        widths = [line.shape[1] for line in lines]
        batches = crops.batches(widths, self._parameters)
        texts = await together(
            self._texts([lines[place] for place in places]) for places in batches
        )
        readings = [Reading("", 0.0, turn) for turn in turns]
        for places, said in zip(batches, texts, strict=True):
            for place, (text, score) in zip(places, said, strict=True):
                readings[place] = Reading(text, score, turns[place])
        return readings

    async def _texts(self, lines: Sequence[Crop]) -> list[tuple[str, float]]:
        width = crops.bucket(max(line.shape[1] for line in lines), self._parameters)
        outputs = await self._recognizer.infer(partial(_stacked, lines, width))
        return await asyncio.to_thread(
            decoding.decode, outputs[decoding.OUTPUT], self._alphabet, self._parameters.min_space
        )

    @cached_property
    def _alphabet(self) -> tuple[str, ...]:
        return decoding.alphabet(self._recognizer.metadata[decoding.CHARACTERS])


def _classified(lines: Sequence[Crop]) -> Tensors:
    return {INPUT: crops.classified(lines)}


def _stacked(lines: Sequence[Crop], width: int) -> Tensors:
    return {INPUT: crops.stacked(lines, width)}


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them return, in order; when one fails, or the caller leaves, the others end."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
