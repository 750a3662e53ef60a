"""Settings of the logo process."""

from __future__ import annotations

from services.logo.types import FeatureParameters
from services.serving.model_settings import ModelSettings


class LogoSettings(ModelSettings):
    """What every model process has: nothing else can be set."""

    @property
    def parameters(self) -> FeatureParameters:
        return FeatureParameters()
