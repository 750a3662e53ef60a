"""Where Prometheus finds the metrics of one mesh, as its file-based discovery reads it.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config; whoever
should be there is listed, whether or not it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mesh.ports import HOST
from mesh.state import RunningProcess
from services.catalog import ADMIN_OFFSET, BY_NAME, METRICS_OFFSET

ENVOY: Final = {"__metrics_path__": "/stats/prometheus", "__param_usedonly": "1"}
"""Where Envoy says what it counts: of 6,300 series those of which there has been anything."""


def targets(edge_port: int, processes: Iterable[RunningProcess]) -> list[dict[str, Any]]:
    """Every replica of every process, where it is now, and Envoy's admin interface."""
    return [
        _target("envoy", 0, edge_port + ADMIN_OFFSET, **ENVOY),
        *(
            _target(process.name, process.replica, process.port + METRICS_OFFSET)
            for process in processes
            if process.name in BY_NAME
        ),
    ]


def _target(process: str, replica: int, port: int, **labels: str) -> dict[str, Any]:
    return {
        "targets": [f"{HOST}:{port}"],
        "labels": {"process": process, "replica": str(replica), **labels},
    }
