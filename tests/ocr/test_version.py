"""The model's version: everything between bytes and lines is part of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import pytest

from models import registry
from services.inference.onnx import OnnxEngine
from services.ocr import model as model_module
from services.ocr.model import CLASSIFIER, DETECTOR, RECOGNIZER, SOURCES, OcrModel
from services.ocr.types import Parameters

FILES = (DETECTOR, CLASSIFIER, RECOGNIZER)
WEIGHTS = {name: registry.find(name).sha256 for name in FILES}


def version(
    weights: Mapping[str, str] = WEIGHTS,
    parameters: Parameters = Parameters(),  # noqa: B008
    precision: str = "fp32",
) -> str:
    engines = {name: OnnxEngine(Path("nothing.onnx"), precision="fp32") for name in FILES}
    engines[RECOGNIZER] = OnnxEngine(Path("nothing.onnx"), precision=precision)
    return OcrModel(engines, weights, parameters).version


@pytest.mark.parametrize("name", [field.name for field in fields(Parameters)])
def test_every_parameter_changes_the_version(name: str):
    """Another value of any parameter is another version."""
    value = getattr(Parameters(), name)
    other = (*value, 4000) if isinstance(value, tuple) else value + 1
    assert version(parameters=replace(Parameters(), **{name: other})) != version()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILES)
def test_every_weight_file_changes_the_version(name: str):
    """Other weights of any of the three files, or another engine, is another version."""
    assert version({**WEIGHTS, name: "0" * 64}) != version()
    assert version(precision="fp16") != version()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_one_line_of_any_source_changes_the_version(
    source: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A line more in any module between bytes and lines is another version."""
    before = version()
    assert source.__file__ is not None
    path = tmp_path / "edited.py"
    path.write_text(Path(source.__file__).read_text("utf-8") + "\nEDITED = True\n", "utf-8")
    spec = importlib.util.spec_from_file_location(source.__name__, path)
    assert spec is not None
    edited = importlib.util.module_from_spec(spec)
    sources = tuple(edited if module is source else module for module in SOURCES)
    monkeypatch.setattr(model_module, "SOURCES", sources)
    assert version() != before
