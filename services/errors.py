"""What can go wrong, in the words of the domain.

    VisionmeshError
    ├── InvalidArgument            an argument is out of its limits
    │   ├── EmptyImage             no bytes at all
    │   ├── UnsupportedFormat      not JPEG, PNG, WebP, AVIF or GIF
    │   ├── CorruptImage           says it is one of them, and cannot be decoded
    │   ├── ImageTooLarge          too many bytes, in one image or inline in one call
    │   ├── TooManyPixels          width times height, read from the header
    │   ├── UnusablePicture        shows no logo that could be recognized by it
    │   └── DigestMismatch         the bytes are not those that the digest names
    ├── Unauthenticated            the call does not come through Envoy, or for no tenant
    ├── NotFound
    │   ├── ImageNotFound
    │   ├── ModelNotFound
    │   ├── PolicyNotFound
    │   ├── BrandNotFound          none of the caller's own
    │   ├── ReleaseNotFound        no such release was ever named here
    │   └── ResultNotFound         not stored, and the version that would make it is not served
    ├── BrandExists                the name, or the picture, is one of the caller's own already
    ├── TooManyBrands              as many of the caller's own as may be
    ├── Unavailable                try again, soon
    │   ├── ModelUnavailable
    │   ├── StoreUnavailable
    │   ├── AuditUnavailable       a verdict that must be recorded cannot be
    │   └── Overloaded             refused before any work was done
    ├── DeadlineExceeded           the time that the client gave is over
    ├── Cancelled                  nobody waits for the answer any more
    ├── InvalidPolicy              a policy file that cannot be loaded
    ├── ModelFileError             a weight file is missing or not the registered one
    └── Internal                   a fault of ours; what it was stays in the log

No error knows a transport: `services/serving/status.py` maps them to gRPC and
`services/rest/problems.py` to HTTP. Their messages are written for clients: they name the field and
the limit, never internals.
"""

from __future__ import annotations

from typing import ClassVar


class VisionmeshError(Exception):
    """Something a caller can be told.

    `code` is stable and in capitals; `field` names the offending argument as the caller wrote it,
    `limit` what it may be at most.
    """

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, field: str = "", limit: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.limit = limit


class InvalidArgument(VisionmeshError):
    code = "INVALID_ARGUMENT"


class EmptyImage(InvalidArgument):
    code = "EMPTY_IMAGE"


class UnsupportedFormat(InvalidArgument):
    code = "UNSUPPORTED_FORMAT"


class CorruptImage(InvalidArgument):
    code = "CORRUPT_IMAGE"


class ImageTooLarge(InvalidArgument):
    code = "IMAGE_TOO_LARGE"


class TooManyPixels(InvalidArgument):
    code = "TOO_MANY_PIXELS"


class DigestMismatch(InvalidArgument):
    code = "DIGEST_MISMATCH"


class UnusablePicture(InvalidArgument):
    code = "UNUSABLE_PICTURE"


class Unauthenticated(VisionmeshError):
    code = "UNAUTHENTICATED"


class NotFound(VisionmeshError):
    code = "NOT_FOUND"


class ImageNotFound(NotFound):
    code = "IMAGE_NOT_FOUND"


class ModelNotFound(NotFound):
    code = "MODEL_NOT_FOUND"


class PolicyNotFound(NotFound):
    code = "POLICY_NOT_FOUND"


class BrandNotFound(NotFound):
    code = "BRAND_NOT_FOUND"


class ReleaseNotFound(NotFound):
    code = "RELEASE_NOT_FOUND"


class ResultNotFound(NotFound):
    code = "RESULT_NOT_FOUND"


class BrandExists(VisionmeshError):
    code = "BRAND_EXISTS"


class TooManyBrands(VisionmeshError):
    code = "TOO_MANY_BRANDS"


class Unavailable(VisionmeshError):
    code = "UNAVAILABLE"


class ModelUnavailable(Unavailable):
    code = "MODEL_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    code = "STORE_UNAVAILABLE"


class AuditUnavailable(Unavailable):
    code = "AUDIT_UNAVAILABLE"


class Overloaded(Unavailable):
    """`retry_after_s` is when it is worth trying again, in seconds from now."""

    code = "OVERLOADED"

    def __init__(
        self, message: str, *, field: str = "", limit: str = "", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(message, field=field, limit=limit)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(VisionmeshError):
    code = "DEADLINE_EXCEEDED"


class Cancelled(VisionmeshError):
    code = "CANCELLED"


class InvalidPolicy(VisionmeshError):
    code = "INVALID_POLICY"


class ModelFileError(VisionmeshError):
    code = "MODEL_FILE_ERROR"


class Internal(VisionmeshError):
    code = "INTERNAL"


def _tree(root: type[VisionmeshError]) -> list[type[VisionmeshError]]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


BY_CODE: dict[str, type[VisionmeshError]] = {
    error.code: error for error in _tree(VisionmeshError) if error is not VisionmeshError
}
"""The error class of each code, for clients that rebuild errors from the wire."""
