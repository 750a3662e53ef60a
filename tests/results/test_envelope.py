"""The form in which results are stored, alone and many in one file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import errors
from services.results.envelope import fresh, unwrap, wrap
from services.results.frames import MARK, envelopes, frame
from services.results.keys import ResultKey

KEY = ResultKey("a" * 64, "nsfw", "0123456789abcdef")
OTHER = ResultKey("a" * 64, "nsfw", "fedcba9876543210")


def found(key: ResultKey, data: bytes) -> list[bytes]:
    """The results of a file that are whole."""
    values = []
    for envelope in envelopes(key, data):
        try:
            value = unwrap(key, envelope)
        except ValueError:
            continue
        assert isinstance(value, bytes)
        values.append(value)
    return values


def record(key: ResultKey, payload: bytes) -> bytes:
    return frame(key, wrap(key, payload))


@given(payload=st.binary(max_size=300))
def test_result_reads_back(payload: bytes):
    """Any bytes are kept as they are, none at all too."""
    assert unwrap(KEY, wrap(KEY, payload)) == payload


@pytest.mark.parametrize(
    "error",
    [
        errors.CorruptImage("cannot be decoded", field="data", limit="JPEG"),
        errors.TooManyPixels("größer als erlaubt"),
        errors.InvalidArgument(""),
    ],
    ids=str,
)
def test_negative_result_reads_back(error: errors.InvalidArgument):
    """An error keeps its kind, its words, its field and its limit."""
    read = unwrap(KEY, wrap(KEY, error))
    assert type(read) is type(error)
    assert isinstance(read, errors.VisionmeshError)
    assert (read.message, read.field, read.limit) == (error.message, error.field, error.limit)


def test_errors_are_new_every_time():
    """Who raises a kept error does not leave a trace in what is kept."""
    error = errors.CorruptImage("no", field="data")
    assert fresh(error) is not error
    assert str(fresh(error)) == "no"


@pytest.mark.parametrize(
    "key",
    [
        ResultKey("b" * 64, KEY.model, KEY.version),
        ResultKey(KEY.digest, "ocr", KEY.version),
        OTHER,
    ],
    ids=["digest", "model", "version"],
)
def test_result_of_another_key_is_refused(key: ResultKey):
    """What was stored under one name is no result under another."""
    with pytest.raises(ValueError, match="stored"):
        unwrap(key, wrap(KEY, b"result"))


@given(data=st.data())
def test_damage_is_found(data: st.DataObject):
    """A changed byte or a cut is found, wherever it is."""
    whole = wrap(KEY, data.draw(st.binary(max_size=60)))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:at]
    else:
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises(ValueError, match="stored"):
        unwrap(KEY, damaged)


@given(garbage=st.binary(max_size=100))
def test_garbage_is_found(garbage: bytes):
    """Bytes that nobody stored are no result."""
    with pytest.raises(ValueError, match="stored"):
        unwrap(KEY, garbage)


@given(
    before=st.binary(max_size=50),
    between=st.binary(max_size=50),
    payloads=st.tuples(st.binary(max_size=50), st.binary(max_size=50)),
)
def test_records_survive_garbage_around_them(
    before: bytes, between: bytes, payloads: tuple[bytes, bytes]
):
    """Whole records are found behind and in front of bytes that are none."""
    first, second = payloads
    data = before + record(KEY, first) + between + record(OTHER, b"other") + record(KEY, second)
    if MARK not in before + between:
        assert found(KEY, data) == [first, second]
        assert found(OTHER, data) == [b"other"]


@given(first=st.binary(max_size=60), second=st.binary(max_size=40), data=st.data())
def test_cut_record_hides_nothing_behind_it(first: bytes, second: bytes, data: st.DataObject):
    """A record that a full disk cut off costs itself, and none of those that follow."""
    whole = record(KEY, first)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    following = record(OTHER, b"other") + record(KEY, second)
    assert found(KEY, cut + following) == [second]
    assert found(OTHER, cut + following) == [b"other"]


def test_cut_record_that_ends_where_another_does():
    """A record of which only the head was written may claim all of those that follow."""
    following = record(OTHER, b"other")
    cut = record(KEY, bytes(len(following) - len(record(KEY, b"")) + 9))[:9]
    assert found(OTHER, cut + following) == [b"other"]
    assert found(OTHER, cut + following + record(KEY, b"result")) == [b"other"]


def test_empty_file_has_nothing():
    """The file that an upload makes holds no result yet."""
    assert found(KEY, b"") == []
