"""Redis as the tier that replicas share: leases, and everything that can happen to a Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import hiredis
import pytest
from redis.asyncio import Redis

from services import errors
from services.results import shared
from services.results.envelope import wrap
from services.results.keys import ResultKey
from services.results.shared import Lease, SharedTier
from tests.support.redis import RedisServer

ROOT = Path(__file__).parents[2]

KEY = ResultKey("a" * 64, "nsfw", "0123456789abcdef")
RESULTS = f"visionmesh:results:{{{KEY.digest}}}"
LEASE = f"visionmesh:lease:{{{KEY.digest}}}:nsfw.{KEY.version}"
GONE = f"visionmesh:gone:{{{KEY.digest}}}"
FIELD = f"nsfw.{KEY.version}"

PATIENT_S = 20.0
"""A budget that a loaded machine never uses up, where a test is not about budgets."""


def anything(data: bytes) -> None:
    """Every result is one."""


@asynccontextmanager
async def tier_of(
    redis: RedisServer, *, budget_s: float = PATIENT_S, lease_s: float = 60.0, probe_s: float = 0.01
) -> AsyncIterator[SharedTier]:
    tier = SharedTier(redis.url, budget_s=budget_s, lease_s=lease_s, probe_s=probe_s)
    try:
        yield tier
    finally:
        await tier.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that happens by itself."""

    async def wait() -> None:
        while not await condition():  # noqa: ASYNC110 -- nobody says when
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 30)


async def well(tier: SharedTier) -> None:
    async def is_well() -> bool:
        return tier.ailment() is None

    await until(is_well)


async def lease_of(tier: SharedTier) -> Lease:
    claim = await tier.claim(KEY, anything)
    assert isinstance(claim, Lease)
    return claim


async def test_claimed_made_published_found(redis: RedisServer):
    """The first gets the lease; after it published, everybody finds the result and no lease."""
    async with tier_of(redis) as tier, tier_of(redis) as other:
        lease = await lease_of(tier)
        assert await tier.publish(KEY, b"result", lease)
        assert await other.claim(KEY, anything) == b"result"
        assert await other.get(KEY, anything) == b"result"
        assert await redis.keys() == [RESULTS]
        async with redis.client() as inside:
            assert 0 < await inside.ttl(RESULTS) <= shared.LIFETIME_S


async def test_negative_results_are_shared(redis: RedisServer):
    """An error that stands for a result is found as that error."""
    async with tier_of(redis) as tier:
        await tier.publish(KEY, errors.CorruptImage("no", field="data"))
        found = await tier.get(KEY, anything)
    assert isinstance(found, errors.CorruptImage)
    assert (found.message, found.field) == ("no", "data")


async def test_who_waits_gets_what_was_published(redis: RedisServer):
    """While one makes a result the others wait, and get it."""
    async with tier_of(redis) as tier, tier_of(redis) as other:
        lease = await lease_of(tier)
        asked = await redis.scripts_run()
        waiting = [asyncio.create_task(other.claim(KEY, anything)) for _ in range(5)]
        await redis.until_asked(asked + 5)
        await tier.publish(KEY, b"result", lease)
        assert await asyncio.gather(*waiting) == [b"result"] * 5


async def test_released_lease_is_the_next_ones(redis: RedisServer):
    """When the holder gives up, somebody who waits may try."""
    async with tier_of(redis) as tier, tier_of(redis) as other:
        lease = await lease_of(tier)
        asked = await redis.scripts_run()
        waiting = asyncio.create_task(lease_of(other))
        await redis.until_asked(asked + 2)
        assert not waiting.done()
        tier.release(lease)
        assert await waiting


