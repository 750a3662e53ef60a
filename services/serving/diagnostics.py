"""What a process counts and what ails it, and the gRPC service that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import grpc

from visionmesh.serving.v1 import diagnostics_pb2
from visionmesh.serving.v1.diagnostics_pb2_grpc import DiagnosticsServiceServicer

Ailment = Callable[[], str | None]
"""What is wrong with a component at the moment, in one sentence; None when nothing is."""


OUTCOMES: Final = "outcomes."
"""Before what became of each image of a call: a domain error's code, or this:"""

OK: Final = "OK"


class Diagnostics:
    """Counters and conditions of one process, passed to whatever has something to say."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._ailments: dict[str, Ailment] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Count an event; names are words between dots, the broadest first."""
        self.counters[name] += by

    def watch(self, component: str, ailment: Ailment) -> None:
        """Ask `ailment` about a component whenever somebody wants to know."""
        self._ailments[component] = ailment

    @property
    def watched(self) -> dict[str, str | None]:
        """What every component says at the moment."""
        return {component: ailment() for component, ailment in dict(self._ailments).items()}

    @property
    def conditions(self) -> dict[str, str]:
        """What is wrong at the moment, by component."""
        return {component: message for component, message in self.watched.items() if message}


class DiagnosticsServicer(DiagnosticsServiceServicer):
    """Serves `visionmesh.serving.v1.DiagnosticsService`."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics

    async def GetDiagnostics(
        self,
        request: diagnostics_pb2.GetDiagnosticsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> diagnostics_pb2.GetDiagnosticsResponse:
        return diagnostics_pb2.GetDiagnosticsResponse(
            counters=self._diagnostics.counters,
            conditions=[
                diagnostics_pb2.Condition(component=component, message=message)
                for component, message in self._diagnostics.conditions.items()
            ],
        )
