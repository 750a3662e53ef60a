"""The subgraphs with an answer at hand: `python -m bench.graph.stubbed`.

Everything is as in `python -m federation.subgraphs`, but what would go out over gRPC to a model is
answered in this process: what is left is the cost of the graph alone.
"""

from __future__ import annotations

from typing import Any

from bench.graph.answers import Answer, answer, methods
from federation.subgraphs.server import serve
from federation.subgraphs.settings import SubgraphSettings
from services.catalog import MODELS
from services.client.mesh import MeshClient
from services.serving.logs import configure_logging
from services.serving.model_process import run_process


class AnsweringClient(MeshClient):
    """A client whose calls of models are answered here; all others go out."""

    def __init__(self, address: str, *, token: str = "", api_key: str = "") -> None:
        super().__init__(address, token=token, api_key=api_key)
        self._at_hand: dict[str, Answer] = {
            method.input_type.full_name: answer(process, method)
            for process in MODELS
            for method in methods(process)
        }

    async def _call(self, method: Any, request: Any, timeout_s: float, digest: str = "") -> Any:
        if answered := self._at_hand.get(request.DESCRIPTOR.full_name):
            return answered(request)
        return await super()._call(method, request, timeout_s, digest)


async def main() -> None:
    settings = SubgraphSettings()
    configure_logging("subgraphs", settings)
    await serve(settings, AnsweringClient)


if __name__ == "__main__":
    run_process("subgraphs", main())
