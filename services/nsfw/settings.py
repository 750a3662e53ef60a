"""Settings of the nsfw process."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.nsfw.types import Parameters
from services.serving.model_settings import BatchSettings


class NsfwSettings(BatchSettings):
    """What every process with a model has, and how exactly images are decoded.

    `decode_min_side` trades last digits of the score for time, see
    docs/decisions/nsfw-decode-while-scaling.md; it is part of the version.
    """

    decode_min_side: Annotated[int, Field(ge=256, le=1536)] = Parameters().decode_min_side

    @property
    def parameters(self) -> Parameters:
        return Parameters(decode_min_side=self.decode_min_side)