async def test_killed_holder_is_replaced_after_its_lease(redis: RedisServer):
    """A replica that is killed while it makes a result delays it by one lease, no more."""
    program = (
        "import asyncio\n"
        "from services.results.shared import SharedTier\n"
        "from services.results.keys import ResultKey\n"
        "async def main():\n"
        f"    tier = SharedTier({redis.url!r}, budget_s={PATIENT_S}, lease_s=1.0)\n"
        f"    await tier.claim(ResultKey({KEY.digest!r}, 'nsfw', {KEY.version!r}), len)\n"
        "    print('mine', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await asyncio.wait_for(holder.stdout.readline(), 30) == b"mine\n"
    finally:
        holder.kill()
        await holder.communicate()
    async with tier_of(redis) as tier:
        assert LEASE in await redis.keys()
        lease = await asyncio.wait_for(lease_of(tier), 30)
        assert await tier.publish(KEY, b"result", lease)


async def test_holder_that_lives_renews(redis: RedisServer):
    """A lease lasts while its holder works, and no longer."""
    async with tier_of(redis, lease_s=0.3) as tier, redis.client() as inside:
        lease = await lease_of(tier)
        # From here on the lease would never end; the renewal gives it an end again.
        await inside.persist(LEASE)

        async def renewed() -> bool:
            return await inside.pttl(LEASE) > 0

        await until(renewed)
        await tier.publish(KEY, b"result", lease)
        assert lease.renewal is None
        assert await redis.keys() == [RESULTS]


async def test_lease_of_another_is_left_alone(redis: RedisServer):
    """Who lost the lease to somebody else may publish, but neither ends nor renews it."""
    async with tier_of(redis) as tier, redis.client() as inside:
        lease = await lease_of(tier)
        await inside.set(LEASE, b"another", px=60_000)
        await tier._renew_lease(lease)
        assert await tier.publish(KEY, b"result", lease)
        assert await inside.get(LEASE) == b"another"
        tier.release(lease)
        await tier.close()
        assert await inside.get(LEASE) == b"another"


async def test_renewal_on_its_way_outlives_no_lease(redis: RedisServer):
    """A lease that ends while it is being renewed is not renewed again."""
    async with tier_of(redis) as tier:
        lease = await lease_of(tier)
        renewing = asyncio.create_task(tier._renew_lease(lease))
        await asyncio.sleep(0)
        tier.release(lease)
        await renewing
        assert lease.renewal is None


async def test_cancelled_claim_leaves_no_lease(redis: RedisServer):
    """Who leaves while Redis gives the lease does not keep others waiting."""
    async with tier_of(redis) as tier:
        await tier.start()
        asked = await redis.scripts_run()
        redis.pause()
        claim = asyncio.create_task(tier.claim(KEY, anything))
        for _ in range(100):  # until it is with Redis: else only the release is counted below
            await asyncio.sleep(0)
        claim.cancel()
        await asyncio.gather(claim, return_exceptions=True)
        redis.resume()
        await asyncio.wait_for(redis.until_asked(asked + 2), 30)

        async def nothing_left() -> bool:
            return await redis.keys() == []

        await until(nothing_left)


async def test_forgotten_stays_forgotten(redis: RedisServer):
    """After an image is forgotten, nothing of it is there, and nothing late is taken."""
    async with tier_of(redis) as tier, tier_of(redis) as late:
        lease = await lease_of(late)
        await tier.publish(KEY, b"result")
        await tier.forget(KEY.digest)
        assert not await late.publish(KEY, b"result", lease)
        assert await tier.get(KEY, anything) is None
        late.release(lease)
        await late.close()
        assert await redis.keys() == [GONE]
        async with redis.client() as inside:
            assert 60 < await inside.ttl(GONE) <= shared.GONE_S


async def test_admitted_is_kept_again(redis: RedisServer):
    """An image that somebody has again has its results in Redis again; forgetting still works."""
    async with tier_of(redis) as tier:
        for _ in range(2):
            await tier.forget(KEY.digest)
            assert not await tier.publish(KEY, b"result")
            await tier.admit(KEY.digest)
            assert await tier.publish(KEY, b"result")
            assert await redis.keys() == [RESULTS]


async def test_lease_outlives_a_result_that_is_not_kept(redis: RedisServer):
    """While what was made cannot be found in Redis, nobody else makes it, until the release."""
    async with tier_of(redis) as tier, redis.client() as inside:
        lease = await lease_of(tier)
        await tier.forget(KEY.digest)
        assert not await tier.publish(KEY, b"result", lease)
        assert await inside.exists(LEASE)
        assert lease.renewal is not None
        tier.release(lease)
        assert lease.renewal is None
    assert await redis.keys() == [GONE]


async def put_wrong_types(inside: Redis) -> None:
    await inside.set(RESULTS, b"no hash")
    await inside.lpush(LEASE, b"no lease")


async def put_endless_lease(inside: Redis) -> None:
    await inside.set(LEASE, b"for ever")


async def put_long_lease(inside: Redis) -> None:
    await inside.set(LEASE, b"for a day", px=24 * 3600 * 1000)


async def put_cut(inside: Redis) -> None:
    await inside.hset(RESULTS, FIELD, wrap(KEY, b"result")[:-1])


async def put_empty(inside: Redis) -> None:
    await inside.hset(RESULTS, FIELD, b"")


async def put_foreign(inside: Redis) -> None:
    foreign = ResultKey("b" * 64, KEY.model, KEY.version)
    await inside.hset(RESULTS, FIELD, wrap(foreign, b"result"))


async def put_refused(inside: Redis) -> None:
    await inside.hset(RESULTS, FIELD, wrap(KEY, b"refused"))


@pytest.mark.parametrize(
    "put",
    [
        put_wrong_types,
        put_endless_lease,
        put_long_lease,
        put_cut,
        put_empty,
        put_foreign,
        put_refused,
    ],
    ids=lambda put: put.__name__,
)
async def test_garbage_counts_as_absent_and_is_replaced(redis: RedisServer, put):
    """Whatever is found where a result should be: it is made again, by one, and kept."""

    def check(data: bytes) -> None:
        if data == b"refused":
            raise ValueError("no result of the model")

    async with tier_of(redis) as tier, redis.client() as inside:
        await put(inside)
        assert await tier.get(KEY, check) is None
        lease = await asyncio.wait_for(tier.claim(KEY, check), 30)
        assert isinstance(lease, Lease)
        assert await tier.publish(KEY, b"result", lease)
        assert await tier.claim(KEY, check) == b"result"
        assert await inside.exists(LEASE) == 0


async def test_killed_redis_is_done_without_until_it_is_back(redis: RedisServer):
    """Without Redis nobody waits; when it is back it is used again, by itself."""
    async with tier_of(redis) as tier:
        lease = await lease_of(tier)
        await redis.kill()
        assert not await tier.publish(KEY, b"result", lease)
        assert tier.ailment()
        assert await tier.get(KEY, anything) is None
        assert await tier.claim(KEY, anything) is None
        tier.release(lease)
        with pytest.raises(errors.StoreUnavailable):
            await tier.forget(KEY.digest)
        await redis.start()
        await well(tier)
        assert isinstance(await tier.claim(KEY, anything), Lease)


async def test_restarted_redis_is_used_at_once(redis: RedisServer):
    """Connections that a restart closed cost nobody their answer."""
    async with tier_of(redis) as tier:
        await asyncio.gather(*(tier.get(KEY, anything) for _ in range(20)))
        await redis.restart()
        assert await tier.publish(KEY, b"result")
        assert tier.ailment() is None


async def test_start_meets_redis_before_requests_do(redis: RedisServer):
    """A tier that has started asks each question once; one that cannot start is only unwell."""
    async with tier_of(redis) as tier:
        await tier.start()
        lease = await lease_of(tier)
        await tier.publish(KEY, b"result", lease)
        assert await redis.scripts_run() == 2
    await redis.kill()
    async with tier_of(redis) as tier:
        await tier.start()
        await tier.admit(KEY.digest)
        assert tier.ailment()


@pytest.mark.parametrize("how", ["stopped", "slow"])
async def test_silent_redis_costs_its_budget_once(redis: RedisServer, how: str):
    """A Redis that takes calls and does not answer holds up the first ones, and no others."""
    async with tier_of(redis, budget_s=0.2) as tier:
        await lease_of(tier)
        if how == "stopped":
            redis.pause()
        else:
            async with redis.client() as inside:
                await inside.client_pause(60_000)
        try:
            claims = await asyncio.gather(*(tier.claim(KEY, anything) for _ in range(100)))
            assert claims == [None] * 100
            assert tier.ailment()

            async def a_thousand_more() -> None:
                for _ in range(1_000):  # at a budget each these would take minutes
                    assert await tier.claim(KEY, anything) is None

            await asyncio.wait_for(a_thousand_more(), 60)
            with pytest.raises(errors.StoreUnavailable):
                await tier.forget(KEY.digest)
        finally:
            redis.resume()
        if how == "stopped":
            await well(tier)
            assert await tier.publish(KEY, b"result")


async def test_full_redis_refuses_and_recovers(redis: RedisServer):
    """At its memory limit Redis still gives what it has and forgets; it takes more when it can."""
    other = ResultKey("b" * 64, KEY.model, KEY.version)
    async with tier_of(redis) as tier, redis.client() as inside:
        await tier.publish(KEY, b"result")
        await inside.config_set("maxmemory", 1)
        assert await tier.claim(KEY, anything) == b"result"
        assert await tier.claim(other, anything) is None
        assert not await tier.publish(other, b"result")
        assert tier.ailment()
        await tier.forget(KEY.digest)
        assert await redis.keys() == [GONE]
        await inside.config_set("maxmemory", 0)
        assert await tier.publish(other, b"result")
        assert tier.ailment() is None


async def test_replica_that_only_reads(redis: RedisServer):
    """A Redis that takes no writes gives what it has, and nothing fails."""
    async with tier_of(redis) as tier, redis.client() as inside:
        await tier.publish(KEY, b"result")
        await inside.replicaof("127.0.0.1", "1")
        assert await tier.get(KEY, anything) == b"result"
        assert await tier.claim(ResultKey("b" * 64, "m", "v"), anything) is None
        assert not await tier.publish(KEY, b"other")
        with pytest.raises(errors.StoreUnavailable):
            await tier.forget(KEY.digest)


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\r\n" * 50, b""])
async def test_something_else_is_no_redis(words: bytes):
    """Whatever answers at the address costs nobody their answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tier = SharedTier(f"redis://127.0.0.1:{port}", budget_s=PATIENT_S, probe_s=0.01)
        assert await tier.claim(KEY, anything) is None
        assert tier.ailment()
        await tier.close()


async def test_connection_that_was_cut_meanwhile():
    """A connection that breaks under a command costs nobody their answer: another one is made."""
    scripts = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal scripts
        commands = hiredis.Reader()
        while data := await reader.read(4096):
            commands.feed(data)
            while command := commands.gets():
                runs = command[0] == b"EVALSHA"
                scripts += runs
                if runs and scripts == 1:
                    writer.close()
                    return
                writer.write(b":1\r\n" if runs else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tier = SharedTier(f"redis://127.0.0.1:{port}", budget_s=PATIENT_S)
        assert await tier.publish(KEY, b"result")
        assert tier.ailment() is None
        await tier.close()


@pytest.mark.parametrize("word", [b"+OK", b":7", b"$-1", b"*0"])
async def test_answers_that_no_script_gives(word: bytes):
    """What speaks Redis' protocol and runs no script costs nobody their answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(4096):
            commands.feed(data)
            while command := commands.gets():
                writer.write((word if command[0] == b"EVALSHA" else b"+OK") + b"\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tier = SharedTier(f"redis://127.0.0.1:{port}", budget_s=PATIENT_S)
        assert await asyncio.wait_for(tier.claim(KEY, anything), 30) is None
        await tier.close()


def test_url_that_names_no_redis():
    """A URL of something else is refused at start."""
    with pytest.raises(errors.InvalidArgument) as failure:
        SharedTier("http://localhost")
    assert failure.value.field == "redis_url"
