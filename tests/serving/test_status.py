"""The table between domain errors and gRPC status."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import status_pb2

from services import errors
from services.errors import VisionmeshError
from services.serving import status

ALL = sorted(errors.BY_CODE.values(), key=lambda kind: kind.code)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
def test_round_trip(kind: type[VisionmeshError]):
    """An error comes back from its status as the same error, with its field and limit."""
    sent = kind("a picture is too big", field="data", limit="20000000 bytes")
    got = status.from_status(status.to_status(sent))
    assert type(got) is kind
    if kind is not errors.Internal:
        assert (got.message, got.field, got.limit) == (sent.message, "data", "20000000 bytes")


def test_overload_says_when_to_try_again():
    """The hint of an overload crosses the wire, and a peer's without one has the default."""
    sent = status.to_status(errors.Overloaded("busy", retry_after_s=2.5))
    got = status.from_status(sent)
    assert isinstance(got, errors.Overloaded)
    assert got.retry_after_s == 2.5
    del sent.details[1:]
    bare = status.from_status(sent)
    assert isinstance(bare, errors.Overloaded)
    assert bare.retry_after_s == errors.Overloaded("").retry_after_s


def test_codes_are_distinct():
    """Every concrete error has a code of its own."""
    codes = [kind.code for kind in errors.BY_CODE.values()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
def test_only_our_faults_are_internal(kind: type[VisionmeshError]):
    """Only what is nobody's but our fault has the code INTERNAL."""
    assert (status.code_of(kind("")) is grpc.StatusCode.INTERNAL) == (kind is errors.Internal)


@pytest.mark.parametrize("kind", [RuntimeError, errors.Internal])
def test_fault_of_ours_tells_nothing(kind: type[Exception]):
    """An error that is not of the domain, or an internal one, leaves without its message."""
    sent = status.to_status(kind("password is hunter2"))
    assert sent.code == grpc.StatusCode.INTERNAL.value[0]
    assert "hunter2" not in str(sent)


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_foreign_status_is_mapped_without_its_words(code: grpc.StatusCode):
    """A status made by Envoy or gRPC becomes a domain error that names no address."""
    foreign = status_pb2.Status(code=code.value[0], message="connect to 10.1.2.3:80 refused")
    got = status.from_status(foreign)
    assert isinstance(got, VisionmeshError)
    assert "10.1.2.3" not in got.message


def test_unknown_reason_is_internal():
    """A newer peer's unknown error code becomes an internal error, not a crash."""
    sent = status.to_status(errors.ImageNotFound("gone"))
    sent.details[0].value = sent.details[0].value.replace(b"IMAGE_NOT_FOUND", b"IMAGE_NOT_HERE!")
    assert type(status.from_status(sent)) is errors.Internal
