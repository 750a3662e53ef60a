"""Where Envoy's own spans go, and of which requests: OpenTelemetry's standard variables, as Envoy
needs them said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from mesh.errors import InvalidOption
from services.serving import telemetry

PORT: Final = 4317
"""OTLP over gRPC, where an endpoint does not say."""

FLUSH_MS: Final = 5_000
"""As the processes' own batches."""

_RATIOS: Final = {"always_on": 1.0, "always_off": 0.0}


@dataclass(frozen=True, slots=True)
class Tracing:
    """A collector that takes OTLP over gRPC.

    `ratio` is the share of the requests that begin a trace here and are recorded; whoever brings a
    trace has decided. Spans leave `flush_ms` milliseconds after they have ended, or earlier.
    """

    host: str
    port: int = PORT
    tls: bool = False
    ratio: float = 1.0
    flush_ms: int = FLUSH_MS

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """What the variables say; None when no spans are exported. Raises InvalidOption."""
        url = telemetry.endpoint(environment)
        if not url or telemetry.protocol(environment) != telemetry.GRPC:
            return None
        parts = urlsplit(url)
        try:
            port = parts.port or PORT
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not port:
            raise InvalidOption(
                f"OTLP endpoint {url}: must be http://HOST:PORT or https://HOST:PORT"
            )
        delay = environment.get("OTEL_BSP_SCHEDULE_DELAY", "")
        return cls(
            parts.hostname,
            port,
            parts.scheme == "https",
            _ratio(environment),
            int(delay) if delay.isdigit() else FLUSH_MS,
        )

    @property
    def per_million(self) -> int:
        """The ratio as Envoy's sampler takes it."""
        return round(self.ratio * 1_000_000)


def _ratio(environment: Mapping[str, str]) -> float:
    """What of new traces the processes would record."""
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").lower().removeprefix("parentbased_")
    if sampler != "traceidratio":
        return _RATIOS.get(sampler, 1.0)
    try:
        return min(1.0, max(0.0, float(environment.get("OTEL_TRACES_SAMPLER_ARG", "1"))))
    except ValueError:
        return 1.0  # as the SDK does
