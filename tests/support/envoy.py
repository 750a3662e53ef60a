"""A real Envoy on free ports, for tests."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from mesh import proxy
from mesh.proxy import ProxySettings

Config = dict[str, Any]
"""A parsed bootstrap configuration, which tests may take a feature out of."""

patience_s: ContextVar[float] = ContextVar("patience_s", default=20.0)
"""How long a condition may take before a test gives up on it: long, as machines may be busy."""


def settings_in(directory: Path, **changes: Any) -> ProxySettings:
    """Settings on free ports, with every file in `directory`."""
    free = replace(ProxySettings.under(directory), port=0, mesh_port=0, admin_port=0)
    return replace(free, **changes)


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `condition` holds; AssertionError says `what` never came."""
    try:
        async with asyncio.timeout(patience_s.get()):
            while not await condition():  # noqa: ASYNC110, another process meets it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


@dataclass(frozen=True)
class Envoy:
    """A running Envoy: where it listens, and what its counters say."""

    settings: ProxySettings
    edge_port: int
    mesh_port: int
    admin_port: int
    process: asyncio.subprocess.Process

    @property
    def edge(self) -> str:
        return f"http://127.0.0.1:{self.edge_port}"

    @property
    def mesh(self) -> str:
        return f"127.0.0.1:{self.mesh_port}"

    async def admin(self, path: str) -> Any:
        """A JSON document of the admin interface."""
        return await _admin(self.admin_port, path)

    async def stat(self, name: str) -> int:
        """One counter or gauge by its full name, 0 while Envoy does not have it."""
        found = await self.admin(f"/stats?format=json&filter=^{name}$")
        return next((entry["value"] for entry in found["stats"] if "value" in entry), 0)

    async def until_stat(self, name: str, holds: Callable[[int], bool]) -> None:
        """Wait until a counter or gauge has a value that `holds` accepts."""

        async def check() -> bool:
            return holds(await self.stat(name))

        await until(check, f"{name} as wanted")

    async def until_healthy(self, cluster: str, count: int) -> None:
        """Wait until exactly `count` replicas of a cluster are healthy."""
        await self.until_stat(f"cluster.{cluster}.membership_healthy", lambda value: value == count)


@asynccontextmanager
async def running(
    settings: ProxySettings, without: Callable[[Config], None] | None = None
) -> AsyncIterator[Envoy]:
    """Start Envoy with the rendered configuration, from which `without` may take something out.

    Yields when it is ready: its listeners are bound and the replicas in its endpoint files have
    been asked for their health once.
    """
    directory = settings.endpoints_dir.parent
    config_path = directory / "envoy.yaml"
    proxy.write_config(config_path, settings)
    if without:
        config = yaml.load(config_path.read_text(), Loader=yaml.CSafeLoader)
        without(config)
        config_path.write_text(json.dumps(config))
    address_path = directory / "admin.address"
    address_path.unlink(missing_ok=True)
    log_path = directory / "envoy.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *proxy.command(config_path, settings),
            "--admin-address-path",
            str(address_path),
            stderr=log,
        )
    try:
        yield await _ready(process, settings, address_path, log_path)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(
    process: asyncio.subprocess.Process, settings: ProxySettings, address: Path, log: Path
) -> Envoy:
    async def bound() -> bool:
        assert process.returncode is None, f"Envoy did not start: {_text(log)}"
        return ":" in _text(address)

    await until(bound, "Envoy's admin interface")
    admin_port = int(_text(address).rpartition(":")[2])

    async def live() -> bool:
        assert process.returncode is None, f"Envoy did not start: {_text(log)}"
        return bool((await _admin(admin_port, "/server_info"))["state"] == "LIVE")

    await until(live, "Envoy's readiness")
    listeners = await _admin(admin_port, "/listeners?format=json")
    ports = {
        status["name"]: status["local_address"]["socket_address"]["port_value"]
        for status in listeners["listener_statuses"]
    }
    return Envoy(settings, ports.get("edge", 0), ports.get("mesh", 0), admin_port, process)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def _admin(port: int, path: str) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return json.loads(await response.text())
