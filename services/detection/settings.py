"""Settings of the detection process."""

from __future__ import annotations

from services.detection.types import Parameters
from services.serving.model_settings import ModelSettings


class DetectionSettings(ModelSettings):
    """What every model process has: nothing else can be set."""

    @property
    def parameters(self) -> Parameters:
        return Parameters()
