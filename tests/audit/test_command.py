"""`visionmesh audit` against a fake moderation, over real gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mesh.cli import app
from mesh.state import DataDir, Run
from services import errors
from services.audit.database import Database
from services.audit.entry import Entry, Ids
from services.catalog import MESH_OFFSET
from services.serving import tenancy
from services.serving.server import grpc_server
from services.serving.status import to_status
from tests.audit.world import TRACE, digest, locked, verdict
from tests.cli.fakes import serving
from visionmesh.moderation.v1 import moderation_pb2 as pb
from visionmesh.moderation.v1 import moderation_pb2_grpc

TOKEN = "the mesh's token"
TENANTS = ("a", "b")
COUNT = 100


class FakeModeration(moderation_pb2_grpc.ModerationServiceServicer):
    """Gives the verdicts that were recorded again, but for those in `instead`."""

    def __init__(self) -> None:
        self.instead: dict[str, pb.Verdict | errors.VisionmeshError] = {}
        self.asked: list[tuple[str, pb.EvaluateRequest]] = []

    async def Evaluate(self, request: pb.EvaluateRequest, context: Any) -> pb.EvaluateResponse:
        self.asked.append((tenancy.tenant(), request))
        return pb.EvaluateResponse(outcomes=[self._outcome(each) for each in request.digests])

    def _outcome(self, image: str) -> pb.ModerationOutcome:
        found = self.instead.get(image) or verdict(int(image, 16))
        if isinstance(found, pb.Verdict):
            return pb.ModerationOutcome(digest=image, verdict=found)
        return pb.ModerationOutcome(digest=image, error=to_status(found))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with two tenants' entries."""
    database, ids = Database(tmp_path / "audit.db"), Ids()
    database.insert(
        [
            Entry(ids.next(), tenant, digest(n), TRACE, verdict(n).SerializeToString())
            for n in range(COUNT)
            for tenant in TENANTS
        ]
    )
    database.close()
    return tmp_path


@contextmanager
def mesh_on(data: Path) -> Iterator[FakeModeration]:
    """A mesh of one fake, that believes who shows the token, runs on a data directory."""
    fake = FakeModeration()  # type: ignore[abstract]
    server = grpc_server(
        lambda server: moderation_pb2_grpc.add_ModerationServiceServicer_to_server(fake, server),
        token=TOKEN,
    )
    directory = DataDir(data)
    directory.token_file.write_text(TOKEN)
    with serving(server) as [port], directory.held():
        directory.write_run(Run(1, port - MESH_OFFSET, "1", 0.0, ()))
        yield fake


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_entry_is_a_line(data):
    """`export` prints all entries, oldest first, with everything that REST tells and the tenant."""
    found = lines(run("export", "--data", data))
    assert [(each["tenant"], each["imageId"]) for each in found] == [
        (tenant, digest(n)) for n in range(COUNT) for tenant in TENANTS
    ]
    assert found[0] | {"id": "", "recordedAt": ""} == {
        "id": "",
        "recordedAt": "",
        "tenant": "a",
        "imageId": digest(0),
        "release": "0" * 16,
        "isCompliant": False,
        "decision": "REJECTED",
        "rejectionReasons": [
            {
                "code": "NUDITY",
                "severity": "HIGH",
                "message": "Shows nudity.",
                "evidence": [
                    {
                        "model": "nsfw",
                        "label": "nsfw",
                        "score": 0.5,
                        "box": {"x": 1, "y": 2, "width": 3, "height": 4},
                        "corners": [{"x": 1, "y": 2}, {"x": 4, "y": 6}],
                        "text": None,
                    }
                ],
            }
        ],
        "missing": ["ocr"],
        "unknownCodes": ["TEXT"],
        "policy": {"name": "default", "version": "00112233445566ff"},
        "models": [{"name": "nsfw", "version": "0123456789abcdef"}],
        "traceId": TRACE,
    }


def test_a_tenants_and_a_times(data):
    """`export` can be for one tenant, from a time on, and before a time, which is left out."""
    everything = lines(run("export", "--data", data))
    middle = everything[COUNT]
    assert middle["tenant"] == "a"
    since = lines(run("export", "--data", data, "--since", middle["recordedAt"]))
    until = lines(run("export", "--data", data, "--until", middle["recordedAt"]))
    assert until + since == everything
    assert since[0] == middle
    of_b = lines(run("export", "--data", data, "--tenant", "b", "--since", "2020-01-01"))
    assert of_b == [each for each in everything if each["tenant"] == "b"]
    assert lines(run("export", "--data", data, "--since", "2999-01-01T00:00:00+02:00")) == []


