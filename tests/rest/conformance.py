"""What schemathesis cannot know from the document, loaded by its own process.

That a request fits the document does not make an image out of its bytes or a property out of a name
in `fields`. Wherever schemathesis means a part of a request to be right, it is made right here;
what it means to be wrong stays as it is.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Any, Final

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from services.rest import document
from services.rest.fields import Shape
from tests.logo.drawings import encoded, logo, on_white
from tests.support import photos

IMAGE: Final = photos.png(48, 32)
IMAGES: Final = st.integers(0, 10_000).map(lambda seed: photos.png(48, 32, seed=seed))
"""Others mostly: what one test deletes must not be what another one stores again meanwhile."""

LOGO: Final = encoded(on_white(logo(7)), "PNG")
KNOWN: Final = {
    "id": hashlib.sha256(IMAGE).hexdigest(),
    "model": "nsfw",
    "name": "conforming",
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
    "getImageLogo": "ImageLogo",
    "getImageOcr": "ImageOcr",
    "getImageModeration": "ImageModeration",
    "getImageAnalysis": "ImageAnalysis",
    "createModeration": "ImageModeration",
    "getModel": "Model",
    "listModels": "ModelList",
    "listPolicies": "PolicyList",
    "getCurrentRelease": "Release",
    "getRelease": "Release",
    "listAuditEntries": "AuditPage",
    "listBrands": "BrandPage",
    "registerBrand": "Brand",
}
CONTRACT: Final = document.load()

schemathesis.openapi.media_type("image/*", IMAGES)
schemathesis.openapi.media_type("application/octet-stream", IMAGES)


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
    if case.operation.definition.raw["operationId"] == "predict":
        # base64 that is none, or holds no image, is an error of its own and fits the document.
        case.media_type = "application/json"
        case.body = {"instances": [{"b64": b64encode(IMAGE).decode()}]}
    query = case.query or {}
    if "fields" in query:
        query["fields"] = _some_fields(case.operation.definition.raw["operationId"])
    if "policy" in query:
        query["policy"] = ("default", "strict")[len(query["policy"]) % 2]
    if "brands" in query:
        query["brands"] = "alpha"
    if "release" in query:
        query["release"] = _current_release(case)
    if "include" in query:
        _fit_to_included(query)
    query.pop("cursor", None)  # the first page has none, and there may be no second one


def _fit_to_included(query: dict[str, Any]) -> None:
    """Ask nothing of what is not included."""
    given = query["include"]
    included = given.split(",") if isinstance(given, str) else given
    if "moderation" not in included:
        query.pop("policy", None)
    for name in [name for name in query if "." in name]:
        if name.partition(".")[0] not in included:
            del query[name]
    if "fields" in query:
        query["fields"] = f"imageId,{included[0]}(result,error)"


def _find_known(case: Any) -> None:
    path = case.path_parameters or {}
    component = case.meta.components.get(ParameterLocation.PATH)
    if component is None or component.mode is GenerationMode.POSITIVE:
        for name in path:
            path[name] = KNOWN[name] or _current_release(case)
    if path.get("id") == KNOWN["id"]:
        _store(_base_url(case))
    if path.get("name") == KNOWN["name"] and case.method.upper() == "DELETE":
        _register(_base_url(case))


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


def _register(base_url: str) -> None:
    """See that there is a brand of the known name: 409 when it was there."""
    answer = requests.put(
        f"{base_url}/v1/brands/{KNOWN['name']}",
        LOGO,
        headers={"Content-Type": "image/png"},
        timeout=60,
    )
    assert answer.status_code in (201, 409), answer.text
