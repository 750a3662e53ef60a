"""`python -m services.rest`: the facade as a process."""

from __future__ import annotations

from services.rest.server import serve
from services.rest.settings import RestSettings
from services.serving.logs import configure_logging
from services.serving.server import run


def main() -> None:
    settings = RestSettings()
    configure_logging("rest", settings)
    run(serve(settings))


if __name__ == "__main__":
    main()
