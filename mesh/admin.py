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
    for cluster in _clusters(admin_port):
        name = cluster.get("eds_service_name", cluster["name"])
        ports = {
            host["address"]["socket_address"]["port_value"]
            for host in cluster.get("host_statuses", ())
            if _healthy(host["health_status"])
        }
        found[name] = found[name] & ports if name in found else ports
    return found


def reopen_logs(admin_port: int) -> None:
    """Let Envoy open its access log anew, after it was moved aside. Raises OSError."""
    _ask(admin_port, "POST", "/reopen_logs")


def _clusters(admin_port: int) -> list[dict[str, Any]]:
    answer = _ask(admin_port, "GET", "/clusters?format=json")
    statuses: list[dict[str, Any]] = json.loads(answer)["cluster_statuses"]
    return statuses


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
