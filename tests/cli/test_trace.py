"""`visionmesh trace`, against a server that answers as Jaeger's API does."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.running import command

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(
    number: int,
    process: str,
    name: str,
    start_us: int,
    duration_us: int,
    parent: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A span as Jaeger's API has it."""
    above = (
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": f"{parent:016x}"} if parent else None
    )
    return {
        "traceID": TRACE,
        "spanID": f"{number:016x}",
        "operationName": name,
        "references": [above] if above else [],
        "startTime": 1_795_525_804_000_000 + start_us,
        "duration": duration_us,
        "tags": more.get("tags", []),
        "logs": more.get("logs", []),
        "processID": process,
    }


ANSWER = {
    "data": [
        {
            "traceID": TRACE,
            "spans": [
                span(
                    3,
                    "p3",
                    "nsfw.NsfwService/Classify",
                    4_000,
                    6_000,
                    2,
                    logs=[
                        {
                            "timestamp": 1,
                            "fields": [
                                {"key": "event", "type": "string", "value": "result.hit"},
                                {
                                    "key": "visionmesh.result.tier",
                                    "type": "string",
                                    "value": "memory",
                                },
                            ],
                        },
                    ],
                ),
                span(2, "p2", "GET /v1/images/{id}/nsfw", 1_000, 10_000, 1),
                span(1, "p1", "edge rest", 0, 12_000),
                span(
                    4,
                    "p2",
                    "ocr.OcrService/Read",
                    11_000,
                    500,
                    2,
                    tags=[
                        {"key": "error", "type": "bool", "value": True},
                        {"key": "error.type", "type": "string", "value": "DEADLINE_EXCEEDED"},
                    ],
                ),
            ],
            "processes": {
                "p1": {"serviceName": "envoy", "tags": []},
                "p2": {"serviceName": "rest", "tags": []},
                "p3": {"serviceName": "nsfw", "tags": []},
            },
        }
    ],
    "errors": None,
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == f"/api/traces/{TRACE}"
        missing = {"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}
        body = (
            b"<html>"
            if "rubbish" in self.path
            else json.dumps(ANSWER if known else missing).encode()
        )
        self.send_response(200 if known or "rubbish" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def jaeger() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("said", [TRACE, TRACE.upper(), f"00-{TRACE}-00f067aa0ba902b7-01"])
def test_a_waterfall(jaeger: str, said: str):
    """Each span is a line below its parent, with its process, its time and what it says."""
    done = command("trace", said, "--jaeger", jaeger)
    assert done.returncode == 0, done.stderr
    title, head, *lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert title == f"{TRACE}: 4 spans"
    assert head.split()[:2] == ["process", "span"]
    assert "12.0 ms" in head
    assert [line.split()[0] for line in lines] == ["envoy", "rest", "nsfw", "rest"]
    names = ["edge rest", "GET /v1/images/{id}/nsfw", "nsfw.NsfwService/Classify", "ocr.OcrService"]
    columns = [line.index(name) for line, name in zip(lines, names, strict=True)]
    assert [column - columns[0] for column in columns] == [0, 2, 4, 4]
    bars = [(line.index("█"), line.count("█")) for line in lines]
    assert bars[0] == (min(start for start, _ in bars), 32)
    assert [start - bars[0][0] for start, _ in bars] == [0, 2, 10, 29]
    assert [length for _, length in bars] == [32, 27, 16, 1]
    assert [line.split("█")[-1].split()[0] for line in lines] == ["12.00", "10.00", "6.00", "0.50"]
    assert lines[2].endswith("result.hit memory")
    assert lines[3].endswith("DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense: is no trace id"),
        (["0" * 31 + "1"], "Jaeger has no trace " + "0" * 31 + "1"),
        ([TRACE, "--jaeger", "http://127.0.0.1:1"], "no Jaeger answers at http://127.0.0.1:1"),
    ],
)
def test_no_trace(jaeger: str, arguments: list[str], words: str):
    """What is not there is said in one line."""
    done = command("trace", "--jaeger", jaeger, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_what_is_no_jaeger(jaeger: str):
    """A server that answers something else is named, without a traceback."""
    done = command("trace", TRACE, "--jaeger", f"{jaeger}/rubbish")
    assert done.returncode == 1
    assert "no Jaeger answers" in done.stderr
