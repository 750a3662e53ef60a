"""What one span costs, ours beside one of OpenTelemetry's SDK: `python -m bench.spans`.

Each is a call's span with four attributes and an event, exported to a collector in another process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from bench.report import console, machine, median, table
from bench.tracing import collecting
from services.serving.diagnostics import Diagnostics
from services.serving.otlp import OtlpRecorder
from services.serving.spans import Attributes, RecordedSpan

COUNT: Final = 1_000
"""Of a round: what is exported when the recorder is closed, which has a second for it."""

ROUNDS: Final = 15
NAME: Final = "visionmesh.nsfw.v1.NsfwService/Classify"
ABOUT: Final[Attributes] = {
    "rpc.system.name": "grpc",
    "rpc.method": NAME,
    "server.address": "127.0.0.1",
    "server.port": 8081,
}
EVENT: Final[Attributes] = {"visionmesh.result.tier": "memory"}


def _ours() -> tuple[Callable[[], None], Callable[[], None]]:
    recorder = OtlpRecorder("bench", "", Diagnostics())
    root = recorder.begin("root", None, SpanKind.SERVER, {})
    assert isinstance(root, RecordedSpan)

    def one() -> None:
        span = root.child(NAME, SpanKind.CLIENT, ABOUT)
        span.add_event("result.hit", EVENT)
        span.end()

    return one, lambda: asyncio.run(recorder.close())


def _sdk() -> tuple[Callable[[], None], Callable[[], None]]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("bench")
    above = trace.set_span_in_context(tracer.start_span("root"))

    def one() -> None:
        span = tracer.start_span(NAME, above, SpanKind.CLIENT, ABOUT)
        span.add_event("result.hit", EVENT)
        span.end()

    return one, provider.shutdown


def _measured(
    make: Callable[[], tuple[Callable[[], None], Callable[[], None]]],
) -> tuple[float, float]:
    """Microseconds a span, where it is made and in all threads."""
    one, close = make()
    here, everywhere = time.thread_time(), time.process_time()
    for _ in range(COUNT):
        one()
    here = time.thread_time() - here
    close()
    return here * 1e6 / COUNT, (time.process_time() - everywhere) * 1e6 / COUNT


def main(address: str) -> None:
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{address}"
    kinds = {"the SDK's": _sdk, "ours": _ours}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, make in kinds.items():
            found[name].append(_measured(make))
    console.print(f"[bold]What a span costs[/] ({machine()})")
    table(
        "CPU microseconds a span, medians of the rounds",
        ["", "where it is made", "with its export"],
        [
            [name, *(f"{median(column):.0f}" for column in zip(*rounds, strict=True))]
            for name, rounds in found.items()
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with collecting() as (_, port):
            subprocess.run([sys.executable, "-m", "bench.spans", f"127.0.0.1:{port}"], check=True)
