"""For how long each tenant's images are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from services.serving.tenancy import is_tenant

EVERYBODY: Final = "*"
"""Stands for the tenants without an entry of their own."""


def check_tenant(name: str) -> str:
    """A tenant's name, or `EVERYBODY`. Raises ValueError for what can be neither."""
    if name != EVERYBODY and not is_tenant(name):
        raise ValueError(f"{name!r} cannot be a tenant's name")
    return name


class Retention:
    """Days by tenant. Counted from a tenant's last upload of the image."""

    def __init__(self, days: Mapping[str, float]) -> None:
        """Who is neither in `days` nor meant by its `EVERYBODY` keeps images for ever."""
        self._days = dict(days)

    def limit(self, tenant: str, now: datetime) -> datetime | None:
        """What was uploaded before goes; None when a tenant keeps its images for ever."""
        days = self._days.get(tenant, self._days.get(EVERYBODY))
        return None if days is None else now - timedelta(days=days)
