"""Each verdict names the release that made it, and a release gives its own verdicts alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services import errors
from services.releases.release import Release
from services.results.keys import ResultKey
from services.serving.status import from_status
from tests.moderation.support import rule
from tests.moderation.world import (
    APPROVED,
    REJECTED,
    UNDETERMINED,
    VersionedNsfw,
    assert_missing,
    photo,
    refs,
    world,
)
from tests.support.mesh import DETECTION, LOGO, OCR, digests
from visionmesh.common.v1.image_pb2 import ImageRef

A, B = "0123456789abcdef", "fedcba9876543210"
"""Versions of nsfw; the fake one is A."""

DOWN = errors.Unavailable("down")


def write_policy(folder: Path, threshold: float, name: str = "default") -> Path:
    text = "rules:\n" + rule(f"nsfw.score >= {threshold}", "NUDITY")
    (folder / f"{name}.yaml").write_text(text)
    return folder


async def test_verdicts_of_one_batch_name_what_made_each(tmp_path: Path):
    """Two versions in one batch are two releases, which differ in nothing but that version."""
    nsfw = VersionedNsfw()
    first, second, third = digests(3)
    nsfw.versions = {second: B}
    async with world(tmp_path, nsfw=nsfw) as w:
        outcomes = await w.moderation.moderate(refs([first, second, third]))
        names = [outcome.verdict.release for outcome in outcomes]
        releases = [await w.releases.find(name) for name in names]
        [policy] = await w.moderation.list_policies()
    policies = {"default": policy.version}
    assert releases == [
        Release(
            {"nsfw": version, "detection": DETECTION, "ocr": OCR, "logo": LOGO[:16]},
            LOGO[16:],
            policies,
        )
        for version in (A, B, A)
    ]
    assert names[0] == names[2] != names[1]


async def test_recalled_verdict_has_the_same_name(tmp_path: Path):
    """A verdict from stored results has the release of the one that ran the model."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        [ran] = await w.moderation.moderate(refs([digest]))
        [recalled] = await w.moderation.evaluate([digest])
    assert ran.verdict.release == recalled.verdict.release != ""


async def test_release_is_durable_when_it_is_named(tmp_path: Path):
    """Another process finds a release as soon as an answer has named it."""
    async with world(tmp_path) as w:
        [outcome] = await w.moderation.moderate(refs(digests(1)))
        name = outcome.verdict.release
        assert (tmp_path / "releases" / f"{name}.json").read_bytes()
    async with world(tmp_path) as other:
        release = await other.releases.find(name)
    assert release.models == {
        "nsfw": A,
        "detection": DETECTION,
        "ocr": OCR,
        "logo": LOGO[:16],
    }


async def test_model_is_asked_for_the_version_of_the_release(tmp_path: Path):
    """A pinned call asks for its release's version and never takes another one's word."""
    nsfw = VersionedNsfw()
    async with world(tmp_path, nsfw=nsfw) as w:
        kept, fresh = await w.upload(2)
        [before] = await w.moderation.moderate(refs([kept]))
        name = before.verdict.release
        await w.store(kept, 0.95, version=A)
        await w.store(kept, 0.1, version=B)
        await w.store(fresh, 0.1, version=B)
        nsfw.version = B
        first, second = await w.moderation.moderate(refs([kept, fresh]), release=name)
        assert nsfw.calls[-1].model_version == A
        [current] = await w.moderation.moderate(refs([kept]))
    assert first.verdict.decision == REJECTED, "what version A said is in the store"
    assert dict(first.verdict.model_versions) == {"nsfw": A}
    assert_missing(second, errors.ResultNotFound)
    assert {one.verdict.release for one in (first, second)} == {name}
    assert dict(current.verdict.model_versions) == {"nsfw": B}
    assert current.verdict.release != name


async def test_model_that_ignores_the_pin_is_missing(tmp_path: Path):
    """An answer of another version than the pinned one breaks the promise, and is not taken."""
    async with world(tmp_path) as w:
        ids = await w.upload(1)
        [before] = await w.moderation.moderate(refs(ids))
        w.nsfw.version = B
        [outcome] = await w.moderation.moderate(refs(ids), release=before.verdict.release)
    assert_missing(outcome, errors.Internal)
    assert not outcome.verdict.model_versions


