"""The process as it is started, on its real weights and over real gRPC."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import grpc
import orjson
import pytest

from models import registry
from services.detection.labels import LABELS
from services.detection.types import Detection, DetectionResult
from tests.detection.pictures import PHOTOS, encoded, photo
from tests.detection.test_dfine import GOLDEN, WEIGHTS, assert_same
from tests.support import hub as hubs
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.detection.v1 import detection_pb2
from visionmesh.detection.v1.detection_pb2_grpc import DetectionServiceStub

START_S = 60


async def started(folder: Path, **variables: str) -> asyncio.subprocess.Process:
    """`python -m services.detection` in another working directory."""
    settings = {"DATA_DIR": str(folder), "LOG_JSON": "true", "PORT": "0"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.detection",
        cwd=folder,
        env={
            **os.environ,
            **{f"VISIONMESH_{name}": value for name, value in settings.items()},
            **variables,
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def address_of(process: asyncio.subprocess.Process) -> str:
    """Where the process says that it serves."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if (event := orjson.loads(line))["event"] == "serving":
            address: str = event["address"]
            return address
    raise AssertionError("the process ended before it served")


async def test_serves_until_it_is_told_to_stop(tmp_path: Path):
    """The process says what it is and what it sees, and on SIGTERM ends well."""
    data = encoded(photo("cat"))
    refs = [ImageRef(digest=sha256(data).hexdigest(), data=data), ImageRef(digest="5" * 64)]
    process = await started(tmp_path)
    try:
        address = await asyncio.wait_for(address_of(process), START_S)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = DetectionServiceStub(channel)
            model = (await stub.GetModel(detection_pb2.GetModelRequest())).model
            request = detection_pb2.DetectRequest(images=refs, min_score=0.4)
            good, unknown = (await stub.Detect(request)).outcomes
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), START_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    entry = registry.find("detection")
    assert (model.name, tuple(model.labels)) == ("detection", LABELS)
    assert (model.description, model.license) == (entry.description, entry.license)
    assert [found.label for found in good.result.detections] == ["cat"]
    assert good.model_version == model.version
    assert unknown.HasField("error")


@pytest.mark.parametrize("damage", ["cut", "missing"])
async def test_wrong_weights_stop_the_start(tmp_path: Path, damage: str):
    """Without the registered weight file the process ends with one clear line and status 1."""
    entry = registry.find("detection")
    if damage == "cut":
        (tmp_path / entry.filename).write_bytes(registry.path("detection").read_bytes()[:-1])
    process = await started(tmp_path, VISIONMESH_MODELS_DIR=str(tmp_path))
    _, stderr = await asyncio.wait_for(process.communicate(), START_S)
    (line,) = stderr.decode().splitlines()
    assert process.returncode == 1
    assert line.startswith("detection: ")
    assert entry.filename in line


def visionmesh(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as it is installed."""
    command = [str(Path(sys.executable).with_name("visionmesh")), *arguments]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


async def test_other_detector_is_one_setting_away(tmp_path: Path):
    """A D-FINE that is pinned and fetched from a hub serves once its name is set, and gives what
    `transformers` gives.
    """
    file = "onnx/model.onnx"
    ours = tmp_path / "models.toml"
    variables = {"VISIONMESH_MODELS_DIR": str(tmp_path / "models")}
    with hubs.running({file: WEIGHTS.read_bytes()}) as hub:
        variables["HF_ENDPOINT"] = hub.endpoint
        options = ["--name", "dfine-tiny", "--like", "dfine-s", "--license", "CC0-1.0"]
        pin = ["models", "pin", f"hf://{hubs.REPO}@main/{file}", *options]
        pinned = await asyncio.to_thread(visionmesh, *pin, **variables)
        assert pinned.returncode == 0, pinned.stderr
        ours.write_text(pinned.stdout, "utf-8")
        variables["VISIONMESH_MODELS_REGISTRY"] = str(ours)
        # As on another machine, which has the registry and not yet the file.
        shutil.rmtree(tmp_path / "models")
        fetch = ["models", "fetch", "dfine-tiny"]
        fetched = await asyncio.to_thread(visionmesh, *fetch, **variables)
        assert fetched.returncode == 0, fetched.stderr
    golden = GOLDEN["photos"][0]
    data = (PHOTOS / f"{golden['photo']}.jpg").read_bytes()
    refs = [ImageRef(digest=sha256(data).hexdigest(), data=data)]
    variables["VISIONMESH_DETECTION_MODEL"] = "dfine-tiny"
    process = await started(tmp_path, **variables)
    try:
        address = await asyncio.wait_for(address_of(process), START_S)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = DetectionServiceStub(channel)
            model = (await stub.GetModel(detection_pb2.GetModelRequest())).model
            (outcome,) = (await stub.Detect(detection_pb2.DetectRequest(images=refs))).outcomes
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    assert (model.name, tuple(model.labels)) == ("detection", LABELS)
    assert (model.description, model.license) == (f"{file} of {hubs.REPO}", "CC0-1.0")
    found = DetectionResult(
        tuple(
            Detection(one.label, one.score, one.box.x, one.box.y, one.box.width, one.box.height)
            for one in outcome.result.detections
        )
    )
    assert_same(found, golden, outcome.image_size.width, outcome.image_size.height)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nsfw", "'nsfw' is no detector"),
        ("nothing", "there is no model file 'nothing'"),
        ("dfine-s", "`visionmesh models fetch dfine-s` brings it"),
    ],
)
async def test_detector_that_cannot_be_run_stops_the_start(tmp_path: Path, name: str, words: str):
    """A name that is none, or a file that is no detector or not there, ends it with one line."""
    process = await started(
        tmp_path, VISIONMESH_DETECTION_MODEL=name, VISIONMESH_MODELS_DIR=str(tmp_path)
    )
    _, stderr = await asyncio.wait_for(process.communicate(), START_S)
    (line,) = stderr.decode().splitlines()
    assert process.returncode == 1
    assert line.startswith("detection: ")
    assert words in line
