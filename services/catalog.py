"""The one table of the mesh: its processes, their ports, and who calls whom.

The launcher, the Envoy rendering, `visionmesh status` and the tests read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DEFAULT_PORT: Final = 8080
"""Where Envoy's edge listener waits. Every other port is counted from it."""

MESH_OFFSET: Final = 1
"""Envoy's mesh listener, as an offset from the edge port: all gRPC between processes."""

ADMIN_OFFSET: Final = 2
"""Envoy's admin interface: statistics and readiness."""

METRICS_OFFSET: Final = 100
"""Where a process serves its metrics, counted from its own port; Envoy's are at its admin's."""


@dataclass(frozen=True)
class Process:
    """One kind of process of the mesh.

    `offset` is counted from the edge port, and replica n listens at `offset + n`. `grpc_service` is
    the full name that the mesh listener routes by; a process without one speaks HTTP. `model` is
    the name of the model that it serves, in URLs and policies. `package` is where its code is, and
    a `script` of that package is run by Node; everything else is a Python module. `by_envoy` says
    whether Envoy sends requests to it; who is asked by its caller directly has no cluster there.
    `max_replicas` is set where more at a time would be wrong. `once` names the RPCs that are not
    sent a second time when the process may have seen them. `has_gallery` says that answers depend
    on what each tenant's images are compared with: their version is that of the model, followed by
    the revision of the tenant's gallery.
    """

    name: str
    offset: int
    calls: tuple[str, ...] = ()
    grpc_service: str | None = None
    model: str | None = None
    replicas: int = 1
    max_replicas: int | None = None
    once: tuple[str, ...] = ()
    has_gallery: bool = False
    package: str = "services"
    script: str = ""
    by_envoy: bool = True

    @property
    def module(self) -> str:
        """What `python -m` starts, or the package that has the script."""
        return f"{self.package}.{self.name}"

    @property
    def protocol(self) -> Literal["grpc", "http"]:
        return "grpc" if self.grpc_service else "http"

    def port(self, edge_port: int, replica: int = 0) -> int:
        return edge_port + self.offset + replica


MODELS: Final[tuple[Process, ...]] = (
    Process("nsfw", 20, grpc_service="visionmesh.nsfw.v1.NsfwService", model="nsfw"),
    Process(
        "detection",
        30,
        grpc_service="visionmesh.detection.v1.DetectionService",
        model="detection",
    ),
    Process("ocr", 40, grpc_service="visionmesh.ocr.v1.OcrService", model="ocr"),
    Process(
        "logo",
        50,
        grpc_service="visionmesh.logo.v1.LogoService",
        model="logo",
        has_gallery=True,
        # A second attempt would find the brand there, or gone, and say so to who did it.
        once=("RegisterBrand", "DeleteBrand"),
    ),
)
"""The processes that serve a model, in the order in which answers list them."""

_MODEL_NAMES: Final = tuple(process.name for process in MODELS)

PROCESSES: Final[tuple[Process, ...]] = (
    Process(
        "images",
        10,
        grpc_service="visionmesh.images.v1.ImageService",
        # An upload and a deletion of one image keep out of each other's way within one process.
        max_replicas=1,
        # The second deletion of an image finds none, and would say so to who deleted it.
        once=("DeleteImage",),
    ),
    *MODELS,
    Process(
        "moderation",
        60,
        grpc_service="visionmesh.moderation.v1.ModerationService",
        calls=_MODEL_NAMES,
    ),
    Process("rest", 70, calls=("images", *_MODEL_NAMES, "moderation")),
    Process(
        "subgraphs",
        80,
        calls=("images", *_MODEL_NAMES, "moderation"),
        package="federation",
        by_envoy=False,
    ),
    Process("gateway", 90, calls=("subgraphs",), package="federation", script="main.ts"),
)

ROUTED: Final = tuple(process for process in PROCESSES if process.by_envoy)
"""The processes that have a cluster in Envoy, and a file that says where their replicas are."""

BY_NAME: Final[dict[str, Process]] = {process.name: process for process in PROCESSES}