async def test_pinned_answers_teach_nothing(tmp_path: Path):
    """A stored answer of an old version does not make it the current one."""
    nsfw = VersionedNsfw()
    async with world(tmp_path, nsfw=nsfw) as w:
        ids = await w.upload(1)
        [before] = await w.moderation.moderate(refs(ids))
        w.releases.learn("nsfw", B)
        nsfw.versions = {ids[0]: A}
        [pinned] = await w.moderation.moderate(refs(ids), release=before.verdict.release)
        assert pinned.verdict.decision == APPROVED
        assert w.releases.last("nsfw") == B


async def test_lost_model_has_the_stored_results_of_the_release(tmp_path: Path):
    """While a model is down, a release's own stored results speak, and never the last version's."""
    async with world(tmp_path) as w:
        kept, fresh = await w.upload(2)
        [before] = await w.moderation.moderate(refs([kept]))
        await w.store(kept, 0.95, version=A)
        await w.store(fresh, 0.1, version=B)
        w.releases.learn("nsfw", B)
        w.nsfw.error = DOWN
        name = before.verdict.release
        first, second = await w.moderation.moderate(refs([kept, fresh]), release=name)
        recalled = await w.moderation.evaluate([kept, fresh], release=name)
    assert first.verdict.decision == recalled[0].verdict.decision == REJECTED
    assert_missing(second, errors.ModelUnavailable)
    assert_missing(recalled[1], errors.ResultNotFound)


async def test_model_that_the_release_did_not_know(tmp_path: Path):
    """A version that was unknown when the release was named stays missing, and nobody is asked."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        w.nsfw.error = DOWN
        [before] = await w.moderation.moderate(refs([digest]))
        w.nsfw.error = None
        w.nsfw.calls.clear()
        name = before.verdict.release
        [again] = await w.moderation.moderate(refs([digest]), release=name)
        [recalled] = await w.moderation.evaluate([digest], release=name)
        assert w.nsfw.calls == []
        assert (await w.releases.find(name)).models == {
            "nsfw": "",
            "detection": DETECTION,
            "ocr": OCR,
            "logo": LOGO[:16],
        }
    for outcome in (again, recalled):
        assert_missing(outcome, errors.ResultNotFound)
        assert outcome.verdict.release == name


async def test_kept_failure_is_the_images_own_error(tmp_path: Path):
    """What is stored may be that the image cannot be looked at: that is no verdict."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        corrupt = errors.CorruptImage("cannot be decoded", field="images.data")
        await w.results.put(ResultKey(digest, "nsfw", A), corrupt)
        [recalled] = await w.moderation.evaluate([digest])
        w.nsfw.error = DOWN
        [moderated] = await w.moderation.moderate(refs([digest]))
    for outcome in (recalled, moderated):
        assert type(from_status(outcome.error)) is errors.CorruptImage


async def test_edited_policy(tmp_path: Path):
    """An old release is judged by the policy as it was, from stored results and by models."""
    policies = tmp_path / "policies"
    policies.mkdir()
    async with world(tmp_path, policies=write_policy(policies, 0.2)) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.5)
        w.nsfw.scores = {digest: 0.5}
        [old] = await w.moderation.moderate(refs([digest]))
        write_policy(policies, 0.8)
        await w.reload()
        [new] = await w.moderation.moderate(refs([digest]))
        [replayed] = await w.moderation.evaluate([digest], release=old.verdict.release)
        [again] = await w.moderation.moderate(refs([digest]), release=old.verdict.release)
        [current] = await w.moderation.evaluate([digest], release=new.verdict.release)
    assert (old.verdict.decision, new.verdict.decision) == (REJECTED, APPROVED)
    assert replayed.verdict == again.verdict == old.verdict
    assert current.verdict == new.verdict
    assert old.verdict.policy_version != new.verdict.policy_version


async def test_edited_policy_after_a_restart(tmp_path: Path):
    """A process that never saw the old policy gives its verdict too; without the model as well."""
    policies = tmp_path / "policies"
    policies.mkdir()
    async with world(tmp_path, policies=write_policy(policies, 0.2)) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.5)
        w.nsfw.scores = {digest: 0.5}
        [old] = await w.moderation.moderate(refs([digest]))
    async with world(tmp_path, policies=write_policy(policies, 0.8)) as w:
        w.nsfw.error = DOWN
        [replayed] = await w.moderation.evaluate([digest], release=old.verdict.release)
    assert replayed.verdict == old.verdict


