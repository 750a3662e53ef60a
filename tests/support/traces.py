"""Traces as trees: who called whom, and through what."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from services import catalog
from tests.support.collector import Collector, Span
from tests.support.whole import Answer, World, until

ENVOY = "envoy"

RPCS = {
    "images": "CreateImage",
    "nsfw": "Classify",
    "detection": "Detect",
    "ocr": "Read",
    "logo": "Recognize",
    "moderation": "Moderate",
}


class Trace:
    """The spans of one trace that have been collected."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = list(spans)
        self._by_id = {span.span_id: span for span in spans}

    def parent(self, span: Span) -> Span | None:
        return self._by_id.get(span.parent_id)

    @property
    def roots(self) -> list[Span]:
        """Spans whose parent is nowhere in the trace."""
        return [span for span in self.spans if span.parent_id not in self._by_id]

    @property
    def edges(self) -> Counter[tuple[str, str]]:
        """How often each process was called by which, whatever Envoy was between them."""
        return Counter(
            (caller.service, span.service)
            for span in self.spans
            if span.kind == "server" and span.service != ENVOY
            if (caller := self._caller(span))
        )

    def named(self, name: str, service: str = "") -> list[Span]:
        return [
            span
            for span in self.spans
            if span.name == name and (not service or span.service == service)
        ]

    def of(self, service: str) -> list[Span]:
        return [span for span in self.spans if span.service == service]

    def __str__(self) -> str:
        children: dict[str, list[Span]] = {}
        for span in sorted(self.spans, key=lambda span: span.start_ns):
            known = span.parent_id if span.parent_id in self._by_id else ""
            children.setdefault(known, []).append(span)
        lines: list[str] = []

        def write(span_id: str, depth: int) -> None:
            for span in children.get(span_id, []):
                took = (span.end_ns - span.start_ns) / 1e6
                said = f"{span.service}: {span.name} [{span.kind}] {took:.2f} ms"
                lines.append("  " * depth + said + (" FAILED" if span.failed else ""))
                write(span.span_id, depth + 1)

        write("", 0)
        return "\n".join(lines)

    def _caller(self, span: Span) -> Span | None:
        """The nearest span above that is another process's and not Envoy's, or else Envoy's."""
        last, above = None, self.parent(span)
        while above is not None:
            if above.service != ENVOY:
                return above
            last, above = above, self.parent(above)
        return last


@dataclass
class Traced:
    """A mesh whose policy reads all models, and where its spans go."""

    world: World
    collector: Collector

    async def trace(self, answer: Answer, is_whole: Callable[[Trace], object]) -> Trace:
        """The trace that an answer names, once it has everything that `is_whole` asks for."""
        trace_id = answer.headers["x-trace-id"]

        async def whole() -> Trace | None:
            trace = Trace(self.collector.of_trace(trace_id))
            return trace if len(trace.roots) == 1 and is_whole(trace) else None

        try:
            return await until(whole, f"a whole trace {trace_id}")
        except AssertionError:
            raise AssertionError(str(Trace(self.collector.of_trace(trace_id)))) from None


@contextmanager
def stopped(mesh: Traced, process: str) -> Iterator[None]:
    """The process does not run meanwhile, and nobody notices before it is asked."""
    pid = mesh.world.mesh.pid(process)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def check_call(trace: Trace, caller: str, callee: str) -> Span:
    """One call between two processes, with Envoy between them: four spans, each below the last.

    The callee's span.
    """
    rpc = f"{catalog.BY_NAME[callee].grpc_service}/{RPCS[callee]}"
    (client,) = [span for span in trace.named(rpc, caller) if span.kind == "client"]
    (envoy,) = [span for span in trace.of(ENVOY) if trace.parent(span) is client]
    (server,) = [span for span in trace.named(rpc, callee) if trace.parent(span) is envoy]
    assert envoy.name == f"mesh {callee}"
    assert (client.kind, envoy.kind, server.kind) == ("client", "server", "server")
    for span in (client, server):
        assert span.attributes["rpc.system.name"] == "grpc"
        assert span.attributes["rpc.method"] == rpc
    return server


def check_http(trace: Trace, method: str, route: str, status: int) -> Span:
    """The request at Envoy's edge, and below it at the facade; the facade's span."""
    (root,) = trace.roots
    assert (root.service, root.name, root.parent_id) == (ENVOY, "edge rest", "")
    (server,) = [span for span in trace.of("rest") if span.kind == "server"]
    assert trace.parent(server) is root
    assert server.name == f"{method} {route}"
    assert server.attributes["http.request.method"] == method
    assert server.attributes["http.route"] == route
    assert server.attributes["http.response.status_code"] == status
    return server


def has_edges(*edges: tuple[str, str]) -> Callable[[Trace], bool]:
    return lambda trace: trace.edges.keys() >= {(ENVOY, "rest"), *edges}
