"""A closed-loop HTTP/1.1 load generator: `python -m bench.load` in a process of its own.

Reads a JSON job on standard input (`Job`), writes a JSON report on standard output (`Report`). It
speaks just enough HTTP to keep its own cost low beside what it measures: keep-alive, and answers
with a Content-Length.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import uvloop


@dataclass(frozen=True)
class Job:
    """GET each path once, in order, over `connections` connections that each wait for answers.

    `headers` has a line for each path, where there are any. With `bodies`, one a path, POST them as
    JSON. `in_a_row` requests, sent one after the other, are what a latency is of. An answer that
    contains `unwanted` has failed.
    """

    host: str
    port: int
    connections: int
    paths: list[str]
    headers: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    in_a_row: int = 1
    unwanted: str = ""


@dataclass(frozen=True)
class Report:
    """Latencies in milliseconds in the order of finishing, and what was not a 200."""

    seconds: float
    latencies_ms: list[float]
    failures: list[str]


def run(job: Job) -> Report:
    """Run a job in a process of its own, so that its work is not counted as the mesh's."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Report(**json.loads(done.stdout))


async def _drive(job: Job) -> Report:
    rows = iter(_rows(job))
    latencies_ms: list[float] = []
    failures: list[str] = []
    streams = [await asyncio.open_connection(job.host, job.port) for _ in range(job.connections)]
    started = time.perf_counter()
    await asyncio.gather(
        *(_client(job, reader, writer, rows, latencies_ms, failures) for reader, writer in streams)
    )
    seconds = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return Report(seconds, latencies_ms, failures)


def _rows(job: Job) -> list[list[bytes]]:
    """What is sent, written before the clock runs."""
    host = f"Host: {job.host}:{job.port}\r\n"
    if job.bodies:
        kind = f"{host}Content-Type: application/json\r\n"
        sent = [
            f"POST {path} HTTP/1.1\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            for path, body in zip(job.paths, job.bodies, strict=True)
        ]
    else:
        lines = [f"{line}\r\n" for line in job.headers] or [""] * len(job.paths)
        sent = [
            f"GET {path} HTTP/1.1\r\n{host}{line}\r\n".encode()
            for path, line in zip(job.paths, lines, strict=True)
        ]
    return [sent[at : at + job.in_a_row] for at in range(0, len(sent), job.in_a_row)]


async def _client(
    job: Job,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    rows: Iterator[list[bytes]],
    latencies_ms: list[float],
    failures: list[str],
) -> None:
    unwanted = job.unwanted.encode()
    for row in rows:
        asked = time.perf_counter()
        for request in row:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _content_length(head)
            body = await reader.readexactly(length) if length else b""
            if not head.startswith(b"HTTP/1.1 200") or (unwanted and unwanted in body):
                line = request[: request.index(b" HTTP/1.1")].decode()
                failures.append(f"{line}: {head[:12].decode()} {body[:200].decode()}")
        latencies_ms.append((time.perf_counter() - asked) * 1e3)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without Content-Length: {head!r}")


if __name__ == "__main__":
    report = uvloop.run(_drive(Job(**json.load(sys.stdin))))
    json.dump(asdict(report), sys.stdout)
