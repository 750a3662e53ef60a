"""What a process counts and what ails it, asked on its own port."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.ports import HOST


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that does not work as it should, although requests are answered."""

    component: str
    message: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Events since a process started, by name, and its conditions; empty when it does not say."""

    counters: dict[str, int] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


async def diagnose(port: int, timeout_s: float) -> Diagnosis:
    """Ask a gRPC process of a mesh on this machine."""
    import grpc

    from visionmesh.serving.v1.diagnostics_pb2 import GetDiagnosticsRequest
    from visionmesh.serving.v1.diagnostics_pb2_grpc import DiagnosticsServiceStub

    async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        try:
            said = await DiagnosticsServiceStub(channel).GetDiagnostics(
                GetDiagnosticsRequest(), timeout=timeout_s
            )
        except grpc.aio.AioRpcError:
            return Diagnosis()  # whether it is healthy is said by its health
    return Diagnosis(
        counters=dict(sorted(said.counters.items())),
        conditions=tuple(Condition(each.component, each.message) for each in said.conditions),
    )
