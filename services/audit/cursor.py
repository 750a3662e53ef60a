"""Where a page of the audit log ended, as a word that means nothing to clients."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from services import errors
from services.audit.entry import ID_DIGITS

_ID_BYTES: Final = ID_DIGITS // 2
_CHECK_BYTES: Final = 6


def token(last_id: str, tenant: str, digest: str) -> str:
    """The token of the page after an entry, in one tenant's list of all or of one image's."""
    name = bytes.fromhex(last_id)
    return base64.urlsafe_b64encode(name + _check(name, tenant, digest)).decode()


def last_id(page_token: str, tenant: str, digest: str) -> str:
    """The entry after which a page begins.

    Raises InvalidArgument when the token was not given for this tenant and this image. The check
    catches mistakes, no more: an id tells nothing and opens nothing.
    """
    try:
        raw = base64.b64decode(page_token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise _wrong() from error
    name, check = raw[:_ID_BYTES], raw[_ID_BYTES:]
    if len(name) != _ID_BYTES or check != _check(name, tenant, digest):
        raise _wrong()
    return name.hex()


def _check(name: bytes, tenant: str, digest: str) -> bytes:
    of = b"\n".join((name, tenant.encode(), digest.encode()))
    return hashlib.blake2b(of, digest_size=_CHECK_BYTES).digest()


def _wrong() -> errors.InvalidArgument:
    return errors.InvalidArgument(
        "page_token: not one that a page of this list gave", field="page_token"
    )
