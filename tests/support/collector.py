"""A collector that keeps what it is sent: OpenTelemetry's trace service over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.whole import until

KINDS = {
    trace_pb2.Span.SPAN_KIND_SERVER: "server",
    trace_pb2.Span.SPAN_KIND_CLIENT: "client",
    trace_pb2.Span.SPAN_KIND_INTERNAL: "internal",
}


@dataclass
class Span:
    """A span as it was exported; ids are hexadecimal."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    failed: bool
    start_ns: int
    end_ns: int
    state: str
    resource: dict[str, Any] = field(repr=False)

    @property
    def event_names(self) -> list[str]:
        return [name for name, _ in self.events]


class Collector:
    """What has been collected. `address` is its `host:port`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Span] = []
        self.requests = 0

    @property
    def environment(self) -> dict[str, str]:
        """What has a process export to this, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def of_trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    async def until(self, condition: Callable[[list[Span]], Any], what: str) -> list[Span]:
        """Wait until what has been collected meets a condition; all of it."""

        async def met() -> list[Span] | None:
            return list(self.spans) if condition(self.spans) else None

        return await until(met, what)


class _Servicer(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.collector: Collector | None = None

    async def Export(
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        assert self.collector is not None
        self.collector.requests += 1
        for of_resource in request.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            self.collector.spans += [
                _span(span, resource) for scope in of_resource.scope_spans for span in scope.spans
            ]
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """A collector for as long as the context lasts; port 0 takes any free one."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = _Servicer()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # has no types
    add(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    servicer.collector = Collector(f"127.0.0.1:{bound}")
    await server.start()
    try:
        yield servicer.collector
    finally:
        await server.stop(None)


def _span(span: trace_pb2.Span, resource: dict[str, Any]) -> Span:
    return Span(
        service=resource.get("service.name", ""),
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        state=span.trace_state,
        resource=resource,
    )


def _attributes(pairs: Iterable[common_pb2.KeyValue]) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in pairs
    }