async def test_open_verdict_is_given_again(tmp_path: Path):
    """A verdict that a model did not answer for is given again without it, in its release."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        [known] = await w.moderation.moderate(refs([digest]))
        w.nsfw.error = DOWN
        [open_one] = await w.moderation.moderate(refs([digest]))
        assert_missing(open_one, errors.ModelUnavailable)
        w.nsfw.error = None
        await w.store(digest, 0.95)
        recorded = len(w.audit.entries)
        [replayed] = await w.moderation.evaluate(
            [digest],
            release=open_one.verdict.release,
            without=list(open_one.verdict.missing),
            replays=["0" * 24],
        )
        [now] = await w.moderation.evaluate([digest], release=open_one.verdict.release)
        assert len(w.audit.entries) == recorded + 1, "what is given again is on record"
    verdict = replayed.verdict
    assert (verdict.decision, list(verdict.missing)) == (UNDETERMINED, ["nsfw"])
    assert list(verdict.unknown_codes) == list(open_one.verdict.unknown_codes)
    assert verdict.release == open_one.verdict.release == known.verdict.release
    assert now.verdict.decision == REJECTED


async def test_without_what_nobody_reads(tmp_path: Path):
    """A model that the policy does not read may be left out, and changes nothing."""
    async with world(tmp_path) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.1)
        [outcome] = await w.moderation.evaluate([digest], without=["horoscope"])
    assert outcome.verdict.decision == APPROVED


@pytest.mark.parametrize("pinned", ["0" * 16, "f" * 16])
async def test_made_up_release(tmp_path: Path, pinned: str):
    """A release that was never named is not found, and no model is asked."""
    async with world(tmp_path) as w:
        with pytest.raises(errors.ReleaseNotFound) as failure:
            await w.moderation.moderate(refs(digests(1)), release=pinned)
        with pytest.raises(errors.ReleaseNotFound):
            await w.moderation.evaluate(digests(1), release=pinned)
        assert w.nsfw.calls == []
    assert failure.value.field == "release"


async def test_malformed_release(tmp_path: Path):
    """What cannot be a release breaks the contract."""
    async with world(tmp_path) as w:
        for pinned in ("last/policies", "ABCDEF0123456789"):
            with pytest.raises(errors.InvalidArgument) as failure:
                await w.moderation.moderate(refs(digests(1)), release=pinned)
            assert failure.value.field == "release"


async def test_policy_that_the_release_did_not_have(tmp_path: Path):
    """A policy that came later is none of the release, and one that has gone is still its."""
    policies = tmp_path / "policies"
    policies.mkdir()
    write_policy(policies, 0.2, "gone")
    async with world(tmp_path, policies=write_policy(policies, 0.2)) as w:
        [digest] = await w.upload(1)
        [outcome] = await w.moderation.moderate(refs([digest]))
        name = outcome.verdict.release
        (policies / "gone.yaml").unlink()
        write_policy(policies, 0.2, "late")
        await w.reload()
        await w.moderation.moderate(refs([digest]), "late")
        with pytest.raises(errors.PolicyNotFound, match="default, gone") as failure:
            await w.moderation.moderate(refs([digest]), "late", release=name)
        assert failure.value.field == "policy"
        [old] = await w.moderation.moderate(refs([digest]), "gone", release=name)
        with pytest.raises(errors.PolicyNotFound):
            await w.moderation.moderate(refs([digest]), "gone")
    assert (old.verdict.policy, old.verdict.release) == ("gone", name)


async def test_restart_while_the_model_is_down(tmp_path: Path):
    """After a restart stored results of the last known version still speak for a lost model."""
    async with world(tmp_path, start=True) as w:
        [digest] = await w.upload(1)
        await w.store(digest, 0.95)
        [before] = await w.moderation.moderate(refs([digest]))
        await w.releases.settle()
    async with world(tmp_path, address="127.0.0.1:1", start=True) as w:
        [moderated] = await w.moderation.moderate(refs([digest]))
        [recalled] = await w.moderation.evaluate([digest])
        [pinned] = await w.moderation.moderate(refs([digest]), release=before.verdict.release)
    for outcome in (moderated, recalled, pinned):
        assert outcome.verdict.decision == REJECTED
        assert dict(outcome.verdict.model_versions) == {"nsfw": A}
        assert outcome.verdict.release == before.verdict.release


async def test_inline_bytes_in_a_release(tmp_path: Path):
    """A pinned call may carry the bytes of an image that is not stored."""
    async with world(tmp_path) as w:
        [before] = await w.moderation.moderate(refs(digests(1)))
        ref = ImageRef(digest=hashlib.sha256(photo(7)).hexdigest(), data=photo(7))
        [outcome] = await w.moderation.moderate([ref], release=before.verdict.release)
    assert outcome.verdict.decision == APPROVED
