"""`python -m bench.recognition.ocr_pages`: what OCR reads, what it misses, and what it makes up.

Photos are no part of this repository. Those of the figures in docs/recognition.md come from
`pip download --no-deps scikit-image==0.26.0 scikit-learn`, unpacked; those with writing on them
(`WRITTEN`) are left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from PIL import Image, ImageFont

from bench.recognition.legibility import FAINT_CONTRAST, MIN_CONTRAST
from bench.recognition.ocr_reader import Tally, ocr_model, read, said_in
from bench.recognition.pages import (
    COLOURS,
    LINES,
    Drawn,
    Font,
    Sheet,
    encoded,
    fonts,
    large_page,
    over_photo,
    page,
    textures,
)
from services.ocr.model import OcrModel
from services.ocr.types import Parameters

SIZES: Final = (10, 12, 14, 16, 20, 24, 32, 40, 60)
SIZES_OVER: Final = (16, 24, 36)
POINTS: Final = (4, 5, 6, 8, 10)
SCORES: Final = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
BOX_SCORES: Final = (0.4, 0.5, 0.6, 0.7)

CONTRASTS: Final = (FAINT_CONTRAST, MIN_CONTRAST)

WRITTEN: Final = {"logo", "motorcycle_left", "motorcycle_right", "page", "rocket", "text"}
"""Pictures of these packages on which there is something to read."""

FontFolders = Annotated[list[Path], typer.Option("--fonts", help="Folders of font files.")]
PhotoFolders = Annotated[list[Path], typer.Option("--photos", help="Folders of photos.")]
Only = Annotated[str, typer.Option("--only", help="Font files whose names have this in them.")]
Missed = Annotated[bool, typer.Option("--missed", help="Print each line that is not exact.")]

DEFAULT_FONTS: Final = [Path("/usr/share/fonts/truetype")]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


@app.command()
def pages(folders: FontFolders = DEFAULT_FONTS, only: Only = "", missed: Missed = False) -> None:
    """Lines on plain pages, by font and size."""
    _run(lambda: _pages(_named(folders, only), missed))


@app.command()
def colours(folders: FontFolders = DEFAULT_FONTS, only: Only = "") -> None:
    """Lines on pages of other colours, by colour."""
    _run(lambda: _colours(_named(folders, only)))


@app.command()
def large(folders: FontFolders = DEFAULT_FONTS, only: Only = "") -> None:
    """Small print on A4 at 300 dots an inch: a full page, and one line alone."""
    _run(lambda: _large(_named(folders, only)))


@app.command()
def turned(folders: FontFolders = DEFAULT_FONTS, only: Only = "") -> None:
    """Lines on pages that are turned by quarters, and in which order."""
    _run(lambda: _turned(_named(folders, only)))


@app.command()
def photos(
    pictures: PhotoFolders,
    folders: FontFolders = DEFAULT_FONTS,
    only: Only = "",
    missed: Missed = False,
) -> None:
    """Lines over photos, by size, and by how much their letters stand out."""
    _run(lambda: _photos(pictures, _named(folders, only), missed))


@app.command()
def junk(pictures: PhotoFolders) -> None:
    """Lines that are found where there are none, by both thresholds."""
    _run(lambda: _junk(pictures))


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def _named(folders: Sequence[Path], only: str) -> list[Path]:
    found = [path for path in fonts(folders) if any(word in path.stem for word in only.split(","))]
    if not found:
        raise typer.BadParameter("no font files there")
    return found


def _photos_in(folders: Sequence[Path]) -> Iterator[tuple[str, Image.Image]]:
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix in (".png", ".jpg") and path.stem not in WRITTEN:
                yield path.stem, Image.open(path).convert("RGB")


async def _readings(model: OcrModel, sheet: Sheet, missed: bool) -> list[tuple[Drawn, str]]:
    """Each line that was drawn, and what was read there."""
    result = await read(model, encoded(sheet.image))
    readings = [(drawn, said_in(drawn, result.lines)) for drawn in sheet.lines]
    for drawn, said in readings:
        if missed and said != drawn.text:
            print(f"    {drawn.text!r} ({drawn.contrast:.1f}:1) is read as {said!r}")
    return readings


async def _tally(model: OcrModel, sheet: Sheet, missed: bool = False) -> Tally:
    tally = Tally()
    for drawn, said in await _readings(model, sheet, missed):
        tally.add(drawn, said)
    return tally


async def _pages(paths: Sequence[Path], missed: bool) -> None:
    totals = {size: Tally() for size in SIZES}
    started = time.process_time()
    async with ocr_model() as model:
        for path in paths:
            row = []
            for size in SIZES:
                tally = await _tally(model, page(ImageFont.truetype(path, size)), missed)
                totals[size] += tally
                row.append(f"{tally.exact}/{tally.lines}")
            print(path.stem, *row, flush=True)
    for size, total in totals.items():
        print(size, "px:", total)
    count = len(paths) * len(SIZES)
    print(f"{(time.process_time() - started) / count:.2f} s of CPU a page of {len(LINES)} lines")


async def _colours(paths: Sequence[Path]) -> None:
    async with ocr_model() as model:
        for name in COLOURS:
            total = Tally()
            for path in paths:
                for size in (16, 32):
                    total += await _tally(model, page(ImageFont.truetype(path, size), LINES, name))
            print(f"{name}: {total}", flush=True)


async def _large(paths: Sequence[Path]) -> None:
    async with ocr_model() as model:
        for points in POINTS:
            full, alone = Tally(), Tally()
            for path in paths:
                font = ImageFont.truetype(path, round(points * 300 / 72))
                full += await _tally(model, large_page(font, 12))
                alone += await _tally(model, large_page(font, 1))
            print(f"{points} pt: {full}; alone: {alone}", flush=True)


async def _turned(paths: Sequence[Path]) -> None:
    short = ("No", "Exit 7", "pod", "STOP", "50%", "OK", "Lost & found")
    async with ocr_model() as model:
        for lines in (LINES, short):
            for quarters in range(4):
                exact = ordered = 0
                for path in paths:
                    image = page(ImageFont.truetype(path, 24), lines).image
                    result = await read(model, encoded(image.rotate(-90 * quarters, expand=True)))
                    texts = [line.text for line in result.lines]
                    exact += sum(line in texts for line in lines)
                    ordered += [one for one in texts if one in lines] == [
                        one for one in lines if one in texts
                    ]
                print(
                    f"{len(lines)} lines, turned by {quarters} quarters:"
                    f" {exact}/{len(lines) * len(paths)} exact,"
                    f" {ordered}/{len(paths)} pages in order",
                    flush=True,
                )


async def _photos(folders: Sequence[Path], paths: Sequence[Path], missed: bool) -> None:
    kinds = {"with an edge": Tally(), "plain": Tally()}
    legible = {kind: {least: Tally() for least in CONTRASTS} for kind in kinds}
    async with ocr_model() as model:
        for size in SIZES_OVER:
            for kind in kinds:
                total = Tally()
                for number, (name, photo) in enumerate(_photos_in(folders)):
                    if min(photo.size) < 250:
                        continue
                    font: Font = ImageFont.truetype(paths[number % len(paths)], size)
                    first = number % (len(LINES) - 5)
                    lines = LINES[first : first + 5]
                    sheet = over_photo(photo, font, lines, number, kind != "plain")
                    tally = Tally()
                    for drawn, said in await _readings(model, sheet, missed):
                        tally.add(drawn, said)
                        for least, some in legible[kind].items():
                            if drawn.contrast >= least:
                                some.add(drawn, said)
                    total += tally
                    if missed and tally.exact < tally.lines:
                        print(f"  {size} px, {kind}, on {name}: {tally}")
                print(f"{size} px, {kind}: {total}", flush=True)
                kinds[kind] += total
    for kind, total in kinds.items():
        print(f"all {kind}: {total}")
        for least, some in legible[kind].items():
            print(f"  from {least}:1 on: {some}")


async def _junk(folders: Sequence[Path]) -> None:
    pictures = [*_photos_in(folders), *textures()]
    print(f"{len(pictures)} pictures")
    for box_score in BOX_SCORES:
        parameters = replace(Parameters(), min_box_score=box_score, min_score=0.0)
        scores: list[float] = []
        async with ocr_model(parameters) as model:
            for name, picture in pictures:
                for line in (await read(model, encoded(picture))).lines:
                    scores.append(line.score)
                    print(f"    {box_score} {name}: {line.text!r} {line.score}")
        counts = [f"{sum(found >= score for found in scores)} from {score}" for score in SCORES]
        print(f"box score {box_score}:", *counts, flush=True)


if __name__ == "__main__":
    app()
