"""Settings of the ocr process."""

from __future__ import annotations

from services.ocr.types import Parameters
from services.serving.model_settings import ModelSettings


class OcrSettings(ModelSettings):
    """What every model process has: nothing else can be set."""

    @property
    def parameters(self) -> Parameters:
        return Parameters()
