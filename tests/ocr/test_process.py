"""The process as it is started, on its real weights and over real gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

import grpc
import orjson
import pytest

from models import registry
from services.ocr.scripts import SCRIPTS
from tests.ocr.pictures import encoded, written
from visionmesh.common.v1.image_pb2 import ImageRef
from visionmesh.ocr.v1 import ocr_pb2
from visionmesh.ocr.v1.ocr_pb2_grpc import OcrServiceStub

START_S = 60


async def started(folder: Path, **variables: str) -> asyncio.subprocess.Process:
    """`python -m services.ocr` in another working directory."""
    settings = {"DATA_DIR": str(folder), "LOG_JSON": "true", "PORT": "0"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.ocr",
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
    """The process says what it is and what it reads, and on SIGTERM ends well."""
    data = encoded(written("NO PARKING"))
    refs = [ImageRef(digest=sha256(data).hexdigest(), data=data), ImageRef(digest="5" * 64)]
    process = await started(tmp_path)
    try:
        address = await asyncio.wait_for(address_of(process), START_S)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = OcrServiceStub(channel)
            model = (await stub.GetModel(ocr_pb2.GetModelRequest())).model
            request = ocr_pb2.ReadRequest(images=refs, min_score=0.8)
            good, unknown = (await stub.Read(request)).outcomes
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), START_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    entry = registry.find("ocr")
    assert (model.name, tuple(model.labels)) == ("ocr", SCRIPTS)
    assert (model.description, model.license) == (entry.description, entry.license)
    assert good.result.text == "NO PARKING"
    assert good.model_version == model.version
    assert unknown.HasField("error")


@pytest.mark.parametrize("name", ["ocr", "ocr-detector", "ocr-direction"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
async def test_wrong_weights_stop_the_start(tmp_path: Path, name: str, damage: str):
    """Without any of the registered files the process ends with one clear line and status 1."""
    for file in ("ocr", "ocr-detector", "ocr-direction"):
        data = registry.path(file).read_bytes()
        if file != name:
            (tmp_path / registry.find(file).filename).write_bytes(data)
        elif damage == "cut":
            (tmp_path / registry.find(file).filename).write_bytes(data[:-1])
    process = await started(tmp_path, VISIONMESH_MODELS_DIR=str(tmp_path))
    _, stderr = await asyncio.wait_for(process.communicate(), START_S)
    (line,) = stderr.decode().splitlines()
    assert process.returncode == 1
    assert line.startswith("ocr: ")
    assert registry.find(name).filename in line
