"""Settings of the moderation service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.serving.settings import ServiceSettings

PACKAGED_POLICIES: Final = Path(__file__).parent / "policies"


class ModerationSettings(ServiceSettings):
    """What every process has, the folder of the policies, and where verdicts are recorded.

    `policies_dir` is `VISIONMESH_POLICIES_DIR`. `audit_url` names the database of the audit log
    (`postgresql://…`); empty means an SQLite file below `data_dir`. When `audit_required`, a
    verdict that cannot be recorded is not given; else it waits on the disk for the database.
    """

    policies_dir: Path = PACKAGED_POLICIES
    audit_url: str = ""
    audit_required: bool = False
