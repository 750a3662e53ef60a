"""The Envoy of one mesh, as its launcher deals with it: files in, counters and readiness out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from mesh import admin, proxy
from mesh.child import Child, State
from mesh.errors import MeshError
from mesh.health import HttpProbe, Unhealthy
from mesh.logs import MAX_FILE_BYTES
from mesh.ports import HOST, reachable
from mesh.proxy import ProxySettings
from mesh.state import DataDir
from mesh.validation import InvalidProxyConfig, validate
from services.catalog import ROUTED

POLL_S: Final = 0.05
TIDY_INTERVAL_S: Final = 10.0


class Front:
    """Envoy's configuration, the endpoints that it watches, and what it has made of them."""

    def __init__(self, data: DataDir, settings: ProxySettings) -> None:
        self._data = data
        self._settings = settings
        self._endpoints: dict[str, list[tuple[str, int]]] = {}

    def prepare(self) -> None:
        """The configuration, checked by Envoy, and no replica yet in the files that it watches.

        Raises MeshError.
        """
        for process in ROUTED:
            self._write(process.name, [])
        try:
            proxy.write_config(self._data.envoy_config, self._settings)
            validate(self._data.envoy_config)
        except InvalidProxyConfig as error:
            raise MeshError(f"Envoy refuses its configuration: {error}") from None

    def follow(self, children: Iterable[Child]) -> None:
        """List the replicas that serve. Raises OSError."""
        serving: dict[str, list[tuple[str, int]]] = {process.name: [] for process in ROUTED}
        for child in children:
            # Who hangs stays: whether to wait for it is Envoy's health check's business.
            if child.program.name in serving and child.state in (State.HEALTHY, State.UNHEALTHY):
                serving[child.program.name].append((HOST, child.program.port))
        for name, addresses in serving.items():
            if self._endpoints[name] != addresses:
                self._write(name, addresses)

    async def wait_routed(self) -> None:
        """Wait until Envoy has found every replica that is listed, and found it healthy."""
        while True:
            try:
                seen = await asyncio.to_thread(admin.healthy_ports, self._settings.admin_port)
            except (OSError, ValueError):
                seen = {}
            if all(
                seen.get(name, set()) >= {port for _, port in listed}
                for name, listed in self._endpoints.items()
            ):
                return
            await asyncio.sleep(POLL_S)

    async def wait_edge(self) -> None:
        """Wait until a request through the edge is answered."""
        await _passed(
            HttpProbe(self._settings.port, "/healthz", reachable(self._settings.edge_host))
        )

    async def wait_introduced(self) -> None:
        """Wait until everybody who takes requests has heard from everybody it asks."""
        for process in ROUTED:
            if process.protocol == "http":
                for host, port in self._endpoints[process.name]:
                    await _passed(HttpProbe(port, "/readyz", host))

    async def keep_access_log_short(self) -> None:
        """Move the access log aside when it is large, as the processes' files are; for ever."""
        log = self._settings.access_log
        while True:
            await asyncio.sleep(TIDY_INTERVAL_S)
            with suppress(OSError):
                if log.stat().st_size > MAX_FILE_BYTES:
                    log.replace(log.with_suffix(".log.1"))
                    await asyncio.to_thread(admin.reopen_logs, self._settings.admin_port)

    def _write(self, name: str, addresses: list[tuple[str, int]]) -> None:
        proxy.write_endpoints(self._data.endpoints, name, addresses)
        self._endpoints[name] = addresses


async def _passed(probe: HttpProbe) -> None:
    while True:
        try:
            await probe.check(timeout_s=2.0)
        except Unhealthy:
            await asyncio.sleep(POLL_S)
        else:
            return
