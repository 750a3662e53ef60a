"""Where an image and what belongs to it is kept (docs/decisions/ownership.md).

    owners/<tenant>/<aa>/<digest>    a tenant's own record of an image: it has the image exactly
                                     when there is a valid one
    images/<aa>/<digest>/original    the bytes
                         rendition   where the original does not serve as its own
                         meta.json   there while anybody has the image
                         owned.<tenant>   empty: whose record to look for before clearing
                         results     where the store appends: what models said, of every model
    tombstones/<digest>              a deletion that is not finished everywhere

`<aa>` are a digest's first two digits.
"""

from __future__ import annotations

import re
from typing import Final

from services import errors
from services.names import is_digest

IMAGES: Final = "images"
OWNERS: Final = "owners"
TOMBSTONES: Final = "tombstones"

META: Final = "meta.json"
RESULTS: Final = "results"
OWNED: Final = "owned."
"""What the name of a back-reference begins with; a tenant follows."""

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
"""What fits between two slashes; what a tenant may be called, services/serving/tenancy.py says."""


def image_folder(digest: str) -> str:
    """Where everything of an image is kept. Raises InvalidArgument when it is no digest."""
    return f"{IMAGES}/{_check_digest(digest)[:2]}/{digest}"


def meta_path(digest: str) -> str:
    """The shared record. Raises InvalidArgument as `image_folder` does, like all that follow."""
    return f"{image_folder(digest)}/{META}"


def owner_path(tenant: str, digest: str) -> str:
    """The back-reference from an image to a tenant that has it."""
    return f"{image_folder(digest)}/{OWNED}{_check_tenant(tenant)}"


def row_path(tenant: str, digest: str) -> str:
    """A tenant's own record of an image."""
    return f"{OWNERS}/{_check_tenant(tenant)}/{_check_digest(digest)[:2]}/{digest}"


def tombstone_path(digest: str) -> str:
    """What stands while a deletion is not finished."""
    return f"{TOMBSTONES}/{_check_digest(digest)}"


def _check_digest(digest: str) -> str:
    if not is_digest(digest):
        raise errors.InvalidArgument(
            "digest: not 64 lower-case hexadecimal digits",
            field="digest",
            limit="64 hexadecimal digits",
        )
    return digest


def _check_tenant(tenant: str) -> str:
    if not _TENANT.fullmatch(tenant):
        raise errors.Internal("not a name of a tenant")
    return tenant
