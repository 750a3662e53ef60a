"""A trace out of Jaeger, as a tree of spans."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.errors import MeshError

TIMEOUT_S: Final = 10.0

_ID: Final = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")


@dataclass
class Span:
    """One span. Times are milliseconds, `start_ms` since the trace began."""

    service: str
    name: str
    start_ms: float
    duration_ms: float
    error: str
    """What kind of error it failed with; empty when it did not."""
    notes: list[str] = field(default_factory=list)
    children: list[Span] = field(default_factory=list)


@dataclass
class Trace:
    """All spans of a trace that Jaeger has; roots are those whose parent it does not have."""

    trace_id: str
    duration_ms: float
    roots: list[Span]

    def walk(self) -> Iterator[tuple[int, Span]]:
        """Each span with its depth, parents first and siblings by their start."""
        waiting = [(0, root) for root in reversed(self.roots)]
        while waiting:
            depth, span = waiting.pop()
            yield depth, span
            waiting += [(depth + 1, child) for child in reversed(span.children)]


def trace_id_of(text: str) -> str:
    """The id that a person gives: as `x-trace-id` says it, or a whole `traceparent`.

    Raises MeshError.
    """
    found = _ID.fullmatch(text.strip().lower())
    if found is None:
        raise MeshError(f"{text}: is no trace id: 32 hexadecimal digits, as x-trace-id has them")
    return found[1]


def fetch(url: str, trace_id: str) -> Trace:
    """The trace of this id from the Jaeger at `url`. Raises MeshError."""
    address = f"{url.rstrip('/')}/api/traces/{trace_id}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            raise MeshError(
                f"Jaeger has no trace {trace_id}: not recorded, not exported yet, or forgotten"
            ) from None
        raise MeshError(f"{address}: status {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise MeshError(f"no Jaeger answers at {url}: {reason}") from None
    try:
        return _trace(trace_id, content["data"][0])
    except (LookupError, TypeError, ValueError):
        raise MeshError(f"{address}: is no trace") from None


def _trace(trace_id: str, data: Any) -> Trace:
    processes = {key: value["serviceName"] for key, value in data["processes"].items()}
    began = min(span["startTime"] for span in data["spans"])
    ended = max(span["startTime"] + span["duration"] for span in data["spans"])
    spans: dict[str, Span] = {}
    parents: dict[str, str] = {}
    for found in sorted(data["spans"], key=lambda span: span["startTime"]):
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", ())}
        failed = tags.get("error") in (True, "true") or tags.get("otel.status_code") == "ERROR"
        spans[found["spanID"]] = Span(
            processes[found["processID"]],
            found["operationName"],
            (found["startTime"] - began) / 1000,
            found["duration"] / 1000,
            str(tags.get("error.type", "error")) if failed else "",
            [event for log in found.get("logs", ()) if (event := _event(log))],
        )
        for reference in found.get("references", ()):
            if reference["refType"] == "CHILD_OF" and reference["traceID"] == found["traceID"]:
                parents[found["spanID"]] = reference["spanID"]
    roots: list[Span] = []
    for span_id, span in spans.items():
        parent = spans.get(parents.get(span_id, ""))
        (roots if parent is None else parent.children).append(span)
    return Trace(trace_id, (ended - began) / 1000, roots)


def _event(log: Any) -> str:
    """A span's event, with the tier where there is one: `result.hit memory`."""
    fields = {one["key"]: one["value"] for one in log.get("fields", ())}
    said = (fields.get("event"), fields.get("visionmesh.result.tier"))
    return " ".join(str(one) for one in said if one)
