"""A real Prometheus, its promtool, and metrics as processes write them."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.whole import until

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy/prometheus"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(text: str) -> dict[str, Metric]:
    """Metrics by name, as Prometheus reads a text; counters are called as their samples are."""
    found = text_string_to_metric_families(text)
    return {one.name + ("_total" if one.type == "counter" else ""): one for one in found}


def samples(text: str) -> Samples:
    """Every value of a text, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(of: CollectorRegistry | str, name: str, **labels: str) -> float:
    """One value of a registry or a text; 0 when it is not there."""
    text = of if isinstance(of, str) else generate_latest(of).decode()
    return samples(text).get((name, frozenset(labels.items())), 0.0)


def labelled(text: str, name: str, label: str) -> set[str]:
    """All values of a label of one metric."""
    return {
        dict(labels)[label]
        for (sample, labels) in samples(text)
        if sample == name and label in dict(labels)
    }


async def promtool(*arguments: str | Path, given: str = "") -> tuple[int, str]:
    """Exit status and output of promtool, with a text on its standard input."""
    program = shutil.which("promtool")
    assert program, "these tests need a real Prometheus: apt-get install prometheus"
    process = await asyncio.create_subprocess_exec(
        program,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(given.encode())
    assert process.returncode is not None
    return process.returncode, said.decode()


class Prometheus:
    """One that runs, asked by its API."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Raises AssertionError for one that is no success."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        async with self._http.get(url) as answer:
            content = json.loads(await answer.read())
        assert content["status"] == "success", (path, parameters, content)
        return content["data"]

    async def query(self, expression: str) -> list[Mapping[str, Any]]:
        """What an expression is now."""
        found: list[Mapping[str, Any]] = (await self.get("query", query=expression))["result"]
        return found

    async def ready(self) -> bool:
        """Whether it takes questions."""
        try:
            async with self._http.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def prometheus(config: Path, folder: Path, port: int) -> AsyncIterator[Prometheus]:
    """A Prometheus that has read its configuration, and is gone afterwards."""
    program = shutil.which("prometheus")
    assert program, "these tests need a real Prometheus: apt-get install prometheus"
    log = folder / "prometheus.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=said,
            stderr=said,
        )
    try:
        async with aiohttp.ClientSession() as http:
            running = Prometheus(f"http://127.0.0.1:{port}", http)

            async def is_ready() -> bool:
                assert process.returncode is None, log.read_text()
                return await running.ready()

            await until(is_ready, "a Prometheus that is ready")
            yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
