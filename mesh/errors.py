"""What can go wrong when a mesh is started, looked at or stopped.

    MeshError
    ├── InvalidOption      an option that the catalog or the machine does not allow
    ├── PortInUse          a port that the mesh needs is taken
    ├── DataDirInUse       another mesh runs on the data directory
    ├── StartFailed        a process died again and again, or was not healthy in time
    └── NotRunning         no mesh answers where one was looked for

Each carries the status that the command exits with, and its message is the one line that a person
reads.
"""

from __future__ import annotations

from typing import ClassVar


class MeshError(Exception):
    """Something that is told in one line."""

    exit_status: ClassVar[int] = 1


class InvalidOption(MeshError):
    exit_status = 2


class PortInUse(MeshError):
    pass


class DataDirInUse(MeshError):
    pass


class StartFailed(MeshError):
    pass


class NotRunning(MeshError):
    exit_status = 3
