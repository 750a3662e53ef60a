"""Where the audit log can be: a SQLite file, and a database of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, postgres

_numbers = count()


@pytest.fixture(scope="package")
def server() -> Iterator[Postgres]:
    """One PostgreSQL for all tests: each has a database of its own in it."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'audit.db'}"
    running: Postgres = request.getfixturevalue("server")
    return running.new_database(f"audit{next(_numbers)}")
