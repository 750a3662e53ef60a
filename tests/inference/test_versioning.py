"""A model's version follows everything that shapes its output, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from services.fingerprint import fingerprint
from services.inference import engine as a_module
from services.inference.engine import EngineDescription
from services.inference.versioning import model_version

ENGINE = EngineDescription("onnxruntime", "1.0", "CPUExecutionProvider", "fp32")
GIVEN: dict[str, Any] = {
    "weights": "0" * 64,
    "parameters": {"threshold": 0.5, "means": (1.0, 2.0)},
    "sources": (a_module,),
    "libraries": ("pillow",),
    "engine": ENGINE,
}


def copied(folder: Path, module: ModuleType, old: str = "", new: str = "") -> ModuleType:
    """A module of the same name from a copy of its file, with `old` edited to `new`."""
    assert module.__file__ is not None
    text = Path(module.__file__).read_text("utf-8")
    assert old in text
    path = folder / "copy.py"
    path.write_text(text.replace(old, new, 1), "utf-8")
    spec = importlib.util.spec_from_file_location(module.__name__, path)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def test_form():
    """A version is 16 lower-case hexadecimal digits."""
    assert len(model_version(**GIVEN)) == 16
    int(model_version(**GIVEN), 16)


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": "1" * 64},
        {"parameters": {"threshold": 0.6, "means": (1.0, 2.0)}},
        {"parameters": {"threshold": 0.5, "means": (2.0, 1.0)}},
        {"parameters": {"threshold": 0.5, "means": (1.0, 2.0), "more": None}},
        {"sources": ()},
        {"libraries": ("simplejpeg",)},
        {"engine": replace(ENGINE, version="1.1")},
        {"engine": replace(ENGINE, provider="CUDAExecutionProvider")},
        {"engine": replace(ENGINE, precision="fp16")},
    ],
    ids=str,
)
def test_everything_that_shapes_the_output_changes_it(changed: dict[str, Any]):
    """Weights, parameters, sources, libraries and engine each give another version."""
    assert model_version(**GIVEN | changed) != model_version(**GIVEN)


def test_each_file_of_several_changes_it():
    """Of a model of several files each one's weights and engine count, in whatever order."""
    given = GIVEN | {
        "weights": {"a": "0" * 64, "b": "1" * 64},
        "engine": {"a": ENGINE, "b": ENGINE},
    }
    turned = {"weights": {"b": "1" * 64, "a": "0" * 64}, "engine": {"b": ENGINE, "a": ENGINE}}
    assert model_version(**given | turned) == model_version(**given)
    for changed in (
        {"weights": {"a": "1" * 64, "b": "0" * 64}},
        {"weights": {"a": "0" * 64, "c": "1" * 64}},
        {"engine": {"a": ENGINE, "b": replace(ENGINE, precision="fp16")}},
    ):
        assert model_version(**given | changed) != model_version(**given)


def test_edited_line_changes_it(tmp_path: Path):
    """One edited line of a source changes the version; the same text elsewhere does not."""
    same = copied(tmp_path, a_module)
    assert model_version(**GIVEN | {"sources": (same,)}) == model_version(**GIVEN)
    edited = copied(tmp_path, a_module, 'kind == "f"', 'kind == "g"')
    assert model_version(**GIVEN | {"sources": (edited,)}) != model_version(**GIVEN)


def test_line_endings_and_order_do_not_change_it(tmp_path: Path):
    """A checkout with other line endings, and another order of arguments, is the same version."""
    windows = copied(tmp_path, a_module)
    assert windows.__file__ is not None
    path = Path(windows.__file__)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert model_version(**GIVEN | {"sources": (windows,)}) == model_version(**GIVEN)
    turned = {"means": (1.0, 2.0), "threshold": 0.5}
    assert model_version(**GIVEN | {"parameters": turned}) == model_version(**GIVEN)


def test_library_version_changes_it(monkeypatch: pytest.MonkeyPatch):
    """Another version of a library that makes pixels is another version of the model."""
    before = model_version(**GIVEN)
    monkeypatch.setattr("services.fingerprint.metadata.version", lambda _name: "0.0")
    assert model_version(**GIVEN) != before


def test_parameter_without_a_meaning_is_refused():
    """A parameter that JSON cannot say, or NaN, is an error and not a random version."""
    with pytest.raises(TypeError):
        model_version(**GIVEN | {"parameters": {"a": object()}})
    with pytest.raises(ValueError, match="JSON"):
        model_version(**GIVEN | {"parameters": {"a": float("nan")}})


def test_same_in_another_process_and_folder(tmp_path: Path):
    """Another process, in another working directory with another hash seed, finds the same."""
    program = (
        "from services.inference import engine\n"
        "from services.inference.versioning import model_version\n"
        "description = engine.EngineDescription(\n"
        "    'onnxruntime', '1.0', 'CPUExecutionProvider', 'fp32')\n"
        "print(model_version(weights='0' * 64,\n"
        "    parameters={'threshold': 0.5, 'means': (1.0, 2.0)},\n"
        "    sources=(engine,), libraries=('pillow',), engine=description))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == model_version(**GIVEN)


def test_file_that_is_not_imported_changes_a_fingerprint(tmp_path: Path):
    """What need not be imported counts with its text as a module does."""
    file = tmp_path / "icons.py"
    file.write_text("SIZE = 1\n", "utf-8")
    before = fingerprint(sources=[file], libraries=())
    assert fingerprint(sources=[file], libraries=()) == before
    file.write_text("SIZE = 2\n", "utf-8")
    assert fingerprint(sources=[file], libraries=()) != before
