"""The mesh listener: every feature has calls that fail when it is taken out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from grpc import StatusCode

from services.catalog import PROCESSES
from services.limits import MAX_INLINE_BYTES
from tests.envoy import removals
from tests.envoy.http2 import call_frames, greeting
from tests.envoy.replica import Replica
from tests.envoy.world import HOST, IMAGES, NSFW, Feature, Mesh, mesh_world
from tests.support.envoy import patience_s, until

DIGESTS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(30)]


async def routing(mesh: Mesh) -> None:
    for process in PROCESSES:
        if process.grpc_service:
            mesh.publish(mesh.replicas[0], process=process.name)
            await mesh.envoy.until_healthy(process.name, 1)
            assert await mesh.code(service=process.grpc_service) is StatusCode.OK
    assert await mesh.code(service="visionmesh.none.v1.NoService") is StatusCode.UNIMPLEMENTED
    mesh.publish(*mesh.replicas)
    await mesh.envoy.until_healthy("nsfw", len(mesh.replicas))


async def same_digest_same_replica(mesh: Mesh) -> None:
    answered = {digest: {await mesh.call(digest) for _ in range(3)} for digest in DIGESTS}
    assert all(len(names) == 1 for names in answered.values())
    assert set.union(*answered.values()) == {replica.name for replica in mesh.replicas}


async def batches_avoid_the_busy_replica(mesh: Mesh) -> None:
    busy, *others = mesh.replicas
    async with held(mesh, busy):
        names = {await mesh.call() for _ in range(20)}
    assert names == {other.name for other in others}


async def retry(mesh: Mesh) -> None:
    await mesh.call()
    mesh.replicas[0].failing = mesh.replicas[1].failing = 1
    assert await mesh.code() is StatusCode.OK
    mesh.replicas[0].failing = mesh.replicas[1].failing = 0


async def answer_of_another_replica(mesh: Mesh) -> None:
    answered = {await mesh.call(digest): digest for digest in DIGESTS}
    for name, digest in answered.items():
        replica = mesh.replicas[int(name)]
        replica.lacking = 1000
        try:
            codes = [await mesh.code(digest=digest) for _ in range(20)]
        finally:
            replica.lacking = 0
        assert set(codes) == {StatusCode.OK}
    # Who says what it has not is well.
    assert not await mesh.envoy.stat("cluster.nsfw.outlier_detection.ejections_enforced_total")


async def attempts_are_counted(mesh: Mesh) -> None:
    for replica in mesh.replicas:
        replica.calls.clear()
        replica.lacking = 1000
    try:
        assert await mesh.code() is StatusCode.NOT_FOUND
    finally:
        for replica in mesh.replicas:
            replica.lacking = 0
    calls = [call for replica in mesh.replicas for call in replica.calls]
    assert sorted(call.get("x-envoy-attempt-count", "") for call in calls) == ["1", "2", "3"]


async def retry_of_a_large_request(mesh: Mesh) -> None:
    for replica in mesh.replicas:
        replica.failing = 1
    assert await mesh.code(request=bytes(10_000_000)) is StatusCode.OK


async def no_second_deletion(mesh: Mesh) -> None:
    (replica,) = mesh.replicas
    mesh.publish(replica, process="images")
    for cluster in ("images", "images-by-digest"):
        await mesh.envoy.until_healthy(cluster, 1)
    for digest in ("", DIGESTS[0]):
        replica.calls.clear()
        replica.failing = 1
        code = await mesh.code(service=IMAGES, rpc="DeleteImage", digest=digest)
        assert (code, len(replica.calls)) == (StatusCode.UNAVAILABLE, 1)
        replica.failing = 1
        assert await mesh.code(service=IMAGES, rpc="GetImages", digest=digest) is StatusCode.OK


async def retry_elsewhere(mesh: Mesh) -> None:
    answered = {await mesh.call(digest): digest for digest in DIGESTS}
    mesh.replicas[0].failing = 1000
    code = await mesh.code(digest=answered["0"])
    mesh.replicas[0].failing = 0
    assert code is StatusCode.OK


async def retry_budget(mesh: Mesh) -> None:
    (replica,) = mesh.replicas
    replica.holding, replica.failing = 120, 60
    calls = [asyncio.create_task(mesh.code()) for _ in range(60)]
    await until(lambda: _true(replica.held == 60), "60 calls in flight")
    # All fail at once, and those that are tried again are held too.
    replica.released.set()
    replica.released = asyncio.Event()

    async def decided() -> bool:
        return await _retries(mesh, "") + await _retries(mesh, "_overflow") == 60

    await until(decided, "60 calls tried again or given up")
    tried = await _retries(mesh, "")
    replica.released.set()
    await asyncio.gather(*calls)
    # The budget, and not Envoy's default of three, nor all of them.
    assert 3 < tried <= 20


async def _retries(mesh: Mesh, suffix: str) -> int:
    return await mesh.envoy.stat(f"cluster.nsfw.upstream_rq_retry{suffix}")


async def _true(holds: bool) -> bool:
    return holds


async def outlier_is_ejected(mesh: Mesh) -> None:
    bad = mesh.replicas[0]
    bad.status, bad.failing = StatusCode.INTERNAL, 10_000
    ejected = "cluster.nsfw.outlier_detection.ejections_active"

    async def gone() -> bool:
        await mesh.code()
        return await mesh.envoy.stat(ejected) == 1

    await until(gone, "an ejection")
    assert {await mesh.code() for _ in range(20)} == {StatusCode.OK}
    bad.failing = 0
    await mesh.envoy.until_stat(ejected, lambda count: count == 0)
    assert {await mesh.call() for _ in range(40)} == {"0", "1"}


async def last_replica_stays(mesh: Mesh) -> None:
    (bad,) = mesh.replicas
    bad.status, bad.failing = StatusCode.INTERNAL, 10_000
    assert {await mesh.code() for _ in range(20)} == {StatusCode.INTERNAL}


async def circuit_breaker(mesh: Mesh) -> None:
    (replica,) = mesh.replicas
    replica.holding = 10
    calls = [asyncio.create_task(mesh.code()) for _ in range(10)]
    try:
        await until(lambda: _true(sum(call.done() for call in calls) == 6), "6 refusals")
        assert {call.result() for call in calls if call.done()} == {StatusCode.UNAVAILABLE}
    finally:
        replica.released.set()
        await asyncio.gather(*calls)


async def grpc_timeout(mesh: Mesh) -> None:
    # A client that names a deadline and does not keep it itself.
    (replica,) = mesh.replicas
    replica.holding = 1
    _, writer = await asyncio.open_connection(HOST, mesh.envoy.mesh_port)
    writer.write(greeting() + call_frames(f"/{NSFW}/Any", {"grpc-timeout": "300m"}))
    try:
        await mesh.envoy.until_stat(
            "http.mesh.downstream_rq_max_duration_reached", lambda count: count == 1
        )
        await until(lambda: _true(replica.held == 0), "the call cancelled at the replica")
    finally:
        writer.close()
        await writer.wait_closed()


async def keepalive(mesh: Mesh) -> None:
    # A client that never answers a ping.
    reader, writer = await asyncio.open_connection(HOST, mesh.envoy.mesh_port)
    writer.write(greeting())
    try:
        async with asyncio.timeout(patience_s.get()):
            await reader.read()
    except TimeoutError:
        raise AssertionError("Envoy kept the connection open") from None
    finally:
        writer.close()
        await writer.wait_closed()


async def endpoints_come_and_go(mesh: Mesh) -> None:
    one, two = mesh.replicas
    published: tuple[Replica, ...]
    for published in [(one,), (two,), (one, two), (), (two,), (one,), (one, two)]:
        mesh.publish(*published)
        for stat in ("membership_total", "membership_healthy"):
            await mesh.envoy.until_stat(f"cluster.nsfw.{stat}", len(published).__eq__)
        names = {await mesh.call() for _ in range(20)} if published else set()
        assert names == {replica.name for replica in published}


async def removed_replica_is_out(mesh: Mesh) -> None:
    one, two = mesh.replicas
    async with held(mesh, two) as call:
        mesh.publish(one)
        await mesh.envoy.until_stat("cluster.nsfw.membership_total", lambda count: count == 1)
        assert {await mesh.call() for _ in range(20)} == {"0"}
    assert await call == "1", "a call in flight ends well"


class held:
    """Keeps one call in flight at a replica while the block runs; gives its task."""

    def __init__(self, mesh: Mesh, replica) -> None:
        self._mesh, self._replica = mesh, replica

    async def __aenter__(self) -> asyncio.Task[str]:
        self._replica.released = asyncio.Event()
        self._replica.holding = 1
        while True:
            self.task = asyncio.create_task(self._mesh.call())
            await until(
                lambda: _true(self.task.done() or self._replica.held == 1), "a call in flight"
            )
            if not self.task.done():
                return self.task

    async def __aexit__(self, *error: object) -> None:
        self._replica.released.set()
        await self.task


FEATURES = [
    Feature("grpc routing", routing, removals.routes("mesh")),
    Feature("digest routes", same_digest_same_replica, removals.digest_routes),
    Feature("digest hash", same_digest_same_replica, removals.route_setting("mesh", "hash_policy")),
    Feature(
        "least request",
        batches_avoid_the_busy_replica,
        removals.cluster_setting("load_balancing_policy"),
    ),
    Feature("retry", retry, removals.host_setting("retry_policy")),
    Feature("no second deletion", no_second_deletion, removals.once_routes, {"replicas": 1}),
    Feature(
        "retry elsewhere",
        retry_elsewhere,
        removals.host_setting("retry_policy.retry_host_predicate"),
    ),
    Feature(
        "answer of another replica",
        answer_of_another_replica,
        removals.host_setting("retry_policy.retriable_headers"),
    ),
    Feature(
        "attempt count",
        attempts_are_counted,
        removals.host_setting("include_request_attempt_count"),
    ),
    Feature(
        "retry of a large request",
        retry_of_a_large_request,
        removals.host_setting("request_body_buffer_limit"),
    ),
    Feature("endpoint files", endpoints_come_and_go, removals.endpoint_files),
    Feature(
        "removed replica",
        removed_replica_is_out,
        removals.cluster_setting("ignore_health_on_host_removal"),
    ),
    Feature("retry budget", retry_budget, removals.retry_budget, {"replicas": 1}),
    Feature(
        "outlier detection",
        outlier_is_ejected,
        removals.cluster_setting("outlier_detection"),
        {"ejection_s": 0.5},
    ),
    Feature("last replica", last_replica_stays, removals.ejection_limit, {"replicas": 1}),
    Feature(
        "circuit breaker",
        circuit_breaker,
        removals.cluster_setting("circuit_breakers"),
        {"replicas": 1, "max_requests": 4},
    ),
    Feature(
        "grpc timeout",
        grpc_timeout,
        removals.route_setting("mesh", "max_stream_duration"),
        {"replicas": 1},
    ),
    Feature(
        "keepalive",
        keepalive,
        removals.setting("mesh", "http2_protocol_options.connection_keepalive"),
        {"keepalive_interval_s": 0.2, "keepalive_timeout_s": 0.2},
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with mesh_world(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("feature", [f for f in FEATURES if not f.settings], ids=str)
async def test_feature(feature: Feature, shared: Mesh):
    """The feature does what it is there for."""
    shared.publish(*shared.replicas)
    for cluster in ("nsfw", "nsfw-by-digest"):
        await shared.envoy.until_healthy(cluster, 2)
    await feature.check(shared)


@pytest.mark.parametrize("feature", [f for f in FEATURES if f.settings], ids=str)
async def test_feature_with_settings(feature: Feature, tmp_path: Path):
    """The feature does what it is there for, with limits that a test can reach."""
    async with mesh_world(tmp_path, **feature.settings) as mesh:
        await feature.check(mesh)


@pytest.mark.parametrize("feature", FEATURES, ids=str)
async def test_without_feature(feature: Feature, tmp_path: Path):
    """Its calls fail when exactly this feature is taken out of the configuration."""
    async with mesh_world(tmp_path, without=feature.remove, **feature.settings) as mesh:
        patience_s.set(1.0)
        with pytest.raises(AssertionError):
            await feature.check(mesh)


async def test_a_service_without_replicas_is_unavailable(tmp_path: Path):
    """A call to a service that has no replica fails at once, in gRPC's words."""
    async with mesh_world(tmp_path, replicas=0) as mesh:
        assert await mesh.code() is StatusCode.UNAVAILABLE
        assert await mesh.code(digest=DIGESTS[0]) is StatusCode.UNAVAILABLE


