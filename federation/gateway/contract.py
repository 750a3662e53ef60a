"""What the gateway's TypeScript must know of the mesh, as JSON: `contract.json` beside it."""

from __future__ import annotations

import json

from services.client.defaults import MAX_RESULTS
from services.errors import BY_CODE
from services.limits import DEFAULT_BATCH_TIMEOUT_S, MAX_UPLOAD_BYTES


def contract() -> str:
    """Codes whose messages are for clients, and the limits of a request."""
    content = {
        "codes": sorted(BY_CODE),
        "defaultTimeoutMs": int(DEFAULT_BATCH_TIMEOUT_S * 1000),
        "maxResults": MAX_RESULTS,
        "maxUploadBytes": MAX_UPLOAD_BYTES,
    }
    return json.dumps(content, indent=2) + "\n"
