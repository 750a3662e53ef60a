"""Settings of the moderation service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.serving.settings import ServiceSettings

PACKAGED_POLICIES: Final = Path(__file__).parent / "policies"


class ModerationSettings(ServiceSettings):
    """What every process has, and the folder of the policies (`VISIONMESH_POLICIES_DIR`)."""

    policies_dir: Path = PACKAGED_POLICIES
