"""What happens around every call of every servicer, in one place and in one hop.

The caller's trace, tenant and deadline become the context's, the request is checked against the
contract's rules, a domain error becomes its gRPC status, and all of it is a span. Where results
come from, and how long others took, is in the trailing metadata.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Final, NoReturn, cast

import grpc
import protovalidate
from google.protobuf.message import Message
from google.rpc import status_pb2
from protovalidate import FieldPathPb as FieldPath

from services import errors
from services.serving import deadline, elsewhere, rpc_spans, status, tenancy, timing, tracing
from services.serving.diagnostics import Diagnostics
from services.serving.logs import answered
from services.serving.rpc_metrics import RpcMetrics
from services.serving.spans import RecordedSpan, Recorder

WATCHING: Final = ("/grpc.health.v1.Health/", "/visionmesh.serving.v1.DiagnosticsService/")
"""Whoever watches over a process need not be a tenant."""

Behaviour = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]

_Answer = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]", dict[str, str]], Awaitable[Any]]
"""A behaviour that is given a call's metadata too."""


class MeshInterceptor(grpc.aio.ServerInterceptor):
    """Trace, tenant, deadline, validation and errors for unary calls; others pass unchanged.

    Each call that begins is counted as `calls.` and its method's name, each that ends is measured.
    """

    def __init__(
        self,
        trust: tenancy.Trust,
        diagnostics: Diagnostics,
        recorder: Recorder | None = None,
        metrics: RpcMetrics | None = None,
    ) -> None:
        self._trust = trust
        self._diagnostics = diagnostics
        self._recorder = recorder
        self._metrics = metrics or RpcMetrics()
        self._validator = protovalidate.Validator()
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        if wrapped := self._wrapped.get(method):
            return wrapped  # a server's handlers stay what they are
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        if method.startswith(WATCHING):
            return handler
        # An asyncio server's behaviours are coroutine functions; the stubs know only the others.
        behaviour = cast(Behaviour, handler.unary_unary)
        wrapped = grpc.unary_unary_rpc_method_handler(
            self._traced(method, self._around(behaviour)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        self._wrapped[method] = wrapped
        return wrapped

    def _traced(self, method: str, answer: _Answer) -> Behaviour:
        name, attributes = rpc_spans.of_call(method)
        answer = _logged(name, answer)
        counted = f"calls.{method.rpartition('/')[2]}"
        ended = self._metrics.of(method)

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = time.perf_counter()
            self._diagnostics.count(counted)
            metadata = _metadata(context)
            span = tracing.enter(
                self._recorder,
                name,
                metadata.get(tracing.HEADER),
                metadata.get(tracing.STATE_HEADER),
                attributes,
            )
            code = grpc.StatusCode.OK
            try:
                return await answer(request, context, metadata)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except grpc.aio.AbortError:
                code = context.code()
                raise
            finally:
                ended(code, time.perf_counter() - began)
                if isinstance(span, RecordedSpan):
                    rpc_spans.answered(span, code)
                    span.end()

        return call

    def _around(self, behaviour: Behaviour) -> _Answer:
        async def call(
            request: Any, context: grpc.aio.ServicerContext[Any, Any], metadata: dict[str, str]
        ) -> Any:
            try:
                self._trust.adopt(
                    metadata.get(tenancy.TOKEN_HEADER), metadata.get(tenancy.TENANT_HEADER)
                )
                elsewhere.adopt(metadata.get(elsewhere.ATTEMPT_HEADER))
                timings = timing.collect()
                self._validate(request)
                remaining = context.time_remaining()
                with deadline.limit(remaining) if remaining is not None else nullcontext():
                    response = await behaviour(request, context)
                if told := timings.told():
                    context.set_trailing_metadata(((timing.HEADER, told),))
                return response
            except asyncio.CancelledError:
                raise  # the client has gone, or the server stops: nobody reads a status
            except grpc.aio.AbortError:
                raise
            except elsewhere.Elsewhere:
                await context.send_initial_metadata(((elsewhere.HEADER, "1"),))
                error = errors.ResultNotFound("no result of this version is stored or served here")
                await _abort(context, status.to_status(error))
            except Exception as error:
                await _abort(context, status.to_status(error))

        return call

    def _validate(self, request: Message) -> None:
        violations = self._validator.collect_violations(request)
        if violations:
            first = violations[0].proto
            field = _path(first.field)
            raise errors.InvalidArgument(
                "; ".join(f"{_path(v.proto.field)}: {v.proto.message}" for v in violations[:3]),
                field=field,
                limit=first.message,
            )


def _logged(name: str, answer: _Answer) -> _Answer:
    async def call(
        request: Any, context: grpc.aio.ServicerContext[Any, Any], metadata: dict[str, str]
    ) -> Any:
        response = await answer(request, context, metadata)
        answered(method=name)
        return response

    return call


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], failure: status_pb2.Status
) -> NoReturn:
    code = status.code_of_number(failure.code)
    details = ((status.STATUS_DETAILS, failure.SerializeToString()),)
    await context.abort(code, failure.message, details)


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """A call's metadata as text, of a repeated key the last value; binary values are left out."""
    sent = context.invocation_metadata() or ()
    return {name: value for name, value in sent if isinstance(value, str)}


def _path(path: FieldPath | None) -> str:
    """A violation's path as a caller would write it: `images[3].digest`."""
    written = ""
    for element in path.elements if path else ():
        written += f".{element.field_name}" if written else element.field_name
        if element.subscript is not None:
            written += f"[{element.subscript.value}]"
    return written
