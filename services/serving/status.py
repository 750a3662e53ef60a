"""The one table between domain errors and gRPC status, in both directions.

A status carries the domain's code in `google.rpc.ErrorInfo`, with the field and the limit in its
metadata, so that a client gets the same error back that the service raised; that of an overload
says in `google.rpc.RetryInfo` when to try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services import errors
from services.errors import VisionmeshError

DOMAIN: Final = "visionmesh"

STATUS_DETAILS: Final = "grpc-status-details-bin"
"""Trailing metadata key in which gRPC carries a serialised google.rpc.Status."""

_log = structlog.get_logger()

CODES: Final[dict[type[VisionmeshError], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.BrandExists: grpc.StatusCode.ALREADY_EXISTS,
    # Not RESOURCE_EXHAUSTED, which means overload here: trying again does not help.
    errors.TooManyBrands: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.InvalidPolicy: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ModelFileError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Internal: grpc.StatusCode.INTERNAL,
    errors.VisionmeshError: grpc.StatusCode.INTERNAL,
}
"""gRPC status code of each error; an error without a row has its nearest ancestor's."""

_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

_FOREIGN: Final[dict[int, type[VisionmeshError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT.value[0]: errors.InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE.value[0]: errors.InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED.value[0]: errors.Unauthenticated,
    grpc.StatusCode.NOT_FOUND.value[0]: errors.NotFound,
    grpc.StatusCode.UNAVAILABLE.value[0]: errors.Unavailable,
    grpc.StatusCode.UNIMPLEMENTED.value[0]: errors.Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: errors.Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED.value[0]: errors.DeadlineExceeded,
    grpc.StatusCode.CANCELLED.value[0]: errors.Cancelled,
}
# Words for statuses that are not ours: Envoy's and gRPC's own texts name addresses and sockets.
_FOREIGN_MESSAGES: Final[dict[type[VisionmeshError], str]] = {
    errors.InvalidArgument: "the request was refused",
    errors.Unauthenticated: "a valid key is needed",
    errors.NotFound: "not found",
    errors.Unavailable: "the service cannot be reached",
    errors.Overloaded: "the service is overloaded",
    errors.DeadlineExceeded: "no answer within the deadline",
    errors.Cancelled: "the call was cancelled",
    errors.Internal: "internal error",
}


def code_of(error: VisionmeshError) -> grpc.StatusCode:
    """The gRPC status code of an error."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def code_of_number(number: int) -> grpc.StatusCode:
    """The gRPC status code that is this number on the wire."""
    return _BY_NUMBER[number]


def to_status(error: BaseException) -> status_pb2.Status:
    """The status that a client gets; a fault of ours is logged and becomes `internal error`."""
    if not isinstance(error, VisionmeshError) or isinstance(error, errors.Internal):
        _log.error("unexpected error", exc_info=error)
        error = errors.Internal("internal error")
    metadata = {"field": error.field, "limit": error.limit}
    info = error_details_pb2.ErrorInfo(
        reason=error.code,
        domain=DOMAIN,
        metadata={key: value for key, value in metadata.items() if value},
    )
    details: list[Message] = [info]
    if isinstance(error, errors.Overloaded):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(retry)
    code: int = code_of(error).value[0]
    return status_pb2.Status(code=code, message=error.message, details=map(_packed, details))


def from_status(status: status_pb2.Status) -> VisionmeshError:
    """The error that a status stands for; a foreign one gets a message without internals."""
    for info in _error_infos(status):
        if info.domain == DOMAIN:
            kind = errors.BY_CODE.get(info.reason, errors.Internal)
            error = kind(
                status.message,
                field=info.metadata.get("field", ""),
                limit=info.metadata.get("limit", ""),
            )
            if isinstance(error, errors.Overloaded):
                error.retry_after_s = _retry_after_s(status, error.retry_after_s)
            return error
    kind = _FOREIGN.get(status.code, errors.Internal)
    return kind(_FOREIGN_MESSAGES[kind])


def from_rpc_error(error: grpc.aio.AioRpcError) -> VisionmeshError:
    """The error that a failed call stands for."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS:
            raw = value if isinstance(value, bytes) else value.encode("latin-1")
            return from_status(status_pb2.Status.FromString(raw))
    return from_status(status_pb2.Status(code=error.code().value[0]))


def _packed(message: Message) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail


def _retry_after_s(status: status_pb2.Status, default: float) -> float:
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            return float(retry.retry_delay.ToMilliseconds()) / 1000
    return default


def _error_infos(status: status_pb2.Status) -> Iterator[error_details_pb2.ErrorInfo]:
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            yield info
