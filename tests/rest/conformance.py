"""What schemathesis cannot know from the document, loaded by its own process.

That a request fits the document does not make an image out of its bytes or a property out of a name
in `fields`. Wherever schemathesis means a part of a request to be right, it is made right here;
what it means to be wrong stays as it is.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from services.rest import document
from services.rest.fields import Shape
from tests.support import photos

IMAGE: Final = photos.png(48, 32)
KNOWN: Final = {
    "id": hashlib.sha256(IMAGE).hexdigest(),
    "model": "nsfw",
    "file": "swagger-ui.css",
    "release": "",  # of the mesh that is asked: see `_current_release`
}
"""Path parameters of what is there."""

PATIENT_MS: Final = 10_000
"""Less than this may be too little for a busy machine, which is a 504 and no fault."""

SCHEMAS: Final = {
    "createImage": "Image",
    "putImage": "Image",
    "getImage": "Image",
    "headImage": "Image",
    "getImageNsfw": "ImageNsfw",
    "getImageDetection": "ImageDetection",
    "getImageOcr": "ImageOcr",
    "getImageModeration": "ImageModeration",
    "createModeration": "ImageModeration",
    "getModel": "Model",
    "listModels": "ModelList",
    "listPolicies": "PolicyList",
    "getCurrentRelease": "Release",
    "getRelease": "Release",
    "listAuditEntries": "AuditPage",
}
CONTRACT: Final = document.load()

schemathesis.openapi.media_type("image/*", st.just(IMAGE))
schemathesis.openapi.media_type("application/octet-stream", st.just(IMAGE))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Make right what is meant to be right, and have the known image there."""
    _be_patient(case)
    if case.meta is None:
        return
    if case.meta.generation.mode is GenerationMode.POSITIVE:
        _make_right(case)
    # Stateful tests make, use and delete what they find in answers.
    if case.meta.phase.name is not TestPhase.STATEFUL:
        _find_known(case)


def _be_patient(case: Any) -> None:
    asked = str((case.headers or {}).get("x-request-timeout-ms", ""))
    if re.fullmatch("[0-9]+", asked) and 0 < int(asked) < PATIENT_MS:
        case.headers["x-request-timeout-ms"] = str(PATIENT_MS)


def _make_right(case: Any) -> None:
    query = case.query or {}
    if "fields" in query:
        query["fields"] = _some_fields(case.operation.definition.raw["operationId"])
    if "policy" in query:
        query["policy"] = ("default", "strict")[len(query["policy"]) % 2]
    if "release" in query:
        query["release"] = _current_release(case)
    query.pop("cursor", None)  # the first page has none, and there may be no second one


def _find_known(case: Any) -> None:
    path = case.path_parameters or {}
    component = case.meta.components.get(ParameterLocation.PATH)
    if component is None or component.mode is GenerationMode.POSITIVE:
        for name in path:
            path[name] = KNOWN[name] or _current_release(case)
    if path.get("id") == KNOWN["id"]:
        _store(_base_url(case))


def _some_fields(operation: str) -> str:
    """The first property, and of the last one what is below it."""
    shape: Shape = document.shape_of(CONTRACT, SCHEMAS[operation])
    names = list(shape)
    first, last = names[0], names[-1]
    below = shape[last]
    return f"{first},{last}({','.join(below)})" if below else f"{first},{last}"


def _current_release(case: Any) -> str:
    url = _base_url(case) + "/v1/releases/current"
    release: str = requests.get(url, timeout=60).json()["release"]
    return release


def _base_url(case: Any) -> str:
    base_url: str = case.operation.schema.get_base_url()
    return base_url.rstrip("/")


def _store(base_url: str) -> None:
    requests.post(
        f"{base_url}/v1/images", IMAGE, headers={"Content-Type": "image/png"}, timeout=60
    ).raise_for_status()
