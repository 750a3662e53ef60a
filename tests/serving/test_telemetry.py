"""What decides which requests are recorded, and what becomes of the spans."""

from __future__ import annotations

import asyncio
import contextvars
import json
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opentelemetry import trace

from services.client.mesh import MeshClient
from services.serving import attributes, telemetry, tracing
from services.serving.diagnostics import Diagnostics
from tests.images.serving import ImagesProcess
from tests.serving.requests import PARENT, SPAN, TRACE, in_request
from tests.support.collector import Collector, collector
from tests.support.photos import jpeg
from tests.support.whole import PATIENCE_S, until


@pytest.mark.parametrize(
    ("sampler", "argument", "parent", "recorded"),
    [
        ("", "", PARENT[:-2] + "00", False),
        ("parentbased_traceidratio", "0", PARENT, True),
        ("parentbased_traceidratio", "0", None, False),
        ("parentbased_traceidratio", "1", None, True),
        ("always_off", "", PARENT, False),
        ("always_on", "", PARENT[:-2] + "00", True),
    ],
)
async def test_sampling(
    collected: Collector,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    argument: str,
    parent: str | None,
    recorded: bool,
):
    """The parent decides, or the standard variables where there is none; callees are told."""
    for name, value in collected.environment.items():
        monkeypatch.setenv(name, value)
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)

    async def handed_on() -> tuple[str, str]:
        return tracing.trace_id(), tracing.traceparent()

    async with telemetry.recording("toy", "") as recorder:
        trace_id, header = await in_request(recorder, handed_on, parent)
    assert header.startswith(f"00-{trace_id}-")
    assert header.endswith("-01" if recorded else "-00")
    if parent:
        assert trace_id == TRACE
    # Leaving has exported what there was.
    assert [span.trace_id for span in collected.spans] == [trace_id] * recorded


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
    ],
    ids=["no endpoint", "disabled", "no exporter", "another protocol"],
)
async def test_nothing_is_recorded(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """Without anywhere to export to there is no recorder, and traces are handed on as they are."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    async def handed_on() -> str:
        assert not trace.get_current_span().is_recording()
        assert tracing.start("anything") is None
        return tracing.traceparent()

    async with telemetry.recording("toy", "") as recorder:
        assert recorder is None
        assert await in_request(recorder, handed_on) == PARENT


async def test_an_endpoint_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
):
    """Nobody waits for it, also not at the end."""
    hung = socket.create_server(("127.0.0.1", 0))
    port = hung.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")

    async def nothing() -> None:
        pass

    with hung:
        async with asyncio.timeout(PATIENCE_S), telemetry.recording("toy", "") as recorder:
            for _ in range(600):
                await in_request(recorder, nothing)


async def test_an_endpoint_that_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """A collector that is away is one line in the log, one more when it is back, and no more."""
    async with collector() as away:
        port = int(away.address.rpartition(":")[2])
    for name, value in away.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    diagnostics = Diagnostics()

    async def nothing() -> None:
        pass

    async def failing() -> bool:
        await in_request(process, nothing)
        return bool(diagnostics.conditions)

    async def exported() -> bool:
        return not await failing()

    async with AsyncExitStack() as stack:
        recording = telemetry.recording("toy", "", diagnostics)
        process = await recording.__aenter__()
        await until(failing, "an export that fails")
        assert list(diagnostics.conditions) == ["traces"]
        back = await stack.enter_async_context(collector(port))
        await until(exported, "exports that succeed again")
        await recording.__aexit__(None, None, None)
        assert back.spans
    said = capfd.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "xport" in line]
    assert len(lines) == 2, lines


async def test_a_process_exports_what_it_has_when_it_stops(
    collected: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A real process that is asked to stop exports its spans before it ends, and succeeds."""
    for name, value in collected.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    async with ImagesProcess(tmp_path) as images:
        await asyncio.create_task(_upload(images.address), context=contextvars.Context())
        assert collected.spans == []
        images.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(images.process.wait(), PATIENCE_S) == 0
    (span,) = collected.spans
    assert (span.service, span.trace_id, span.parent_id) == ("images", TRACE, SPAN)
    assert span.resource["deployment.environment.name"] == "test"


async def test_a_process_ends_without_a_collector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A collector that is not there is one line in a process's log, and keeps nobody."""
    async with collector() as away:
        pass
    for name, value in away.environment.items():
        monkeypatch.setenv(name, value)
    async with ImagesProcess(tmp_path) as images:
        for _ in range(3):
            await asyncio.create_task(_upload(images.address), context=contextvars.Context())
        images.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(images.process.wait(), PATIENCE_S) == 0
        lines = [json.loads(line) for line in (await images.said).splitlines()]
    assert len([line for line in lines if line["level"] in ("warning", "error")]) == 1


async def _upload(address: str) -> None:
    tracing.adopt(PARENT)
    async with MeshClient(address) as mesh:
        await mesh.create_image(jpeg(64, 48))


def test_the_page_names_every_attribute():
    """What spans say in words of ours is explained in docs/telemetry.md."""
    page = (Path(__file__).resolve().parents[2] / "docs/telemetry.md").read_text()
    names = [value for name, value in vars(attributes).items() if name.isupper()]
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []
