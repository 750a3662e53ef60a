"""Recording and reading, the same in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.errors import InvalidArgument
from tests.audit.world import TRACE, arrived, digest, everything, is_well, opened, verdict
from visionmesh.moderation.v1.moderation_pb2 import EvaluateRequest


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_an_entry_is_read_as_it_was_recorded(tmp_path, url, required):
    """What was recorded is read: the verdict with all it has, the trace, and when it was."""
    began = datetime.now(UTC)
    async with opened(tmp_path, url, required=required) as (log, _):
        await log.record("local", [(digest(1), verdict(1))], TRACE)
        await arrived(log, 1)
        [entry] = (await log.page("local")).entries
    assert entry.digest == digest(1)
    assert entry.verdict == verdict(1)
    assert entry.trace_id == TRACE
    assert began <= entry.recorded_at.ToDatetime(UTC) <= datetime.now(UTC)


@pytest.mark.parametrize("required", [False, True], ids=["queued", "required"])
async def test_text_out_of_the_image_is_not_recorded(tmp_path, url, required):
    """Of its evidence an entry has all but the text, which the caller's own verdict keeps."""
    given = verdict(1)
    given.reasons[0].evidence[0].text = "call Jane, 0171 2345678"
    async with opened(tmp_path, url, required=required) as (log, _):
        await log.record("local", [(digest(1), given)], TRACE)
        await arrived(log, 1)
        [entry] = (await log.page("local")).entries
    assert entry.verdict == verdict(1)
    assert given.reasons[0].evidence[0].text == "call Jane, 0171 2345678"
    assert not any(b"Jane" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def test_a_required_entry_is_there_when_it_is_acknowledged(tmp_path, url):
    """Where the log is required, an entry is in the database when `record` returns."""
    async with opened(tmp_path, url, required=True) as (log, _):
        for number in range(20):
            await log.record("local", [(digest(number), verdict(number))], TRACE)
            assert len(await everything(log)) == number + 1


async def test_a_closed_log_left_nothing_behind(tmp_path, url):
    """What was recorded just before the end is in the database, and no file waits."""
    async with opened(tmp_path, url) as (log, _):
        await log.record("local", [(digest(n), verdict(n)) for n in range(500)], TRACE)
    assert not list(tmp_path.glob("audit/*.spool"))
    async with opened(tmp_path, url) as (log, _):
        assert await everything(log) == [digest(n) for n in reversed(range(500))]


async def test_nobody_sees_what_is_another_tenants(tmp_path, url):
    """A page has the tenant's own entries, also for a digest that another tenant has too."""
    async with opened(tmp_path, url, required=True) as (log, _):
        await log.record("a", [(digest(1), verdict(1)), (digest(2), verdict(2))], TRACE)
        await log.record("b", [(digest(1), verdict(3))], TRACE)
        assert await everything(log, "a") == [digest(2), digest(1)]
        assert await everything(log, "b") == [digest(1)]
        assert await everything(log, "c") == []
        of_image = (await log.page("a", digest=digest(1))).entries
        assert [entry.verdict for entry in of_image] == [verdict(1)]
        assert not (await log.page("b", digest=digest(2))).entries


async def test_pages_while_others_record(tmp_path, url):
    """Page by page every entry from before the first page comes once, in order, whatever is new."""
    async with opened(tmp_path, url, required=True) as (log, _):
        await log.record("local", [(digest(n), verdict(n)) for n in range(100)], TRACE)
        found: list[str] = []
        token = ""
        for later in range(1000, 2000):
            page, _ = await asyncio.gather(
                log.page("local", 7, token),
                log.record("local", [(digest(later), verdict(later))], TRACE),
            )
            found += [entry.digest for entry in page.entries]
            if not (token := page.next_page_token):
                break
    assert [each for each in found if each < digest(1000)] == [
        digest(n) for n in reversed(range(100))
    ]
    assert len(set(found)) == len(found)


async def test_many_at_once_are_each_there_once(tmp_path, url):
    """Entries of many concurrent calls are all recorded, each once, with ids in their order."""
    async with opened(tmp_path, url) as (log, diagnostics):
        calls = [log.record("local", [(digest(n), verdict(n))], TRACE) for n in range(3000)]
        await asyncio.gather(*calls)
        await arrived(log, 3000)
        assert await everything(log) == [digest(n) for n in reversed(range(3000))]
        await is_well(diagnostics)


async def test_the_last_page_says_so(tmp_path):
    """There is a next page exactly when there are more entries."""
    async with opened(tmp_path, required=True) as (log, _):
        await log.record("local", [(digest(n), verdict(n)) for n in range(4)], TRACE)
        first = await log.page("local", 2)
        last = await log.page("local", 2, first.next_page_token)
        assert len(last.entries) == 2
        assert last.next_page_token == ""


async def test_a_page_has_a_hundred(tmp_path):
    """A page has a hundred entries unless another number is asked for, at most a thousand."""
    async with opened(tmp_path, required=True) as (log, _):
        await log.record("local", [(digest(n), verdict(n)) for n in range(1001)], TRACE)
        assert len((await log.page("local")).entries) == 100
        assert len((await log.page("local", 1000)).entries) == 1000
        for size in (-1, 1001):
            with pytest.raises(InvalidArgument) as refused:
                await log.page("local", size)
            assert refused.value.field == "page_size"


async def test_tokens_that_no_page_gave(tmp_path):
    """A token that is damaged, made up, another tenant's or another image's is refused by name."""
    async with opened(tmp_path, required=True) as (log, _):
        await log.record("local", [(digest(1), verdict(n)) for n in range(3)], TRACE)
        token = (await log.page("local", 1)).next_page_token
        assert await log.page("local", 1, token)
        damaged = ("A" if token[0] != "A" else "B") + token[1:]
        wrong = [
            ("local", damaged, ""),
            ("local", token[:-4], ""),
            ("local", "%%%", ""),
            ("local", "é", ""),
            ("local", "AAAA", ""),
            ("other", token, ""),
            ("local", token, digest(1)),
        ]
        for tenant, text, image in wrong:
            with pytest.raises(InvalidArgument) as refused:
                await log.page(tenant, 1, text, image)
            assert refused.value.field == "page_token"


@pytest.mark.parametrize(
    "url", ["mysql://root:secret@host/db", "sqlite://", "sqlite:///:memory:", "no url", "file:///x"]
)
async def test_databases_that_are_not_known(tmp_path, url):
    """A URL of no known database is refused by the setting's name, without its password."""
    with pytest.raises(InvalidArgument) as refused:
        async with opened(tmp_path, url):
            pass
    assert refused.value.field == "audit_url"
    assert "secret" not in str(refused.value)


async def test_what_is_given_again_is_on_record(tmp_path, url):
    """A replay is confirmed for its tenant, image, policy, release and models, and nothing else."""
    async with opened(tmp_path, url, required=True) as (log, _):
        await log.record("local", [(digest(n), verdict(n)) for n in (1, 2)], TRACE)
        second, first = (await log.page("local")).entries

        def asked(**instead) -> EvaluateRequest:
            right = {
                "digests": [digest(1)],
                "policy": "default",
                "release": verdict(1).release,
                "without": ["ocr"],
                "replays": [first.id],
            }
            return EvaluateRequest(**right | instead)

        await log.confirm("local", asked())
        wrong = [
            ("other", asked()),
            ("local", asked(digests=[digest(2)])),
            ("local", asked(policy="strict")),
            ("local", asked(release=verdict(2).release)),
            ("local", asked(without=[])),
            ("local", asked(without=["ocr", "nsfw"])),
            ("local", asked(replays=[second.id])),
            ("local", asked(replays=["0" * 24])),
        ]
        for tenant, request in wrong:
            with pytest.raises(InvalidArgument, match=r"^replays\[0\]: "):
                await log.confirm(tenant, request)
        with pytest.raises(InvalidArgument, match="replays: must be one a digest, 1"):
            await log.confirm("local", asked(replays=[first.id, first.id]))
