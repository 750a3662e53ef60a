"""Where the traces of a mesh on this machine go: a collector that is named, or a Jaeger.

Jaeger is started as its own all-in-one, with its own ports: OTLP over gRPC at 4317, its pages and
its API at 16686. One that runs already is used, by several meshes too.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mesh.errors import InvalidOption
from mesh.ports import HOST, url
from mesh.tracing import PORT as OTLP_PORT
from services.serving import telemetry

JAEGER: Final = "jaeger"

UI_PORT: Final = 16686

HOW: Final = (
    "no traces are kept: put `jaeger` on the PATH (https://www.jaegertracing.io/download/), "
    "name it with --jaeger, or name a collector with --otlp"
)


@dataclass(frozen=True, slots=True)
class Traces:
    """Where traces go, as `said` says; a `jaeger` that is to be started takes them."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """What the processes and Envoy are told beside what they inherit."""
    jaeger: Path | None = None
    said: str = ""
    ui_port: int = UI_PORT


def plan(
    otlp: str,
    jaeger: Path | None,
    environment: Mapping[str, str],
    *,
    ui_port: int = UI_PORT,
    otlp_port: int = OTLP_PORT,
) -> Traces:
    """Where the traces of a mesh go that is told of a collector or of a program, or of neither.

    Raises InvalidOption when the program is none.
    """
    named = {telemetry.ENDPOINT: otlp} if otlp else {}
    found = telemetry.endpoint({**environment, **named})
    if found:
        return Traces(named, said=f"traces go to {found}")
    if telemetry.is_off(environment):
        return Traces()
    program = _program(jaeger)
    if program is None:
        return Traces(said=HOW)
    here = {telemetry.ENDPOINT: url(HOST, otlp_port)}
    pages = url(HOST, ui_port)
    if _listens(ui_port):
        return Traces(here, said=f"traces go to the Jaeger that runs already: {pages}")
    return Traces(here, program, f"traces go to Jaeger: {pages}", ui_port)


def _program(asked: Path | None) -> Path | None:
    if asked is None:
        found = shutil.which(JAEGER)
        return Path(found) if found else None
    if not asked.is_file() or not os.access(asked, os.X_OK):
        raise InvalidOption(f"--jaeger {asked}: must be a program")
    return asked.absolute()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
