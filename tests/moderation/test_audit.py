"""Verdicts are on record before they are given, and their tenant can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import errors
from services.serving import tenancy, tracing
from tests.moderation.world import refs, world
from tests.support.mesh import digests


async def test_every_verdict_is_recorded_as_it_is_given(tmp_path: Path):
    """Both kinds of verdicts are recorded with tenant, digest and trace; errors are none."""
    [unknown] = digests(1)
    async with world(tmp_path) as w:
        first, second = await w.upload(2)
        await w.store(first, 0.95)
        w.nsfw.errors = {unknown: errors.ImageNotFound("there is no image")}
        tracing.adopt(None)
        moderated = await w.moderation.moderate(refs([first, unknown, second]))
        evaluated = await w.moderation.evaluate([first, unknown])
        given = [*moderated, *evaluated]
        expected = [
            (tenancy.LOCAL, one.digest, one.verdict, tracing.trace_id())
            for one in given
            if one.HasField("verdict")
        ]
        assert [(t, d, v, trace) for t, d, v, trace in w.audit.entries] == expected
        assert len(expected) == 3
        assert all(verdict.release for _, _, verdict, _ in w.audit.entries)


async def test_verdict_that_cannot_be_recorded_is_not_given(tmp_path: Path):
    """When the log refuses, the call fails, also without some models; policies need no log."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        w.audit.error = errors.AuditUnavailable("no record can be made")
        with pytest.raises(errors.AuditUnavailable):
            await w.moderation.moderate(refs([digest]))
        with pytest.raises(errors.AuditUnavailable):
            await w.moderation.evaluate([digest])
        with pytest.raises(errors.AuditUnavailable):
            await w.moderation.evaluate([digest], without=["nsfw"])
        with pytest.raises(errors.AuditUnavailable):
            await w.moderation.evaluate([digest], replays=["0" * 24])
        assert await w.moderation.list_policies()


async def test_only_a_replay_is_not_recorded(tmp_path: Path):
    """What a call leaves out makes no replay of it: an entry that it gives again does."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.moderation.evaluate([digest], without=["nsfw", "replay"])
        assert len(w.audit.entries) == 1
        await w.moderation.evaluate([digest], without=["nsfw"], replays=["0" * 24])
        assert len(w.audit.entries) == 1


async def test_pages(tmp_path: Path):
    """The log is asked for the tenant's own entries, with what the call says."""
    async with world(tmp_path) as w:
        first, second = await w.upload(2)
        await w.moderation.evaluate([first, second, first])
        page = await w.moderation.list_audit_entries(page_size=1, page_token="x", digest=first)
    assert [(entry.id, entry.digest) for entry in page.entries] == [("2", first)]
    assert page.next_page_token == "x"
