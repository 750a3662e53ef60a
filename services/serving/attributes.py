"""Names of what spans say where OpenTelemetry's semantic conventions have none.

docs/telemetry.md lists them.
"""

from __future__ import annotations

from typing import Final

MODEL_NAME: Final = "visionmesh.model.name"
MODEL_VERSION: Final = "visionmesh.model.version"
MODEL_FILE: Final = "visionmesh.model.file"
"""Which of a model's files an inference ran."""

ENGINE_NAME: Final = "visionmesh.engine.name"
BATCH_SIZE: Final = "visionmesh.batch.size"
"""Images of a call, or inputs of an inference."""

RESULT_TIER: Final = "visionmesh.result.tier"
"""Where a result was found: memory, shared or durable."""
