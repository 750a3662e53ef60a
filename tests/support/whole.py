"""A whole running mesh, as tests talk to it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from mesh.admission import Admission
from mesh.diagnosis import diagnose
from mesh.keys import KeyFile
from mesh.launcher import Mesh, running_mesh
from mesh.state import DataDir
from services.catalog import BY_NAME
from services.client.mesh import MeshClient
from tests.support.mesh import NUDITY_ALONE

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a condition may take before a test gives up on it: long, as machines may be busy."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that has been read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """A mesh, its edge over HTTP, and its services over gRPC.

    `keys` are those of its tenants, by tenant. Calls show the first one's unless they name another;
    without tenants the mesh needs none. `grpc` is the first tenant's too.
    """

    def __init__(
        self, mesh: Mesh, http: aiohttp.ClientSession, grpc: MeshClient, keys: Mapping[str, str]
    ) -> None:
        self.mesh = mesh
        self.grpc = grpc
        self.keys = dict(keys)
        self._http = http

    async def call(
        self,
        method: str,
        path: str,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        tenant: str | None = None,
        **headers: str,
    ) -> Answer:
        """One request to the edge, with a tenant's key; with none at all when it is empty.

        Underscores in header names stand for hyphens.
        """
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if key := self._key(tenant):
            names.setdefault("x-api-key", key)
        body = io.BytesIO(data) if isinstance(data, bytes) else data
        async with self._http.request(
            method, self.mesh.edge_url + path, data=body, headers=names
        ) as response:
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                await response.read(),
            )

    async def upload(self, photo: bytes, *, tenant: str | None = None) -> str:
        """Store a photo through the edge; its id."""
        answer = await self.call(
            "POST", "/v1/images", data=photo, tenant=tenant, content_type="image/jpeg"
        )
        assert answer.status in (200, 201), answer.body
        digest: str = answer.json["id"]
        assert digest == hashlib.sha256(photo).hexdigest()
        return digest

    def client(self, tenant: str | None = None) -> MeshClient:
        """A tenant's client of the mesh listener, to be closed by who asks for it."""
        return MeshClient(self.mesh.mesh_address, api_key=self._key(tenant))

    async def counters(self, process: str, replica: int = 0) -> dict[str, int]:
        """What one replica has counted since it started."""
        port = BY_NAME[process].port(self.mesh.options.port, replica)
        return (await diagnose(port, PATIENCE_S)).counters

    def create_key(self, tenant: str) -> str:
        """A further key, made as `visionmesh keys` does, while the mesh runs."""
        with Admission.of(self.mesh.data, None).changing() as keys:
            return keys.create(tenant)[1]

    def revoke_key(self, key: str) -> None:
        """Revoke a key, or an id of one, while the mesh runs."""
        with Admission.of(self.mesh.data, None).changing() as keys:
            keys.revoke(key)

    def _key(self, tenant: str | None) -> str:
        if tenant is None:
            return next(iter(self.keys.values()), "")
        return self.keys[tenant] if tenant else ""

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match a regular expression."""
        url = f"{self.mesh.admin_url}/stats?format=json&filter={pattern}"
        with urllib.request.urlopen(url) as response:
            found = json.load(response)["stats"]
        return {entry["name"]: entry["value"] for entry in found if "value" in entry}

    def requests_to(self, process: str) -> int:
        """Calls that Envoy has sent to a process, its own health checks left out."""
        counters = self.stats(rf"^cluster\.{process}(-by-digest)?\.upstream_rq_total$")
        assert counters, f"no counters for {process}"
        return sum(counters.values())


@asynccontextmanager
async def world(
    data_dir: Path, *, tenants: Sequence[str] = (), **options: Any
) -> AsyncIterator[World]:
    """A mesh that is ready, for as long as the context lasts; each tenant has a key from the start.

    Options are those of `running_mesh`: `config={"redis_url": …}`, `replica_env`, and so on. Its
    default policy reads nsfw alone, unless `replica_env` names another folder of policies.
    """
    keys = created_keys(data_dir, tenants)
    default = {("moderation", 0): {"VISIONMESH_POLICIES_DIR": str(NUDITY_ALONE)}}
    replica_env = default | options.pop("replica_env", {})
    async with (
        running_mesh(data_dir, replica_env=replica_env, **options) as mesh,
        aiohttp.ClientSession() as http,
        MeshClient(mesh.mesh_address, api_key=next(iter(keys.values()), "")) as grpc,
    ):
        yield World(mesh, http, grpc, keys)


def created_keys(data_dir: Path, tenants: Sequence[str]) -> dict[str, str]:
    """A new key for each tenant, in the data directory of a mesh that does not run yet."""
    file = KeyFile(DataDir(data_dir).keys_file)
    if not tenants:
        return {}
    with file.locked():
        return {tenant: file.create(tenant)[1] for tenant in tenants}


async def until(condition: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Wait until `condition`, a coroutine function, gives something true, and give it back."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await condition()):  # noqa: ASYNC110, other processes meet it
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
