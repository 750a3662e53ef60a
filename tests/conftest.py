"""What tests that run side by side must not share."""

from __future__ import annotations

import functools
import os

from mesh import ports


def pytest_configure() -> None:
    """Each worker looks for free ports among its own, so that two never find the same ones free.

    Before any test is collected: their modules take the function with them.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports.free_block = functools.partial(ports.free_block, ports.BLOCKS[worker::workers])
