"""Traces as trees: who called whom, and through what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.support.collector import Span

ENVOY = "envoy"


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
