"""The subgraphs' process: `python -m federation.subgraphs [--subgraphs images,nsfw]`."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from federation.subgraphs.server import serve
from federation.subgraphs.settings import SubgraphSettings
from services.errors import VisionmeshError
from services.serving.logs import configure_logging
from services.serving.server import run


async def main(arguments: argparse.Namespace) -> None:
    settings = SubgraphSettings()
    if arguments.subgraphs:
        settings = settings.model_copy(update={"subgraphs": arguments.subgraphs})
    configure_logging("subgraphs", settings)
    await serve(settings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="subgraphs")
    parser.add_argument(
        "--subgraphs", default="", help="Names with commas between; all by default."
    )
    try:
        run(main(parser.parse_args()))
    except (OSError, ValidationError, VisionmeshError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"subgraphs: {' '.join(str(error).split())}")
