"""The Envoy of one mesh, as its launcher deals with it: files in, counters and readiness out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mesh import admin, proxy
from mesh.child import Child, Role, State
from mesh.errors import MeshError
from mesh.health import HttpProbe, Unhealthy
from mesh.logs import MAX_FILE_BYTES
from mesh.ports import HOST, reachable
from mesh.proxy import ProxySettings
from mesh.state import DataDir
from mesh.validation import InvalidProxyConfig, validate
from services.catalog import ROUTED, Process

POLL_S: Final = 0.05
TIDY_INTERVAL_S: Final = 10.0


@dataclass
class _Replicas:
    """Where the replicas of one process are, as Envoy is told."""

    serving: list[tuple[str, int]] = field(default_factory=list)
    standby: list[tuple[str, int]] = field(default_factory=list)

    def take(self, child: Child) -> None:
        address = (HOST, child.program.port)
        if child.role is Role.SERVING:
            self.serving.append(address)
        elif child.role is Role.STANDBY:
            self.standby.append(address)


class Front:
    """Envoy's configuration, the endpoints that it watches, and what it has made of them."""

    def __init__(self, data: DataDir, settings: ProxySettings) -> None:
        self._data = data
        self._settings = settings
        self._endpoints: dict[str, _Replicas] = {}

    def prepare(self) -> None:
        """The configuration, checked by Envoy, and no replica yet in the files that it watches.

        Raises MeshError.
        """
        for process in ROUTED:
            self._write(process.name, _Replicas())
        try:
            proxy.write_config(self._data.envoy_config, self._settings)
            validate(self._data.envoy_config)
        except InvalidProxyConfig as error:
            raise MeshError(f"Envoy refuses its configuration: {error}") from None

    def follow(self, children: Iterable[Child]) -> None:
        """List the replicas that serve. Raises OSError."""
        found = {process.name: _Replicas() for process in ROUTED}
        for child in children:
            # Who hangs stays: whether to wait for it is Envoy's health check's business.
            if child.program.name in found and child.state in (State.HEALTHY, State.UNHEALTHY):
                found[child.program.name].take(child)
        for name, replicas in found.items():
            if self._endpoints[name] != replicas:
                self._write(name, replicas)

    async def wait_routed(self) -> None:
        """Wait until Envoy has found every replica that is listed, and found it healthy."""

        def holds(seen: Mapping[str, set[int]]) -> bool:
            return all(
                seen.get(name, set()) >= {port for _, port in replicas.serving}
                for name, replicas in self._endpoints.items()
            )

        await self._until(holds, admin.healthy_ports)

    async def wait_found(self, name: str, port: int) -> None:
        """Wait until Envoy has found one replica, on standby or not, and found it healthy."""
        await self._until(lambda seen: port in seen.get(name, set()), admin.healthy_ports)

    async def wait_left(self, name: str, port: int) -> None:
        """Wait until Envoy sends nothing new to a replica that is not listed any more."""
        await self._until(lambda seen: name in seen and port not in seen[name], admin.known_ports)

    async def wait_edge(self) -> None:
        """Wait until a request through the edge is answered."""
        await _passed(
            HttpProbe(self._settings.port, "/healthz", reachable(self._settings.edge_host))
        )

    async def wait_introduced(self) -> None:
        """Wait until everybody who takes requests has heard from everybody it asks."""
        for process in ROUTED:
            for _, port in self._endpoints[process.name].serving:
                await wait_ready(process, port)

    async def keep_access_log_short(self) -> None:
        """Move the access log aside when it is large, as the processes' files are; for ever."""
        log = self._settings.access_log
        while True:
            await asyncio.sleep(TIDY_INTERVAL_S)
            with suppress(OSError):
                if log.stat().st_size > MAX_FILE_BYTES:
                    log.replace(log.with_suffix(".log.1"))
                    await asyncio.to_thread(admin.reopen_logs, self._settings.admin_port)

    async def _until(
        self,
        holds: Callable[[Mapping[str, set[int]]], bool],
        look: Callable[[int], Mapping[str, set[int]]],
    ) -> None:
        while True:
            with suppress(OSError, ValueError):
                if holds(await asyncio.to_thread(look, self._settings.admin_port)):
                    return
            await asyncio.sleep(POLL_S)

    def _write(self, name: str, replicas: _Replicas) -> None:
        proxy.write_endpoints(
            self._data.endpoints, name, replicas.serving, standby=replicas.standby
        )
        self._endpoints[name] = replicas


async def wait_ready(process: Process, port: int) -> None:
    """Wait until a replica that is healthy has what it needs to answer, where it says so apart.

    What speaks gRPC is healthy when it has: its model is loaded, and warm.
    """
    if process.protocol == "http":
        await _passed(HttpProbe(port, "/readyz"))


async def _passed(probe: HttpProbe) -> None:
    while True:
        try:
            await probe.check(timeout_s=2.0)
        except Unhealthy:
            await asyncio.sleep(POLL_S)
        else:
            return
