"""The ports of one mesh: all of them counted from its edge port by the catalog."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from mesh.errors import InvalidOption, PortInUse
from services.catalog import (
    ADMIN_OFFSET,
    BY_NAME,
    MESH_OFFSET,
    METRICS_OFFSET,
    PROCESSES,
    Process,
)

HOST: Final = "127.0.0.1"

LAST_ROOM: Final = 10
"""Ports of the process with the highest offset (the others: up to the next)."""

SPARE: Final = 1
"""Ports of a process beyond those of its replicas, for one that is to take over."""

SPAN: Final = max(process.offset for process in PROCESSES) + LAST_ROOM + METRICS_OFFSET
"""Ports from the edge port on that one mesh may use."""

MAX_EDGE_PORT: Final = 65_535 - SPAN


def max_replicas(process: Process) -> int:
    """How many replicas may be, and fit before the next process's ports."""
    if process.max_replicas is not None:
        return process.max_replicas
    later = [other.offset for other in PROCESSES if other.offset > process.offset]
    return min(later, default=process.offset + LAST_ROOM) - process.offset - SPARE


def room(process: Process, edge_port: int, replicas: int) -> tuple[int, ...]:
    """The ports that replicas of a process may have, one more than there are of them."""
    return tuple(process.port(edge_port, number) for number in range(replicas + SPARE))


def replicas_of(asked: Mapping[str, int]) -> dict[str, int]:
    """Replicas of each process: as asked, else as the catalog says. Raises InvalidOption."""
    for name, count in asked.items():
        if name not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise InvalidOption(f"--replicas {name}={count}: no such process; there are: {known}")
        if not 1 <= count <= max_replicas(BY_NAME[name]):
            most = max_replicas(BY_NAME[name])
            allowed = "must be 1" if most == 1 else f"must be from 1 to {most}"
            raise InvalidOption(f"--replicas {name}={count}: {allowed}")
    return {process.name: asked.get(process.name, process.replicas) for process in PROCESSES}


def wanted(edge_port: int, replicas: Mapping[str, int]) -> dict[int, str]:
    """Who wants which port."""
    ports = {
        edge_port: "envoy's edge listener",
        edge_port + MESH_OFFSET: "envoy's mesh listener",
        edge_port + ADMIN_OFFSET: "envoy's admin interface",
    }
    for process in PROCESSES:
        for port in room(process, edge_port, replicas[process.name]):
            ports[port] = process.name
            ports[port + METRICS_OFFSET] = f"{process.name}'s metrics"
    return ports


def check_free(edge_port: int, replicas: Mapping[str, int], edge_host: str = HOST) -> None:
    """Raise PortInUse when a port of this mesh is taken, InvalidOption when it cannot be one.

    All are loopback's, and the edge's is `edge_host`'s too.
    """
    if not 1 <= edge_port <= MAX_EDGE_PORT:
        raise InvalidOption(f"--port {edge_port}: must be from 1 to {MAX_EDGE_PORT}")
    for port, owner in wanted(edge_port, replicas).items():
        hosts = {HOST, edge_host} if port == edge_port else {HOST}
        if not all(_free(port, host) for host in hosts):
            raise PortInUse(
                f"port {port} is in use, and {owner} wants it: "
                f"choose another block of ports with --port (now {edge_port})"
            )


BLOCKS: Final = range(10_000, 32_000, 200)
"""Edge ports below those that Linux gives to outgoing connections: two blocks never overlap."""


def free_block(blocks: Sequence[int] = BLOCKS) -> int:
    """An edge port, one of `blocks` at random, whose whole block is free at the moment."""
    for block in random.sample(blocks, len(blocks)):
        if all(_free(port) for port in range(block, block + SPAN)):
            return block
    raise PortInUse(f"no {SPAN} free ports in a row")


def address(host: str) -> str:
    """An address that the edge may listen at, as Envoy wants it. Raises InvalidOption."""
    if host == "localhost":
        return HOST
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise InvalidOption(
            f"--host {host}: must be an address of this machine, as in 0.0.0.0 (all of them)"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    return ipaddress.ip_address(host).is_loopback


def reachable(host: str) -> str:
    """Where this machine finds what listens at an address, which may stand for all of them."""
    found = ipaddress.ip_address(host)
    if not found.is_unspecified:
        return host
    return HOST if found.version == 4 else "::1"


def url(host: str, port: int) -> str:
    """Of an HTTP server at an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _free(port: int, host: str = HOST) -> bool:
    """Raises InvalidOption when this machine has no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers in TIME_WAIT does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidOption(f"--host {host}: is no address of this machine") from None
            return False
        return True
