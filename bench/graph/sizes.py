"""How many bytes a verdict is: the graph's document beside REST's answers, of real photos.

The models are the real ones. What counts is the body as it is sent, with and without compression.
"""

from __future__ import annotations

import io
import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from bench.graph import queries
from bench.photos import upload
from bench.report import console, table
from federation.documents.manifest import FOLDER
from mesh.launcher import Mesh, running_mesh

PHOTOS: Final = Path(__file__).parents[2] / "tests/detection/photos"
"""Their README says where they come from."""

ENCODINGS: Final = ("identity", "gzip", "br")

FIELDS: Final = "isCompliant,rejectionReasons(code,severity,message)"
"""The verdict document's fields, as REST selects them."""

GOAL: Final = -0.90


async def main() -> None:
    """Measure all photos of the folder, and the last of them with a reason to be rejected."""
    files = sorted(PHOTOS.glob("*.jpg"))
    photos = {file.stem: file.read_bytes() for file in files}
    photos[f"{files[-1].stem}, with a telephone number"] = _numbered(files[-1])
    with tempfile.TemporaryDirectory(prefix="graph-") as folder:
        async with running_mesh(Path(folder), log_level="warning") as mesh:
            digests = await upload(mesh.mesh_address, list(photos.values()))
            for name, digest in zip(photos, digests, strict=True):
                _measure(mesh, name, digest)


def _numbered(photo: Path) -> bytes:
    """A photo that the packaged policy rejects."""
    image = Image.open(photo).convert("RGB")
    font = ImageFont.load_default(image.height / 12)
    place = (image.width / 20, image.height * 0.8)
    text = "call 0171 2345678"
    ImageDraw.Draw(image).text(place, text, "white", font, stroke_width=2, stroke_fill="black")
    encoded = io.BytesIO()
    image.save(encoded, format="JPEG", quality=90)
    return encoded.getvalue()


def _measure(mesh: Mesh, name: str, digest: str) -> None:
    ways = {
        "REST, the full analysis": f"/v1/images/{digest}/analysis",
        "REST, fields=": f"/v1/images/{digest}/moderation?fields={quote(FIELDS)}",
        "GraphQL, Verdict": _verdict(digest),
    }
    sizes = {way: [_bytes(mesh, path, each) for each in ENCODINGS] for way, path in ways.items()}
    full = sizes["REST, the full analysis"]
    table(
        f"bytes of an answer, {name}",
        ["way", *ENCODINGS, *(f"{each} of full" for each in ENCODINGS)],
        [
            [
                way,
                *map(str, found),
                *(f"{size / whole - 1:+.0%}" for size, whole in zip(found, full, strict=True)),
            ]
            for way, found in sizes.items()
        ],
    )
    change = sizes["GraphQL, Verdict"][0] / full[0] - 1
    word = "reached" if change <= GOAL else "missed"
    console.print(f"Verdict beside the full analysis: {change:+.0%} (goal {GOAL:+.0%}): {word}")
    selected = sizes["GraphQL, Verdict"][0] / sizes["REST, fields="][0] - 1
    console.print(f"Verdict beside fields=: {selected:+.0%}")


def _verdict(digest: str) -> str:
    operations = json.loads((FOLDER / "manifest.json").read_text())["operations"]
    (document,) = (each["id"] for each in operations if each["name"] == "Verdict")
    variables = quote(json.dumps({"id": digest}))
    return f"{queries.PATH}?documentId={document}&variables={variables}"


def _bytes(mesh: Mesh, path: str, encoding: str) -> int:
    """Of the body as it is sent. Raises SystemExit for one that is not whole."""
    request = urllib.request.Request(mesh.edge_url + path, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
    if encoding == "identity" and (b'"errors":[{' in body or b'"error":{' in body):
        raise SystemExit(f"{path}: {body[:300].decode()}")
    return len(body)
