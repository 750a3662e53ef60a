"""For whom the current request is: set by Envoy, which has checked a key, and by nobody else."""

from __future__ import annotations

import hmac
import re
from contextvars import ContextVar
from typing import Final

from services import errors

LOCAL: Final = "local"
"""The one tenant of a mesh without keys."""

TENANT_HEADER: Final = "x-visionmesh-tenant"
TOKEN_HEADER: Final = "x-visionmesh-token"
"""Proves that the tenant was named by Envoy, or by a process of the same mesh."""

_TENANT: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

_tenant: ContextVar[str] = ContextVar("tenant", default="")


def is_tenant(name: str) -> bool:
    """Whether a name can be a tenant's: a DNS label, fit for paths and host names."""
    return _TENANT.fullmatch(name) is not None


def tenant() -> str:
    """The current request's tenant. Raises Unauthenticated when it is for nobody."""
    if name := _tenant.get():
        return name
    raise errors.Unauthenticated("a valid key is needed")


def current() -> str:
    """The current request's tenant, empty when it is for nobody: what is passed on to callees."""
    return _tenant.get()


def act_for(name: str) -> None:
    """From here on, in this task, act for a tenant; for nobody when it is empty."""
    _tenant.set(name)


class Trust:
    """Decides whom to believe that a call is for a tenant."""

    def __init__(self, token: str = "") -> None:
        """Without a token everything is for the tenant `local`, whatever a call says."""
        self._token = token.encode()

    def adopt(self, token: str | None, name: str | None) -> None:
        """Act for the tenant that a call names, with the token that it shows.

        A call without a tenant acts for nobody, which is enough to ask what a model is. Raises
        Unauthenticated when the token is not the mesh's or the name cannot be a tenant's.
        """
        if not self._token:
            act_for(LOCAL)
            return
        # Over HTTP anything may be in a header, also what is no text.
        if not hmac.compare_digest((token or "").encode(errors="replace"), self._token):
            raise errors.Unauthenticated("a valid key is needed")
        if name and not is_tenant(name):
            raise errors.Unauthenticated("a valid key is needed")
        act_for(name or "")