def test_more_than_is_read_at_once(data, monkeypatch):
    """What is read piece by piece comes out complete and in order."""
    monkeypatch.setattr("services.audit.database.STREAM_ROWS", 7)
    found = lines(run("export", "--data", data))
    assert len(found) == 2 * COUNT
    assert found == sorted(found, key=lambda each: each["id"])


def test_export_waits_for_nobody_who_writes(data):
    """`export` works while the mesh writes."""
    with locked(data / "audit.db"):
        assert len(lines(run("export", "--data", data))) == 2 * COUNT


def test_the_database_of_the_configuration(data, tmp_path):
    """Without --url the database is the one that the mesh's configuration names."""
    (data / "audit.db").rename(tmp_path / "elsewhere.db")
    assert "there is no audit log" in run("export", "--data", data).stderr
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    assert len(lines(run("export", "--url", url))) == 2 * COUNT
    (data / "mesh.yaml").write_text(
        json.dumps({"audit": {"url": "postgresql://nobody@/x?host=/x"}})
    )
    refused = run("export", "--data", data)
    assert refused.exit_code == 1
    assert "the audit log is not available: connection" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since yesterday: must be a time"),
        (("--url", "mysql://host/db"), "audit_url: must be"),
    ],
)
def test_options_that_cannot_be(data, arguments, said):
    """What is wrong with an option is said in one line."""
    result = run("export", "--data", data, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_same_again(data):
    """`replay` asks as the tenant, for the release, without what was missing, and finds no change.

    Entries of one release are one call, and each call is one that is not recorded.
    """
    with mesh_on(data) as mesh:
        result = run("replay", "--data", data)
    assert result.stdout == "200 verdicts: 200 same\n"
    assert result.exit_code == 0
    asked = {(tenant, request.release): request for tenant, request in mesh.asked}
    assert set(asked) == {(tenant, f"{n:016x}") for n in range(COUNT) for tenant in TENANTS}
    for request in asked.values():
        assert request.policy == "default"
        assert list(request.without) == ["ocr"]
        assert len(request.replays) == len(request.digests)


def test_what_is_not_the_same(data):
    """A different decision, reason, evidence, unknown code or missing model is said; status 1."""
    with mesh_on(data) as mesh:
        approved = verdict(1)
        approved.decision = pb.DECISION_APPROVED
        del approved.reasons[:]
        other_score = verdict(2)
        other_score.reasons[0].evidence[0].score = 0.1
        more_missing = verdict(3)
        more_missing.missing.append("nsfw")
        more_missing.unknown_codes.append("NUDITY")
        mesh.instead = {
            digest(1): approved,
            digest(2): other_score,
            digest(3): more_missing,
            digest(4): errors.ImageNotFound("there is no such image"),
            digest(5): errors.ReleaseNotFound("there is no such release"),
        }
        result = run("replay", "--data", data, "--tenant", "a")
    said = [line.split(" ", 1)[1] for line in result.stdout.splitlines()]
    assert said == [
        f"{digest(1)} different: decision DECISION_REJECTED, now DECISION_APPROVED; "
        "reasons NUDITY, now none",
        f"{digest(2)} different: the reasons' messages or evidence",
        f"{digest(3)} different: unknown codes TEXT, now TEXT,NUDITY; missing ocr, now ocr,nsfw",
        f"{digest(4)} deleted: the image is not stored",
        f"{digest(5)} failed: RELEASE_NOT_FOUND: there is no such release",
        "verdicts: 95 same, 3 different, 1 deleted, 1 failed",
    ]
    assert result.exit_code == 1


def test_text_is_read_again(data):
    """Text in the evidence is not in the log, and no difference; where it was seen is one."""
    with mesh_on(data) as mesh:
        with_text, elsewhere = verdict(1), verdict(2)
        with_text.reasons[0].evidence[0].text = "call 0171"
        elsewhere.reasons[0].evidence[0].box.x = 9
        mesh.instead = {digest(1): with_text, digest(2): elsewhere}
        result = run("replay", "--data", data, "--tenant", "a")
    first, last = result.stdout.splitlines()
    assert first.split(" ", 1)[1] == f"{digest(2)} different: the reasons' messages or evidence"
    assert last == "100 verdicts: 99 same, 1 different"


def test_deleted_images_are_no_difference(data):
    """With nothing but deleted images besides, `replay` is content; with a failure it is not."""
    with mesh_on(data) as mesh:
        mesh.instead = {digest(4): errors.ImageNotFound("there is no such image")}
        assert run("replay", "--data", data).exit_code == 0
        mesh.instead = {digest(4): errors.ReleaseNotFound("there is no such release")}
        assert run("replay", "--data", data).exit_code == 2


def test_no_mesh(data):
    """Without a running mesh `replay` says so, with its own status."""
    result = run("replay", "--data", data)
    assert result.exit_code == 3
    assert "no mesh runs" in result.stderr
