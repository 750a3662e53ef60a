"""Settings of the detection process."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.serving.model_settings import BatchSettings


class DetectionSettings(BatchSettings):
    """What every model process has, and which detector is run.

    `detection_model` is the name of a registered weight file that has an architecture of
    `architectures.py`.
    """

    detection_model: Annotated[str, Field(min_length=1)] = "detection"
