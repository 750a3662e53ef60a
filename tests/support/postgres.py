"""A real PostgreSQL in a temporary folder, for tests: Debian's, on a socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

PATIENCE_S = 60.0
"""How long it may take to answer or to end: long, as machines may be busy."""


class Postgres:
    """A server that can be stopped and started again; `url` is the same each time."""

    def __init__(self, programs: Path, folder: Path, account: dict[str, Any]) -> None:
        self._programs = programs
        self._folder = folder
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self.database("postgres")

    def database(self, name: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def new_database(self, name: str) -> str:
        """Make another one, empty; its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.database(name)

    def create(self) -> None:
        """Make an empty database, in English and without waiting for disks."""
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Returns when it takes connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # No TCP port: nothing can be taken, and nobody else can come in.
                [self._programs / "postgres", "-D", "data", "-k", self._folder, "-h", "", "-F"],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._account,
            )
        give_up_at = time.monotonic() + PATIENCE_S
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self._folder)]
        while subprocess.run(ready).returncode:
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                said = (self._folder / "log").read_text(errors="replace")
                raise AssertionError(f"PostgreSQL does not start:\n{said}")
            time.sleep(0.02)

    @property
    def pid(self) -> int | None:
        """The process that takes connections; None when it does not run."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End it, and every connection with it."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE_S)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self._account,
        )
        assert done.returncode == 0, done.stdout


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server with nothing in it, for as long as the context lasts."""
    programs = _programs()
    # Not below pytest's folders: a socket's path has little room, and others must get in there.
    folder = Path(tempfile.mkdtemp(prefix="visionmesh-pg-"))
    try:
        server = Postgres(programs, folder, _account(folder))
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    if found and (found[-1] / "postgres").exists():
        return found[-1]
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    raise AssertionError("PostgreSQL is not installed; on Debian: apt-get install postgresql")


def _account(folder: Path) -> dict[str, Any]:
    """Who runs it: PostgreSQL refuses to run as root, so that then somebody else must."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
