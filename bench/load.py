"""A closed-loop HTTP/1.1 load generator: `python -m bench.load` in a process of its own.

Reads JSON jobs on standard input (`Job`), one a line, and answers each with a JSON report on
standard output (`Report`). It speaks just enough HTTP to keep its own cost low beside what it
measures: keep-alive, and answers with a Content-Length.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Self

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


class Client:
    """A load generator in a process of its own, so that its work is not counted as the mesh's; a
    context ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()  # the end of its input is its end

    def run(self, job: Job) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return Report(**json.loads(self._process.stdout.readline()))


def run(job: Job) -> Report:
    """Run one job in a process that begins and ends with it."""
    with Client() as client:
        return client.run(job)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _drive(job: Job, idle: list[Streams]) -> Report:
    """`idle` has the connections of the job before to the same server, and then those of this."""
    rows = iter(_rows(job))
    latencies_ms: list[float] = []
    failures: list[str] = []
    while len(idle) < job.connections:
        idle.append(await asyncio.open_connection(job.host, job.port))
    started = time.perf_counter()
    await asyncio.gather(
        *(
            _client(job, reader, writer, rows, latencies_ms, failures)
            for reader, writer in idle[: job.connections]
        )
    )
    return Report(time.perf_counter() - started, latencies_ms, failures)


def _serve() -> None:
    idle: dict[tuple[str, int], list[Streams]] = defaultdict(list)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            job = Job(**json.loads(line))
            report = runner.run(_drive(job, idle[job.host, job.port]))
            print(json.dumps(asdict(report)), flush=True)


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
    _serve()
