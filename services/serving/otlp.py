"""Spans to a collector: OpenTelemetry's SDK samples, batches and exports them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import threading
from collections.abc import Sequence
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from services.serving.diagnostics import Diagnostics
from services.serving.spans import Attributes, RecordedSpan, new_span_id, new_trace_id

FLUSH_S: Final = 1.0
"""How long a process that ends may take to export what is recorded: `visionmesh up` waits 3 s."""

NAMESPACE: Final = "visionmesh"

_SCOPE: Final = InstrumentationScope(NAMESPACE)
_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk._shared_internal",
)

_log = structlog.get_logger()


class OtlpRecorder:
    """`services.serving.spans.Recorder`: samples as `OTEL_TRACES_SAMPLER` says."""

    def __init__(self, process: str, instance: str, diagnostics: Diagnostics) -> None:
        """Reads the environment. Connects to nothing yet."""
        for name in _LOGGERS:  # each failed attempt is a line there; `_Told` has one for all
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._exporter = _Told(OTLPSpanExporter())
        diagnostics.watch("traces", self._exporter.ailment)
        self._provider = TracerProvider(
            resource=_resource(process, instance), shutdown_on_exit=False
        )
        self._batches = BatchSpanProcessor(self._exporter)
        self._provider.add_span_processor(self._batches)
        self._sampler = self._provider.sampler
        self._follows = isinstance(self._sampler, ParentBased)

    def begin(
        self, name: str, parent: SpanContext | None, kind: SpanKind, attributes: Attributes
    ) -> trace.Span:
        """See `Recorder.begin`."""
        trace_id = parent.trace_id if parent else new_trace_id()
        if parent and self._follows:
            sampled, state = parent.trace_flags.sampled, parent.trace_state
        else:
            above = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
            result = self._sampler.should_sample(above, trace_id, name, kind, attributes)
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            state = result.trace_state or TraceState.get_default()
        flags = (parent.trace_flags if parent else 0) & ~TraceFlags.SAMPLED
        if sampled:
            flags |= TraceFlags.SAMPLED
        # A span that nobody records is nobody's parent.
        span_id = parent.span_id if parent and not sampled else new_span_id()
        context = SpanContext(trace_id, span_id, False, TraceFlags(flags), state)
        if not sampled:
            return NonRecordingSpan(context)
        return RecordedSpan(self, name, context, parent, kind, attributes)

    def take(self, span: RecordedSpan, end_ns: int) -> None:
        """See `Recorder.take`."""
        self._batches.on_end(
            ReadableSpan(
                name=span.name,
                context=span.context,
                parent=span.parent,
                resource=self._provider.resource,
                attributes=span.attributes,
                events=[Event(name, about, at) for name, about, at in span.events],
                links=span.links,
                kind=span.kind,
                status=span.status,
                start_time=span.start_ns,
                end_time=end_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    async def close(self) -> None:
        """Export what has ended; give up after `FLUSH_S` seconds."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def flush() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # A daemon: an endpoint that does not answer must not keep the process.
        threading.Thread(target=flush, name="telemetry", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), FLUSH_S)
        if not ended.is_set():
            self._exporter.abandon()


class _Told(SpanExporter):
    """Says once that spans cannot be exported, and once that they can be again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self._ended = False

    def ailment(self) -> str | None:
        """What is wrong, for a person; None while spans are taken."""
        return "traces cannot be exported: spans are lost" if self._failing else None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._tell(result is not SpanExportResult.SUCCESS)
        return result

    def abandon(self) -> None:
        """Give up what is being exported."""
        self._tell(True)
        self.shutdown()

    def _tell(self, failing: bool) -> None:
        if failing == self._failing or self._ended:
            return
        self._failing = failing
        if failing:
            _log.warning("traces cannot be exported")
        else:
            _log.info("traces are exported again")

    def shutdown(self) -> None:
        self._ended = True
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource(process: str, instance: str) -> Resource:
    """What the process is; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say it otherwise."""
    ours: dict[str, AttributeValue] = {
        "service.name": process,
        "service.namespace": NAMESPACE,
        "service.instance.id": instance,
        "service.version": importlib.metadata.version("visionmesh"),
    }
    return Resource.create(ours | dict(OTELResourceDetector().detect().attributes))
