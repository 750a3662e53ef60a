"""The process as it is started: serving, stopping, and refusing to start."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import grpc
import orjson
import pytest

from models import registry
from services import catalog
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from services.media.rendition import make_rendition
from services.nsfw.model import NsfwModel
from tests.nsfw.pictures import bodies, jpeg
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.nsfw.v1 import nsfw_pb2
from visionmesh.nsfw.v1.nsfw_pb2_grpc import NsfwServiceStub

START_S = 60


@asynccontextmanager
async def started(folder: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.nsfw` in another working directory, killed at the end if need be."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.nsfw",
        cwd=folder,
        env={
            **os.environ,
            "VISIONMESH_DATA_DIR": str(folder),
            "VISIONMESH_LOG_JSON": "true",
            "VISIONMESH_PORT": "0",
            **variables,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def address_of(process: asyncio.subprocess.Process) -> str:
    """Where the process says that it serves."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if (event := orjson.loads(line))["event"] == "serving":
            address: str = event["address"]
            return address
    raise AssertionError("the process ended before it served")


async def test_serves_until_it_is_told_to_stop(tmp_path: Path):
    """The process serves the real model, and on SIGTERM ends well."""
    data = jpeg(bodies(432, 600, seed=242))
    refs = [ImageRef(digest=sha256(data).hexdigest(), data=data), ImageRef(digest="5" * 64)]
    async with started(tmp_path) as process:
        address = await asyncio.wait_for(address_of(process), START_S)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = NsfwServiceStub(channel)
            model = (await stub.GetModel(nsfw_pb2.GetModelRequest())).model
            good, unknown = (await stub.Classify(nsfw_pb2.ClassifyRequest(images=refs))).outcomes
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), START_S) == 0
    entry = registry.find("nsfw")
    assert model.name == catalog.BY_NAME["nsfw"].model
    assert (model.description, model.license) == (entry.description, entry.license)
    assert good.result.score == pytest.approx(0.830983, abs=1e-4)
    assert good.model_version == model.version
    assert unknown.HasField("error")


async def test_batches_change_no_answer(tmp_path: Path):
    """A process that is told to make batches has the version, and to the bit the answers, of a
    model that looks at one picture at a time."""
    images = [jpeg(bodies(300 + number, 400, seed=number)) for number in range(24)]
    refs = [ImageRef(digest=sha256(data).hexdigest(), data=data) for data in images]
    settings = {"VISIONMESH_BATCH_SIZE": "4", "VISIONMESH_BATCH_WAIT_MS": "50"}
    async with started(tmp_path, VISIONMESH_INFERENCE_WORKERS="1", **settings) as process:
        address = await asyncio.wait_for(address_of(process), START_S)
        async with grpc.aio.insecure_channel(address) as channel:
            request = nsfw_pb2.ClassifyRequest(images=refs)
            outcomes = (await NsfwServiceStub(channel).Classify(request)).outcomes
    entry = registry.find("nsfw")
    engine = OnnxEngine(registry.path("nsfw"), precision=entry.precision)
    await engine.load()
    model = NsfwModel(engine, entry.sha256)
    for data, outcome in zip(images, outcomes, strict=True):
        info, rendition = make_rendition(data)
        alone = await model.predict(Picture(rendition, info.width, info.height))
        assert outcome.result.SerializeToString() == model.encode(alone)
        assert outcome.model_version == model.version
    await engine.close()


async def error_of(process: asyncio.subprocess.Process) -> str:
    """What a process that cannot start says."""
    _, stderr = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode == 1
    return stderr.decode()


def cut(weights: bytes) -> bytes:
    return weights[: len(weights) // 2]


def changed(weights: bytes) -> bytes:
    return weights[:-1] + bytes([weights[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "bytes long, not 23590724"), (changed, "has the SHA-256"), (None, "is missing")],
    ids=["cut", "changed", "missing"],
)
async def test_wrong_weights_stop_the_start(tmp_path: Path, damage, words: str):
    """Without the registered weight file the process ends with one clear line and status 1."""
    entry = registry.find("nsfw")
    if damage:
        weights = registry.path("nsfw").read_bytes()
        (tmp_path / entry.filename).write_bytes(damage(weights))
    async with started(tmp_path, VISIONMESH_MODELS_DIR=str(tmp_path)) as process:
        (line,) = (await error_of(process)).splitlines()
    assert line.startswith("nsfw: ")
    assert words in line
    assert entry.filename in line


async def test_registered_file_that_is_no_model_stops_the_start(tmp_path: Path):
    """A file that is as registered but no model ends the process with one clear line."""
    program = (
        "import runpy, sys\n"
        "from pathlib import Path\n"
        "from models import registry\n"
        f"registry.path = lambda name: Path({str(tmp_path / 'broken.onnx')!r})\n"
        "runpy.run_module('services.nsfw', run_name='__main__')\n"
    )
    shutil.copy(registry.REGISTRY, tmp_path / "broken.onnx")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    (line,) = (await error_of(process)).splitlines()
    assert line.startswith("nsfw: ")
    assert "broken.onnx cannot be loaded" in line


async def test_wrong_setting_stops_the_start(tmp_path: Path):
    """A setting out of its range ends the process with one line that names it."""
    async with started(tmp_path, VISIONMESH_INFERENCE_WORKERS="0") as process:
        (line,) = (await error_of(process)).splitlines()
    assert line.startswith("nsfw: ")
    assert "inference_workers" in line
