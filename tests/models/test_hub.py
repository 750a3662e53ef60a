"""Files of a model hub: the real client against a hub on this machine, and how they are pinned."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from models import pinning, registry
from models.entry import HubFile, ModelFile
from models.hub import MAX_CONNECTIONS, Published, download_hub_file
from services.errors import InvalidArgument, ModelFileError, ModelNotFound
from tests.support import hub as hubs
from tests.support.hub import COMMIT, REPO, TOKEN, Hub

WEIGHTS = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
MEMBER = "onnx/model.onnx"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISIONMESH_MODELS_DIR", str(folder))
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hubs.running({MEMBER: WEIGHTS}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def file_of(revision: str = COMMIT, *, repo: str = REPO, file: str = MEMBER) -> HubFile:
    return HubFile(repo=repo, revision=revision, file=file)


def entry_of(**changed: object) -> ModelFile:
    fields = {
        "name": "weights",
        "description": "Weights of a test",
        "hub": f"hf://{REPO}@{COMMIT}/{MEMBER}",
        "sha256": DIGEST,
        "size": len(WEIGHTS),
        "precision": "fp32",
        "license": "CC0-1.0",
        "card": "cards/detection.md",
    }
    return ModelFile.model_validate(fields | changed)


def test_file_comes_from_the_storage_that_the_hub_names(hub: Hub, tmp_path: Path):
    """A file is followed to where it is stored, and what the hub says of it is handed back."""
    target = tmp_path / "file"
    assert download_hub_file(file_of(), target) == Published(COMMIT, DIGEST, len(WEIGHTS))
    assert target.read_bytes() == WEIGHTS
    assert hub.asked == [("hub", None, None), ("storage", None, None)]


def test_small_file_comes_from_the_hub_itself(hub: Hub, tmp_path: Path):
    """A file that is not in LFS is answered without a redirect."""
    hub.keeps_inline = True
    download_hub_file(file_of(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == WEIGHTS


def test_renamed_repository_is_followed(hub: Hub, tmp_path: Path):
    """A hub sends on from a repository's former name to its present one."""
    hub.renamed_from = "former/name"
    said = download_hub_file(file_of(repo="former/name"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == WEIGHTS
    assert said.commit == COMMIT


def test_token_is_for_the_hub_alone(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A token opens a private repository, and is not shown to the storage."""
    hub.is_private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    download_hub_file(file_of(), tmp_path / "file")
    assert hub.asked == [("hub", None, f"Bearer {TOKEN}"), ("storage", None, None)]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (file_of(file="onnx/other.onnx"), "404 Entry not found"),
        (file_of("f" * 40), "404 Invalid rev id"),
        (file_of(repo="some-org/other"), r"401 Invalid username.*HF_TOKEN"),
    ],
    ids=["file", "revision", "repository"],
)
def test_what_a_hub_does_not_give_is_said(hub: Hub, tmp_path: Path, file: HubFile, words: str):
    """A file, commit or repository that is not there is an error with the hub's reason."""
    with pytest.raises(ModelFileError, match=words) as failure:
        download_hub_file(file, tmp_path / "file")
    assert str(file) in failure.value.message
    assert "\n" not in failure.value.message


def test_storage_that_is_down_is_said(hub: Hub, tmp_path: Path):
    """A storage that answers with an error is an error with its status."""
    hub.down = 503
    with pytest.raises(ModelFileError, match="503 Service Unavailable"):
        download_hub_file(file_of(), tmp_path / "file")


@pytest.mark.parametrize("serves_ranges", [True, False], ids=["ranges", "no ranges"])
def test_broken_download_is_taken_up_again(hub: Hub, tmp_path: Path, serves_ranges: bool):
    """What came is not asked for twice, and where it must be the file is whole all the same."""
    hub.cuts, hub.serves_ranges = [300_000, 0, 5000], serves_ranges
    download_hub_file(file_of(), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == WEIGHTS
    starts = [wanted for host, wanted, _ in hub.asked if host == "storage"]
    last = 305_000 if serves_ranges else 5000
    first = 300_000 if serves_ranges else 0
    again = f"bytes={first}-" if first else None
    assert starts == [None, "bytes=300000-", again, f"bytes={last}-"]


def test_download_that_breaks_off_again_and_again_is_given_up(hub: Hub, tmp_path: Path):
    """A storage that never gets to the end is asked a few times, then told of."""
    hub.cuts = [1000] * 100
    with pytest.raises(ModelFileError, match=r"broken off 5 times, the last time after 5000 bytes"):
        download_hub_file(file_of(), tmp_path / "file")
    assert len([host for host, *_ in hub.asked if host == "storage"]) == MAX_CONNECTIONS


def test_longer_file_is_not_read_to_its_end(hub: Hub, tmp_path: Path):
    """Of a file that is longer than it may be one byte more is kept: enough to know."""
    download_hub_file(file_of(), tmp_path / "file", max_bytes=1000)
    assert (tmp_path / "file").read_bytes() == WEIGHTS[:1001]


def test_hub_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a network the error names the hub that was tried."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")
    with pytest.raises(ModelFileError, match=f"from http://127.0.0.1:{port}: Cannot connect"):
        download_hub_file(file_of(), tmp_path / "file")


@pytest.mark.parametrize("endpoint", ["hub.example", "ftp://hub.example", "http://[::1"])
def test_endpoint_that_is_no_address_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
):
    """An endpoint that is no HTTP address is an error, not a traceback."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ModelFileError, match="cannot be downloaded"):
        download_hub_file(file_of(), tmp_path / "file")


def test_fetch_brings_a_hub_file_into_the_cache(hub: Hub, cache: Path):
    """A registered file lies in the cache under its name and hash, and is not fetched again."""
    entry = entry_of()
    registry.fetch([entry])
    registry.fetch([entry])
    assert [path.name for path in cache.iterdir()] == [f"weights-{DIGEST[:12]}.onnx"]
    assert registry.verify(entry).ok
    assert len(hub.asked) == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": "0" * 64}, f"has the SHA-256 {DIGEST}, not 000"),
        ({"size": len(WEIGHTS) - 5}, f"is {len(WEIGHTS) - 4} bytes long"),
        ({"size": len(WEIGHTS) + 5}, f"is {len(WEIGHTS)} bytes long"),
    ],
    ids=["hash", "longer", "shorter"],
)
def test_another_file_is_not_kept(hub: Hub, cache: Path, changed: dict[str, object], words: str):
    """What is not the registered file is an error that says how, and leaves nothing behind."""
    with pytest.raises(ModelFileError, match=words):
        registry.fetch([entry_of(**changed)])
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hub": f"hf://{REPO}@main/{MEMBER}"}, "'main' may move"),
        ({"hub": f"hf://{REPO}@{COMMIT[:12]}/{MEMBER}"}, "may move"),
        ({"hub": f"hf://{REPO}/{MEMBER}"}, "is not hf://"),
        ({"hub": f"https://huggingface.co/{REPO}"}, "is not hf://"),
        ({"member": MEMBER}, "without member"),
        ({"hub": None}, "needs one of wheel, tarball and hub"),
    ],
    ids=["branch", "short", "no revision", "https", "member", "no source"],
)
def test_entry_without_a_commit_is_refused(changed: dict[str, object], words: str):
    """A registered file names its commit in full, and one source."""
    with pytest.raises(ValidationError, match=words):
        entry_of(**changed)


@pytest.mark.parametrize(
    "url",
    [
        "hf://a/b@main/../secret",
        "hf://a/b@main/.git/config",
        "hf://a/../b@main/c",
        "hf://a/b@main/",
        "hf://a/b@main/c?d",
        "hf://a/b@main/c d",
        "hf://@main/c",
        "hf://a/b/c@main/d",
        "",
    ],
)
def test_url_that_leads_elsewhere_is_refused(url: str):
    """A part that a path or query could be smuggled in by is no part of a hub's URL."""
    with pytest.raises(ValidationError, match="is not hf://"):
        TypeAdapter(HubFile).validate_python(url)


def test_hub_url_is_written_as_it_was_read():
    """Repository, revision and file are those of the URL; a repository may have no owner."""
    for url in (f"hf://{REPO}@{COMMIT}/{MEMBER}", "hf://gpt2@v1.0/model.onnx"):
        assert str(TypeAdapter(HubFile).validate_python(url)) == url


def pinned(url: str = f"hf://{REPO}@main/{MEMBER}", **changed: str) -> ModelFile:
    arguments = {"name": "dfine-n", "like": "dfine-s", "license": "Apache-2.0"} | changed
    return pinning.pin(url, **arguments)


def test_pinned_file_can_be_registered(
    hub: Hub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is printed is a registry, with a branch's commit in it; the file is there already."""
    entry = pinned()
    source = tmp_path / "models.toml"
    source.write_text(pinning.stanza(entry), "utf-8")
    monkeypatch.setenv("VISIONMESH_MODELS_REGISTRY", str(source))
    found = registry.find("dfine-n")
    assert found == entry
    assert str(found.hub) == f"hf://{REPO}@{COMMIT}/{MEMBER}"
    assert (found.sha256, found.size, found.license) == (DIGEST, len(WEIGHTS), "Apache-2.0")
    assert found.architecture == registry.find("dfine-s").architecture
    assert registry.path("dfine-n").read_bytes() == WEIGHTS
    assert [path.name for path in cache.iterdir()] == [found.filename]


@pytest.mark.parametrize(
    "says",
    [{"X-Linked-Etag": f'"{"0" * 64}"'}, {"X-Linked-Size": "7"}],
    ids=["hash", "size"],
)
def test_file_that_is_not_what_the_hub_says_is_not_pinned(
    hub: Hub, cache: Path, says: dict[str, str]
):
    """Bytes that differ from what the hub says of them are an error, and are not kept."""
    hub.says = says
    with pytest.raises(ModelFileError, match="the hub says"):
        pinned()
    assert list(cache.iterdir()) == []


def test_hub_that_names_no_commit_cannot_pin_a_branch(hub: Hub):
    """A branch whose commit nobody says is an error; a commit needs nobody to say it."""
    hub.says = {"X-Repo-Commit": ""}
    with pytest.raises(ModelFileError, match="does not say which commit 'main' is"):
        pinned()
    assert pinned(f"hf://{REPO}@{COMMIT}/{MEMBER}").sha256 == DIGEST


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"url": "https://hub.example/model.onnx"}, InvalidArgument, "url: .* is not hf://"),
        ({"name": "nsfw"}, InvalidArgument, "name: 'nsfw' is registered already"),
        ({"name": "D-FINE"}, InvalidArgument, "name: .*pattern"),
        ({"license": ""}, InvalidArgument, "license: "),
        ({"like": "nothing"}, ModelNotFound, "'nothing'"),
    ],
    ids=["url", "taken", "name", "license", "like"],
)
def test_pinning_names_the_argument_that_is_wrong(
    hub: Hub, arguments: dict[str, str], kind: type[Exception], words: str
):
    """An argument that makes no entry is named."""
    with pytest.raises(kind, match=words):
        pinned(**arguments)


def test_operators_registry_cannot_redefine_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name of the mesh's own registry is taken, and the error names the operator's file."""
    source = tmp_path / "models.toml"
    source.write_text(pinning.stanza(entry_of(name="nsfw")), "utf-8")
    monkeypatch.setenv("VISIONMESH_MODELS_REGISTRY", str(source))
    with pytest.raises(ModelFileError, match=f"{source}: the name 'nsfw' is there twice"):
        registry.load_registry()


def test_operators_registry_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A registry that is named and cannot be read is an error: nobody runs with another one."""
    monkeypatch.setenv("VISIONMESH_MODELS_REGISTRY", str(tmp_path / "none.toml"))
    with pytest.raises(ModelFileError, match=r"none\.toml: cannot be read"):
        registry.find("nsfw")


def test_optional_file_says_its_own_command():
    """The error of an optional file that is not there names the command that brings it."""
    with pytest.raises(ModelFileError, match="`visionmesh models fetch dfine-s` brings it"):
        registry.path("dfine-s")
