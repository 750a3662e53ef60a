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

    `headers` has a line for each path, where there are any.
    """

    host: str
    port: int
    connections: int
    paths: list[str]
    headers: list[str] = field(default_factory=list)


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
    lines = [f"{line}\r\n" for line in job.headers] or [""] * len(job.paths)
    paths = iter(zip(job.paths, lines, strict=True))
    latencies_ms: list[float] = []
    failures: list[str] = []
    streams = [await asyncio.open_connection(job.host, job.port) for _ in range(job.connections)]
    started = time.perf_counter()
    await asyncio.gather(
        *(_client(job, reader, writer, paths, latencies_ms, failures) for reader, writer in streams)
    )
    seconds = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return Report(seconds, latencies_ms, failures)


async def _client(
    job: Job,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    paths: Iterator[tuple[str, str]],
    latencies_ms: list[float],
    failures: list[str],
) -> None:
    for path, line in paths:
        request = f"GET {path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n{line}\r\n"
        asked = time.perf_counter()
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = _content_length(head)
        body = await reader.readexactly(length) if length else b""
        latencies_ms.append((time.perf_counter() - asked) * 1e3)
        if not head.startswith(b"HTTP/1.1 200"):
            failures.append(f"{path}: {head[:12].decode()} {body[:200].decode()}")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without Content-Length: {head!r}")


if __name__ == "__main__":
    report = uvloop.run(_drive(Job(**json.load(sys.stdin))))
    json.dump(asdict(report), sys.stdout)
