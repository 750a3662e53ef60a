"""The nsfw process: `python -m services.nsfw`."""

from __future__ import annotations

from functools import partial

from services.nsfw.model import NsfwModel, warm_up
from services.nsfw.servicer import NsfwServicer
from services.nsfw.settings import NsfwSettings
from services.serving.model_process import run_process, serve_model
from visionmesh.nsfw.v1.nsfw_pb2_grpc import add_NsfwServiceServicer_to_server


async def main() -> None:
    settings = NsfwSettings()
    await serve_model(
        "nsfw",
        settings,
        warm_up=warm_up(settings.parameters),
        make_model=partial(NsfwModel, parameters=settings.parameters),
        make_register=lambda plane, about: partial(
            add_NsfwServiceServicer_to_server, NsfwServicer(plane, about)
        ),
    )


if __name__ == "__main__":
    run_process("nsfw", main())
