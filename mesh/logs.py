"""One readable log of all processes, and a file for each.

On a terminal every line has its process's name in front, in its own colour; elsewhere the name is
plain; as JSON every line is one object, in the files too. The log goes to standard error: standard
output is for what programs read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from mesh.child import Program

LAUNCHER: Final = "visionmesh"
MAX_FILE_BYTES: Final = 10_000_000
"""A process's file is moved aside at this size, over the one moved aside before."""

# ANSI colours that can be told apart on light and dark backgrounds.
COLOURS: Final = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


@dataclass(frozen=True, slots=True)
class Style:
    """How lines look on the one log."""

    colour: bool = False
    as_json: bool = False


@dataclass
class MeshLog:
    """Takes the lines of all processes and the events of the supervisor.

    `stream` is None when only the files are wanted. `titles` are those of the programs whose lines
    may come, for aligned prefixes and steady colours.
    """

    directory: Path
    stream: TextIO | None = None
    style: Style = field(default_factory=Style)
    titles: Iterable[str] = ()
    max_file_bytes: int = MAX_FILE_BYTES

    def __post_init__(self) -> None:
        titles = [LAUNCHER, *self.titles]
        width = max(map(len, titles))
        self._prefixes = {
            title: self._prefix(title.ljust(width), COLOURS[index % len(COLOURS)])
            for index, title in enumerate(titles)
        }
        self._files: dict[str, _RotatingFile] = {}

    def path(self, name: str, replica: int) -> Path:
        """The file of one replica."""
        return self.directory / f"{name}.{replica}.log"

    def lines(self, program: Program, lines: Sequence[bytes]) -> None:
        """Pass on what a process wrote."""
        label = f"{program.name}.{program.replica}"
        if label not in self._files:
            path = self.path(program.name, program.replica)
            self._files[label] = _RotatingFile(path, self.max_file_bytes)
        if self.style.as_json:
            texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
            objects = [_as_json(text, program) + "\n" for text in texts if text]
            self._files[label].write("".join(objects).encode())
            self._print(objects)
            return
        self._files[label].write(b"".join(line + b"\n" for line in lines))
        if self.stream is None:
            return
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        prefix = self._prefixes.get(program.title, f"{program.title} │ ")
        self._print(f"{prefix}{text}\n" for text in texts)

    def event(self, level: str, message: str, **fields: object) -> None:
        """Say what the launcher did."""
        if self.stream is None:
            return
        now = _now()
        if self.style.as_json:
            known = {"timestamp": now, "level": level, "service": LAUNCHER, "event": message}
            self._print([json.dumps({**known, **fields}) + "\n"])
        else:
            self._print([f"{self._prefixes[LAUNCHER]}{now} [{level}] {message}\n"])

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _prefix(self, title: str, colour: int) -> str:
        return f"\x1b[{colour}m{title} │\x1b[0m " if self.style.colour else f"{title} │ "

    def _print(self, texts: Iterable[str]) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write("".join(texts))
            self.stream.flush()
        except (OSError, ValueError):
            self.stream = None  # whoever read the log has gone; the files stay


class _RotatingFile:
    """Appends bytes; a disk that is full costs lines, not the mesh."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        with suppress(OSError):
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)
            if self._file.tell() > self._max_bytes:
                self.close()
                self._path.replace(self._path.with_suffix(".log.1"))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _as_json(text: str, program: Program) -> str:
    """A line as one JSON object that names its process; one that is an object keeps its fields."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        found = {"timestamp": _now(), "level": "info", "service": program.name, "event": text}
    return json.dumps({**found, "process": program.name, "replica": program.replica})
