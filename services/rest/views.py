"""Messages of the mesh as JSON: plain code, no reflection, the names of `openapi.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.errors import VisionmeshError
from services.releases.release import Release
from services.serving import status
from visionmesh.common.v1.geometry_pb2 import Box, Point
from visionmesh.common.v1.image_pb2 import ImageSize
from visionmesh.common.v1.model_pb2 import Model
from visionmesh.images.v1.images_pb2 import Image
from visionmesh.logo.v1 import logo_pb2
from visionmesh.moderation.v1 import moderation_pb2

Json = dict[str, Any]

_IS_COMPLIANT: Final[dict[int, bool | None]] = {
    moderation_pb2.DECISION_APPROVED: True,
    moderation_pb2.DECISION_REJECTED: False,
}
_DECISION: Final[dict[int, str]] = {
    moderation_pb2.DECISION_APPROVED: "APPROVED",
    moderation_pb2.DECISION_REJECTED: "REJECTED",
}
_SEVERITY: Final[dict[int, str]] = {
    moderation_pb2.SEVERITY_LOW: "LOW",
    moderation_pb2.SEVERITY_MEDIUM: "MEDIUM",
    moderation_pb2.SEVERITY_HIGH: "HIGH",
    moderation_pb2.SEVERITY_CRITICAL: "CRITICAL",
}


def image(image: Image) -> Json:
    """What is known of a stored image."""
    return {
        "id": image.digest,
        "mediaType": image.media_type,
        "byteSize": image.byte_size,
        "width": image.size.width,
        "height": image.size.height,
        "orientation": image.orientation,
        "frames": image.frames,
        "rendition": size(image.rendition_size),
        "createdAt": image.created_at.ToJsonString(),
    }


def moderation(outcome: moderation_pb2.ModerationOutcome) -> Json:
    """A verdict. `outcome` has one; its size may be unknown when no model answered."""
    return {
        "imageId": outcome.digest,
        "release": outcome.verdict.release,
        "image": size(outcome.image_size) if outcome.image_size.width else None,
        **verdict(outcome.verdict),
    }


def model_part(model: str, version: str, result: Json) -> Json:
    """What one model says in an analysis."""
    return {"model": model_version(model, version), "result": result, "error": None}


def failed_model_part(error: VisionmeshError) -> Json:
    """Why one model says nothing in an analysis."""
    return {"model": None, "result": None, "error": failure(error)}


def verdict_part(given: moderation_pb2.Verdict) -> Json:
    """The verdict in an analysis."""
    return {"result": verdict(given), "error": None}


def failed_verdict_part(error: VisionmeshError) -> Json:
    """Why there is no verdict in an analysis."""
    return {"result": None, "error": failure(error)}


def verdict(verdict: moderation_pb2.Verdict) -> Json:
    """A verdict by itself, with why models are missing."""
    errors = sorted(verdict.model_errors.items())
    return {
        **_verdict(verdict),
        "errors": [model_error(name, status.from_status(error)) for name, error in errors],
    }


def audit_page(page: moderation_pb2.ListAuditEntriesResponse) -> Json:
    """Verdicts as they were given, and where there are more."""
    return {
        "entries": [_audit_entry(entry) for entry in page.entries],
        "nextCursor": page.next_page_token or None,
    }


def brand(brand: logo_pb2.Brand) -> Json:
    """A brand; a built-in one has a date when the tenant has registered a mark of it as well."""
    registered = brand.registered_at.ToJsonString() if brand.HasField("registered_at") else None
    return {"name": brand.name, "builtIn": brand.built_in, "registeredAt": registered}


def brand_page(page: logo_pb2.ListBrandsResponse) -> Json:
    """Brands by name, and where there are more."""
    return {
        "brands": [brand(one) for one in page.brands],
        "nextCursor": page.next_page_token or None,
    }


def release(release: Release) -> Json:
    """What is behind a release's name. What was never heard of has no version."""
    return {
        "release": release.name,
        "models": _versions(release.models),
        "gallery": {"revision": release.gallery or None},
        "policies": _versions(release.policies),
    }


def model(model: Model) -> Json:
    """What a model is, and what it takes."""
    limits = model.input_limits
    return {
        "name": model.name,
        "version": model.version,
        "description": model.description,
        "labels": list(model.labels),
        "license": model.license,
        "inputLimits": {
            "maxImages": limits.max_images,
            "maxImageBytes": limits.max_image_bytes,
            "maxImagePixels": limits.max_image_pixels,
            "maxInlineBytes": limits.max_inline_bytes,
            "mediaTypes": list(limits.media_types),
        },
    }


def model_version(name: str, version: str) -> Json:
    """Which version of a model made a result."""
    return {"name": name, "version": version}


def model_error(name: str, error: VisionmeshError) -> Json:
    """Why a model did not answer, in words that are meant for clients."""
    return {"model": name, **failure(error)}


def failure(error: VisionmeshError) -> Json:
    """Why there is no answer, in words that are meant for clients."""
    return {"code": error.code, "detail": error.message}


def policy(policy: moderation_pb2.Policy) -> Json:
    """What a policy can say, and what it reads."""
    return {
        "name": policy.name,
        "version": policy.version,
        "description": policy.description,
        "codes": list(policy.codes),
        "models": list(policy.models),
    }


def _audit_entry(entry: moderation_pb2.AuditEntry) -> Json:
    return {
        "id": entry.id,
        "recordedAt": entry.recorded_at.ToJsonString(),
        "imageId": entry.digest,
        "release": entry.verdict.release,
        **_verdict(entry.verdict),
        "traceId": entry.trace_id,
    }


def _verdict(verdict: moderation_pb2.Verdict) -> Json:
    return {
        # Anything that is neither is not determined: it fails closed.
        "isCompliant": _IS_COMPLIANT.get(verdict.decision),
        "decision": _DECISION.get(verdict.decision, "UNDETERMINED"),
        "rejectionReasons": [_reason(reason) for reason in verdict.reasons],
        "missing": list(verdict.missing),
        "unknownCodes": list(verdict.unknown_codes),
        "policy": {"name": verdict.policy, "version": verdict.policy_version},
        "models": _versions(verdict.model_versions),
    }


def _versions(versions: Mapping[str, str]) -> list[Json]:
    return [
        {"name": name, "version": version or None} for name, version in sorted(versions.items())
    ]


def size(size: ImageSize) -> Json:
    """Pixels of an upright image."""
    return {"width": size.width, "height": size.height}


def box(box: Box) -> Json:
    """A rectangle in pixels of the upright original."""
    return {"x": box.x, "y": box.y, "width": box.width, "height": box.height}


def point(point: Point) -> Json:
    """A place in pixels of the upright original."""
    return {"x": point.x, "y": point.y}


def _reason(reason: moderation_pb2.Reason) -> Json:
    return {
        "code": reason.code,
        "severity": _SEVERITY.get(reason.severity, "CRITICAL"),
        "message": reason.message,
        "evidence": [
            {
                "model": seen.model,
                "label": seen.label,
                "score": seen.score if seen.HasField("score") else None,
                "box": box(seen.box) if seen.HasField("box") else None,
                "corners": [point(corner) for corner in seen.corners] or None,
                "text": seen.text or None,
            }
            for seen in reason.evidence
        ],
    }
