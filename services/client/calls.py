"""Calls that continue the current trace, each a span of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import grpc
from opentelemetry.trace import SpanKind

from services.serving import rpc_spans, timing, tracing
from services.serving.spans import Attributes

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)


class _Method(Generic[Request, Response]):
    """One method of a stub. An interceptor of gRPC's would cost a task a call."""

    def __init__(
        self,
        path: str,
        attributes: Attributes,
        inside: bool,
        call: Callable[..., grpc.aio.UnaryUnaryCall[Any, Response]],
    ) -> None:
        self._name, about = rpc_spans.of_call(path)
        self._attributes = {**about, **attributes}
        self._inside = inside
        self._call = call

    async def __call__(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Response:
        span = tracing.start(self._name, self._attributes, SpanKind.CLIENT)
        headers = tracing.headers(span) or (tracing.untraced() if self._inside else ())
        metadata = (*metadata, *headers)
        if span is None:
            return await self._answered(request, timeout, metadata)
        code = grpc.StatusCode.UNKNOWN
        try:
            response = await self._answered(request, timeout, metadata)
            code = grpc.StatusCode.OK
            return response
        except grpc.aio.AioRpcError as error:
            code = error.code()
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            rpc_spans.answered(span, code, client=True)
            span.end()

    async def _answered(
        self, request: Request, timeout: float | None, metadata: Sequence[tuple[str, str]]
    ) -> Response:
        call = self._call(request, timeout=timeout, metadata=metadata)
        response = await call
        timings = timing.current()
        if timings is not None:
            for name, value in await call.trailing_metadata() or ():
                if name == timing.HEADER and isinstance(value, str):
                    timings.hear(value)
        return response


class _Channel:
    """What stubs make their methods of."""

    def __init__(self, channel: grpc.aio.Channel, attributes: Attributes, inside: bool) -> None:
        self._channel = channel
        self._attributes = attributes
        self._inside = inside

    def unary_unary(self, path: str, **options: Any) -> _Method[Any, Any]:
        call = self._channel.unary_unary(path, **options)
        return _Method(path, self._attributes, self._inside, call)


def traced(channel: grpc.aio.Channel, address: str, *, inside: bool) -> grpc.aio.Channel:
    """The channel to `address` (`host:port`) for stubs with unary methods, whose calls are spans.

    What is called from `inside` the mesh outside of any request, as to ask for versions every other
    second, begins no trace; where else there is none, whoever is called begins one.
    """
    host, _, port = address.rpartition(":")
    about: dict[str, str | int] = {"server.address": host.strip("[]") or address}
    if port.isdigit():
        about["server.port"] = int(port)
    # The stubs ask a channel for nothing but its methods.
    return cast(grpc.aio.Channel, _Channel(channel, about, inside))
