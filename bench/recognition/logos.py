"""How many logos are found, and how many of those are right: `python -m bench.recognition.logos`.

Each scene is a photo out of scikit-image's package with one built-in logo in it: on a card, or
laid over the photo bare. Its longer side is a fifth to a half of the photo's shorter one; the
photo's longer one is 800 pixels. It is turned by up to 15 degrees, its corners are moved by up to
4 %, light and noise change, and all of it becomes a JPEG of quality 85. It is looked for among 100,
500 and 1,500 brands, by the same code that serves, from the score on that is asked for when nobody
says otherwise. Found is a logo when its brand is named and the middle of the box is where it is;
everything else that is named is wrong, and is also counted apart where it is another brand.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import preparation, registry
from services.client.defaults import MIN_LOGO_SCORE
from services.inference.picture import Picture
from services.logo import gallery, matching, prepared, processing, sift
from services.logo.comparison import Comparison
from services.logo.icons import drawings
from services.logo.types import (
    FeatureParameters,
    Features,
    Logo,
    LogoResult,
    Mark,
    MarkParameters,
    MatchParameters,
)

PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "moon.png",
    "camera.png",
    "clock_motion.png",
    "color.png",
)

LONG_SIDE = 800
BRANDS = (100, 500, 1500)


@dataclass(frozen=True)
class Scene:
    """A picture, the brand that is in it, and where its middle is; no brand for a photo alone."""

    jpeg: bytes
    width: int
    height: int
    brand: str = ""
    middle: tuple[float, float] = (0, 0)
    reach: float = 0


@dataclass
class Tally:
    """What was found in some scenes."""

    scenes: int = 0
    found: int = 0
    wrong: int = 0
    another: int = 0
    extract_ms: float = 0
    match_ms: float = 0

    def __str__(self) -> str:
        named = self.found + self.wrong
        precision = f"{self.found / named:.2f}" if named else "-"
        recall = self.found / self.scenes
        extract, match = self.extract_ms / self.scenes, self.match_ms / self.scenes
        return (
            f"{recall:6.2f} {precision:>9} {self.wrong:5} {self.another:7}"
            f" {extract:10.0f} {match:8.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=100, help="scenes of each kind")
    parser.add_argument("--seed", type=int, default=2026)
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    entry = registry.find("logo")
    drawn = list(drawings(registry.path("logo").read_bytes(), MarkParameters(side=512)))
    whole = prepared.load(preparation.path(entry))
    shuffled = np.random.default_rng(wanted.seed).permutation(sorted(whole.brands)).tolist()
    print(f"{wanted.scenes} scenes of each kind, seed {wanted.seed}; ms on one thread")
    print("brands  logos    recall precision wrong another extract ms match ms")
    for count in BRANDS:
        names = set(shuffled[:count])
        compared = Comparison(_part(whole, names))
        known = [(brand, mark) for brand, mark in drawn if brand in names]
        for kind in ("on a card", "bare"):
            scenes = _scenes(known, wanted.scenes, kind == "on a card", wanted.seed + count)
            print(f"{count:6}  {kind:9} {_tally(scenes, compared)}", flush=True)
        nothing = _tally(_photos(), compared)
        print(
            f"{count:6}  none      {'':16} {nothing.wrong:5} in {nothing.scenes} photos", flush=True
        )


def _tally(scenes: Iterator[Scene], compared: Comparison) -> Tally:
    tally = Tally()
    for scene in scenes:
        begun = time.thread_time()
        features = _features(scene)
        extracted = time.thread_time()
        result = _recognized(features, scene, compared)
        tally.match_ms += 1000 * (time.thread_time() - extracted)
        tally.extract_ms += 1000 * (extracted - begun)
        tally.scenes += 1
        logos = [logo for logo in result.logos if logo.score >= MIN_LOGO_SCORE]
        right = [logo.brand == scene.brand and _is_there(logo, scene) for logo in logos]
        tally.found += any(right)
        tally.wrong += len(right) - sum(right)
        tally.another += sum(logo.brand != scene.brand for logo in logos)
    return tally


def _features(scene: Scene) -> Features:
    parameters = FeatureParameters()
    picture = Picture(scene.jpeg, scene.width, scene.height)
    grey = processing.prepare(picture, parameters)[sift.INPUT]
    return sift.detect(grey, parameters.max_features, parameters.contrast)


def _recognized(features: Features, scene: Scene, compared: Comparison) -> LogoResult:
    size = (scene.width, scene.height)
    seen = processing.looked_at(*size, FeatureParameters().max_side)
    # As they come out of the store.
    kept = processing.unpack(processing.pack(features, *seen), *seen)
    return matching.recognize(kept, compared, seen, size, MatchParameters())


def _is_there(logo: Logo, scene: Scene) -> bool:
    x = logo.x + logo.width / 2 - scene.middle[0]
    y = logo.y + logo.height / 2 - scene.middle[1]
    return bool(np.hypot(x, y) < scene.reach)


def _part(whole: gallery.Gallery, names: set[str]) -> gallery.Gallery:
    """The gallery of some brands, divided into lists as one of that size would be."""
    marks = []
    for mark, brand in enumerate(whole.brand_of):
        if whole.brands[brand] in names:
            rows = np.flatnonzero(whole.mark_of == mark)
            features = Features(whole.points[rows], whole.descriptors[rows])
            width, height = whole.sizes[mark]
            marks.append(Mark(whole.brands[brand], float(width), float(height), features))
    return gallery.build(marks, MatchParameters())


def _photo(name: str) -> NDArray[np.float32]:
    with Image.open(str(files("skimage") / "data" / name)) as image:
        zoom = LONG_SIDE / max(image.size)
        size = round(image.width * zoom), round(image.height * zoom)
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)


def _photos() -> Iterator[Scene]:
    for name in PHOTOS:
        yield _scene(_photo(name))


def _scene(
    pixels: NDArray[np.float32],
    brand: str = "",
    middle: tuple[float, float] = (0, 0),
    reach: float = 0,
) -> Scene:
    with BytesIO() as file:
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        height, width = pixels.shape[:2]
        return Scene(file.getvalue(), width, height, brand, middle, reach)


def _scenes(
    known: list[tuple[str, NDArray[np.uint8]]], count: int, card: bool, seed: int
) -> Iterator[Scene]:
    random = np.random.default_rng(seed)
    photos = [_photo(name) for name in PHOTOS]
    made = 0
    while made < count:
        brand, drawing = known[random.integers(len(known))]
        photo = photos[random.integers(len(photos))]
        if (scene := _placed(random, photo, brand, drawing, card)) is not None:
            made += 1
            yield scene


def _placed(
    random: np.random.Generator,
    photo: NDArray[np.float32],
    brand: str,
    drawing: NDArray[np.uint8],
    card: bool,
) -> Scene | None:
    """The photo with the logo in it; None when it would not be inside."""
    height, width = photo.shape[:2]
    zoom = random.uniform(0.2, 0.5) * min(width, height) / max(drawing.shape)
    size = max(1, round(drawing.shape[1] * zoom)), max(1, round(drawing.shape[0] * zoom))
    logo = np.asarray(Image.fromarray(drawing).resize(size, Image.Resampling.LANCZOS), np.float32)
    margin = round(random.uniform(0.1, 0.25) * max(size)) if card else 0
    label = np.pad(logo, ((margin, margin), (margin, margin), (0, 0)))
    if card:
        light = random.random() < 0.8
        paper = random.uniform(225, 255, 3) if light else random.uniform(10, 45, 3)
        alpha = label[..., 3:] / 255
        label[..., :3] = label[..., :3] * alpha + paper * (1 - alpha)
        label[..., 3] = 255
    rows, columns = label.shape[:2]
    square = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    angle = np.deg2rad(random.uniform(-15, 15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (square - square[2] / 2) @ turn.T
    corners += random.uniform(-0.04, 0.04, (4, 2)) * max(rows, columns)
    extent = np.abs(corners).max(axis=0)
    if (2 * extent >= [width, height]).any():
        return None
    middle = random.uniform(extent, np.array([width, height]) - extent)
    mapping = cv2.getPerspectiveTransform(square, (corners + middle).astype(np.float32))
    premultiplied = label.copy()
    premultiplied[..., :3] *= label[..., 3:] / 255
    laid = cv2.warpPerspective(premultiplied, mapping, (width, height), flags=cv2.INTER_LINEAR)
    pixels = photo * (1 - laid[..., 3:] / 255) + laid[..., :3]
    pixels = pixels * random.uniform(0.8, 1.1) + random.normal(0, 4, pixels.shape)
    return _scene(
        pixels.astype(np.float32),
        brand=brand,
        middle=(float(middle[0]), float(middle[1])),
        reach=0.3 * max(size),
    )


if __name__ == "__main__":
    main()
