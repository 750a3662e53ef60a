"""The products subgraph's process, and its schema for the composition.

python -m examples.products serve [--port 9001] [--file examples/products/products.json]
python -m examples.products sdl
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web
from strawberry.aiohttp.views import GraphQLView

from examples.products.catalogue import FILE, InvalidCatalogue, read_catalogue
from examples.products.schema import SCHEMA, Catalogue

HOST = "127.0.0.1"
PORT = 9001


class ProductsView(GraphQLView[Catalogue, None]):
    """Executes documents over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(schema=SCHEMA)
        self._catalogue = catalogue

    async def get_context(
        self, request: web.Request, response: web.Response | web.WebSocketResponse
    ) -> Catalogue:
        return self._catalogue


async def serve(file: Path, port: int) -> None:
    """Serve a catalogue until SIGTERM or SIGINT. Raises InvalidCatalogue, OSError."""
    app = web.Application()
    app.router.add_post("/graphql", ProductsView(read_catalogue(file)))
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        print(f"serving http://{HOST}:{runner.addresses[0][1]}/graphql", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="products")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="Serve the subgraph.")
    serving.add_argument("--port", type=int, default=PORT, help="0 takes any free one.")
    serving.add_argument("--file", type=Path, default=FILE, help="The products, as JSON.")
    commands.add_parser("sdl", help="Print the subgraph's schema.")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    if arguments.command == "sdl":
        print(SCHEMA.as_str().strip())
        sys.exit()
    try:
        asyncio.run(serve(arguments.file, arguments.port))
    except (InvalidCatalogue, OSError) as error:
        sys.exit(f"products: {error}")
