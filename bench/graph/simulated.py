"""A model's process that looks at nothing: `python -m bench.graph.simulated`.

Serves the real gRPC service of the model that it stands in for: a batch call is answered so many
milliseconds later, however many images it is about, and nothing is kept.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

import grpc
from google.protobuf import message_factory
from pydantic import Field

from bench.graph.answers import Answer, answer, is_batch, methods
from services.catalog import BY_NAME, Process
from services.serving.diagnostics import Diagnostics
from services.serving.logs import configure_logging
from services.serving.model_process import run_process
from services.serving.server import serve
from services.serving.settings import ServiceSettings


class SimulatedSettings(ServiceSettings):
    """Which process of the catalog this stands in for, and how long a call takes there."""

    simulated: str
    simulated_ms: Annotated[float, Field(ge=0)]


def environment(name: str, service_ms: float) -> dict[str, str]:
    """What a replica that stands in for `name` is told."""
    return {"VISIONMESH_SIMULATED": name, "VISIONMESH_SIMULATED_MS": str(service_ms)}


def register(process: Process, service_s: float, server: grpc.aio.Server) -> None:
    """Add a model's service to a server."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _behaviour(answer(process, method), service_s if is_batch(method) else 0.0),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(
                method.output_type
            ).SerializeToString,
        )
        for method in methods(process)
    }
    service = process.grpc_service or ""
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])


def _behaviour(answered: Answer, service_s: float) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if service_s:
            await asyncio.sleep(service_s)
        return answered(request)

    return call


async def main() -> None:
    settings = SimulatedSettings()  # type: ignore[call-arg]  # from the environment
    process = BY_NAME[settings.simulated]
    configure_logging(process.name, settings)
    await serve(
        partial(register, process, settings.simulated_ms / 1e3),
        process.name,
        settings,
        Diagnostics(),
    )


if __name__ == "__main__":
    run_process("simulated", main())
