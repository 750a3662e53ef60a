"""Asking a process whether it is healthy, in its own protocol."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Protocol

HOST = "127.0.0.1"


class Unhealthy(Exception):
    """A process does not answer, or says that it does not serve."""


class Probe(Protocol):
    """One way to ask."""

    async def check(self, timeout_s: float) -> float:
        """Seconds that the answer took, without connecting. Raises Unhealthy."""
        ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """GET `path`; any 2xx is healthy."""

    port: int
    path: str
    host: str = HOST

    async def check(self, timeout_s: float) -> float:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._get()
        except TimeoutError:
            raise Unhealthy(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise Unhealthy(_why(error)) from None

    async def _get(self) -> float:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            started = time.perf_counter()
            host = f"[{self.host}]" if ":" in self.host else self.host
            head = f"GET {self.path} HTTP/1.1\r\nHost: {host}:{self.port}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode())
            # HTTP/1.1 200 OK
            words = (await reader.readline()).split(maxsplit=2)
            if len(words) < 2 or not words[1].startswith(b"2"):
                raise Unhealthy(f"HTTP {words[1].decode('latin-1') if len(words) > 1 else 'error'}")
            return time.perf_counter() - started
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """`grpc.health.v1.Health/Check` for one gRPC service."""

    port: int
    service: str
    host: str = HOST

    async def check(self, timeout_s: float) -> float:
        # A process that is not listening yet is found out without loading gRPC.
        await TcpProbe(self.port, self.host).check(timeout_s)
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        async with grpc.aio.insecure_channel(f"{self.host}:{self.port}") as channel:
            try:
                await asyncio.wait_for(channel.channel_ready(), timeout_s)
                started = time.perf_counter()
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service=self.service), timeout=timeout_s
                )
            except TimeoutError:
                raise Unhealthy(f"no answer within {timeout_s:g} s") from None
            except grpc.aio.AioRpcError as error:
                raise Unhealthy(error.code().name) from None
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unhealthy(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
        return time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Connect; whoever accepts is healthy."""

    port: int
    host: str = HOST

    async def check(self, timeout_s: float) -> float:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except TimeoutError:
            raise Unhealthy(f"no connection within {timeout_s:g} s") from None
        except OSError as error:
            raise Unhealthy(_why(error)) from None
        writer.close()
        return time.perf_counter() - started


def _why(error: OSError) -> str:
    # asyncio's own text names the address, which whoever asks knows.
    return os.strerror(error.errno).lower() if error.errno else str(error)
