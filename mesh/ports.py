"""The ports of one mesh: all of them counted from its edge port by the catalog."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from typing import Final

from mesh.errors import InvalidOption, PortInUse
from services.catalog import ADMIN_OFFSET, BY_NAME, MESH_OFFSET, PROCESSES, Process

HOST: Final = "127.0.0.1"

LAST_ROOM: Final = 10
"""Replicas that the process with the highest offset may have (the others: up to the next)."""

SPAN: Final = max(process.offset for process in PROCESSES) + LAST_ROOM
"""Ports from the edge port on that one mesh may use."""

MAX_EDGE_PORT: Final = 65_535 - SPAN


def max_replicas(process: Process) -> int:
    """How many replicas may be, and fit before the next process's ports."""
    if process.max_replicas is not None:
        return process.max_replicas
    later = [other.offset for other in PROCESSES if other.offset > process.offset]
    return min(later, default=process.offset + LAST_ROOM) - process.offset


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
        for replica in range(replicas[process.name]):
            ports[process.port(edge_port, replica)] = process.name
    return ports


def check_free(edge_port: int, replicas: Mapping[str, int]) -> None:
    """Raise PortInUse when a port of this mesh is taken, InvalidOption when it cannot be one."""
    if not 1 <= edge_port <= MAX_EDGE_PORT:
        raise InvalidOption(f"--port {edge_port}: must be from 1 to {MAX_EDGE_PORT}")
    for port, owner in wanted(edge_port, replicas).items():
        if not _free(port):
            raise PortInUse(
                f"port {port} is in use, and {owner} wants it: "
                f"choose another block of ports with --port (now {edge_port})"
            )


def free_block() -> int:
    """An edge port whose whole block is free at the moment.

    Taken at random below the ports that Linux gives to outgoing connections, and aligned: two
    blocks are the same or apart.
    """
    blocks = list(range(10_000, 32_000, 100))
    random.shuffle(blocks)
    for block in blocks:
        if all(_free(port) for port in range(block, block + SPAN)):
            return block
    raise PortInUse(f"no {SPAN} free ports in a row")


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers in TIME_WAIT does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
