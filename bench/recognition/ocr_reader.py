"""The OCR model as its process has it, without the process; and how well it read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.recognition.pages import Drawn
from models import registry
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from services.media.decode import inspect
from services.ocr.model import CLASSIFIER, DETECTOR, RECOGNIZER, OcrModel
from services.ocr.types import Line, OcrResult, Parameters


@asynccontextmanager
async def ocr_model(parameters: Parameters | None = None) -> AsyncIterator[OcrModel]:
    """On one thread, with other parameters if there are any."""
    entries = {name: registry.find(name) for name in (DETECTOR, CLASSIFIER, RECOGNIZER)}
    engines = {
        name: OnnxEngine(registry.path(name), precision=entry.precision)
        for name, entry in entries.items()
    }
    for engine in engines.values():
        await engine.load()
    weights = {name: entry.sha256 for name, entry in entries.items()}
    yield OcrModel(engines, weights, parameters or Parameters())
    for engine in engines.values():
        await engine.close()


async def read(model: OcrModel, data: bytes) -> OcrResult:
    info = inspect(data)
    return await model.predict(Picture(data, info.width, info.height))


@dataclass(slots=True)
class Tally:
    """Of lines that were drawn: how many, how many read exactly, and characters wrong of all."""

    lines: int = 0
    exact: int = 0
    characters: int = 0
    wrong: int = 0

    def add(self, drawn: Drawn, said: str) -> None:
        self.lines += 1
        self.exact += said == drawn.text
        self.characters += len(drawn.text)
        self.wrong += distance(drawn.text, said)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.lines + other.lines,
            self.exact + other.exact,
            self.characters + other.characters,
            self.wrong + other.wrong,
        )

    def __str__(self) -> str:
        return f"{self.exact}/{self.lines} exact, {self.wrong}/{self.characters} wrong"


def said_in(drawn: Drawn, lines: Sequence[Line]) -> str:
    """What was read where a line was drawn: of its parts, that order in which they were read."""
    left, top, right, bottom = drawn.box
    parts = []
    for line in lines:
        xs, ys = zip(*line.corners, strict=True)
        x, y = sum(xs) / 4, sum(ys) / 4
        if left <= x <= right and top <= y <= bottom:
            parts.append(line.text)
    return " ".join(parts)


def distance(one: str, other: str) -> int:
    """Levenshtein's: characters to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for above, character in enumerate(one, start=1):
        diagonal, row[0] = row[0], above
        for place, found in enumerate(other, start=1):
            cost = diagonal + (character != found)
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, cost)
    return row[-1]
