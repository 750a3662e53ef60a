"""Settings of the ocr process."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.ocr.types import Parameters
from services.serving.model_settings import ModelSettings


class OcrSettings(ModelSettings):
    """What every model process has: nothing else can be set.

    A page takes longer than what the other models look at: fewer of them may wait (a guess).
    """

    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = 64

    @property
    def parameters(self) -> Parameters:
        return Parameters()