async def test_metadata_reaches_the_replica(tmp_path: Path):
    """The digest that a call was routed by goes on to the replica."""
    async with mesh_world(tmp_path, replicas=1) as mesh:
        await mesh.call(DIGESTS[0])
        assert mesh.replicas[0].calls[-1]["x-visionmesh-digest"] == DIGESTS[0]


async def test_the_largest_call_passes(tmp_path: Path):
    """A call with as many inline bytes as are allowed reaches its replica."""
    async with mesh_world(tmp_path, replicas=1) as mesh:
        assert await mesh.code(request=bytes(MAX_INLINE_BYTES)) is StatusCode.OK


async def test_a_spoilt_endpoint_file_changes_nothing(tmp_path: Path):
    """Replicas stay where they are while their file cannot be read; the next good one counts."""
    async with mesh_world(tmp_path) as mesh:
        path = mesh.envoy.settings.endpoints_file("nsfw")
        draft = path.with_suffix(".draft")
        draft.write_text("{")
        draft.replace(path)
        await mesh.envoy.until_stat("cluster.nsfw.update_failure", lambda count: count > 0)
        assert await mesh.code() is StatusCode.OK
        mesh.publish(mesh.replicas[1])
        await mesh.envoy.until_healthy("nsfw", 1)
        assert await mesh.call() == "1"
