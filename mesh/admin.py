"""What Envoy says about its upstream hosts, from its admin interface."""

from __future__ import annotations

import http.client
import json
from typing import Any

from mesh.ports import HOST

TIMEOUT_S = 2.0


def healthy_ports(admin_port: int) -> dict[str, set[int]]:
    """The ports of each process that Envoy sends requests to.

    A process may have several clusters, which differ in how they balance: a port counts when all of
    them have it. Raises OSError, ValueError when Envoy does not answer.
    """
    found: dict[str, set[int]] = {}
    for name, hosts in _clusters(admin_port):
        ports = {port for port, health in hosts if _healthy(health)}
        found[name] = found[name] & ports if name in found else ports
    return found


def known_ports(admin_port: int) -> dict[str, set[int]]:
    """The ports of each process that any of its clusters has. Raises OSError, ValueError."""
    found: dict[str, set[int]] = {}
    for name, hosts in _clusters(admin_port):
        found.setdefault(name, set()).update(port for port, _ in hosts)
    return found


def reopen_logs(admin_port: int) -> None:
    """Let Envoy open its access log anew, after it was moved aside. Raises OSError."""
    _ask(admin_port, "POST", "/reopen_logs")


def _clusters(admin_port: int) -> list[tuple[str, list[tuple[int, dict[str, Any]]]]]:
    """The process that each cluster is of, with the ports of its hosts and what ails them."""
    answer = _ask(admin_port, "GET", "/clusters?format=json")
    return [
        (
            cluster.get("eds_service_name", cluster["name"]),
            [
                (host["address"]["socket_address"]["port_value"], host["health_status"])
                for host in cluster.get("host_statuses", ())
            ],
        )
        for cluster in json.loads(answer)["cluster_statuses"]
    ]


def _ask(admin_port: int, method: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(HOST, admin_port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    except http.client.HTTPException as error:
        raise OSError(f"no valid answer from Envoy: {error!r}") from error
    finally:
        connection.close()


def _healthy(status: dict[str, Any]) -> bool:
    # What is wrong with a host is said by flags that are there only when they are true.
    return not any(value is True for value in status.values())
