"""The facade's process: `python -m services.rest`."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from services.errors import VisionmeshError
from services.rest.server import serve
from services.rest.settings import RestSettings
from services.serving.logs import configure_logging
from services.serving.server import run


async def main() -> None:
    settings = RestSettings()
    configure_logging("rest", settings)
    await serve(settings)


if __name__ == "__main__":
    try:
        run(main())
    except (OSError, ValidationError, VisionmeshError) as error:
        # What is wrong outside of the program, a person can put right: no traceback.
        sys.exit(f"rest: {' '.join(str(error).split())}")
