"""`python -m bench.recognition.photos`: all four models beside what a person sees.

Through a whole mesh and REST, with what an answer contains when nobody says otherwise.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer

from bench.photos import upload
from bench.recognition.made import made
from bench.recognition.pictures import Picture, photos
from bench.report import console, table
from mesh.launcher import running_mesh

KINDS: Final = ("objects", "text", "logos")

Json = dict[str, Any]


@dataclass
class Tally:
    """Of one kind: how much was found, missed, and found without being there."""

    found: int = 0
    missed: int = 0
    invented: int = 0


@dataclass(frozen=True)
class Comparison:
    """One kind of thing in one picture."""

    found: tuple[str, ...]
    missed: tuple[str, ...]
    invented: tuple[str, ...]

    def __str__(self) -> str:
        parts = [
            *self.found,
            *(f"[yellow]missed: {name}[/]" for name in self.missed),
            *(f"[red]not there: {name}[/]" for name in self.invented),
        ]
        return "\n".join(parts)


@dataclass
class Report:
    """What all pictures gave."""

    tallies: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    rows: list[list[str]] = field(default_factory=list)

    def add(self, picture: Picture, answers: Json) -> None:
        """Compare one picture's answers with what a person sees."""
        seen = {
            "objects": [one["label"] for one in answers["detection"]["detections"]],
            "text": [line["text"] for line in answers["ocr"]["lines"]],
            "logos": [logo["brand"] for logo in answers["logo"]["logos"]],
        }
        # A kind of thing or a brand counts once, a line as often as it is there.
        seen["objects"], seen["logos"] = sorted({*seen["objects"]}), sorted({*seen["logos"]})
        compared = {
            "objects": compare(picture.objects, seen["objects"]),
            "text": compare(picture.text, seen["text"], picture.faint),
            "logos": compare(picture.logos, seen["logos"]),
        }
        for kind, comparison in compared.items():
            tally = self.tallies[kind]
            tally.found += len(comparison.found)
            tally.missed += len(comparison.missed)
            tally.invented += len(comparison.invented)
        score, verdict = answers["nsfw"]["score"], answers["moderation"]
        codes = " ".join(reason["code"] for reason in verdict["rejectionReasons"])
        self.rows.append(
            [
                picture.name,
                *(str(compared[kind]) for kind in KINDS),
                f"{score:.3f}",
                f"{verdict['decision'].lower()} {codes}".strip(),
            ]
        )


def compare(
    expected: Iterable[str], seen: Iterable[str], tolerated: Iterable[str] = ()
) -> Comparison:
    """What was found of `expected`; what is `tolerated` is neither missed nor wrong.

    To the letter, but for blanks.
    """
    wanted, got = Counter(map(_plain, expected)), Counter(map(_plain, seen))
    extra = got - wanted - Counter(map(_plain, tolerated))
    return Comparison(
        tuple((wanted & got).elements()),
        tuple((wanted - got).elements()),
        tuple(extra.elements()),
    )


def _plain(text: str) -> str:
    return "".join(text.split())


async def report(pictures: list[Picture]) -> Report:
    """Ask a mesh of its own about every picture."""
    found = Report()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_mesh(Path(folder), log_level="warning") as mesh,
            aiohttp.ClientSession(mesh.edge_url, raise_for_status=True) as rest,
        ):
            digests = await upload(mesh.mesh_address, [picture.data for picture in pictures])
            for picture, digest in zip(pictures, digests, strict=True):
                answers: Json = {}
                for model in ("detection", "ocr", "logo", "nsfw"):
                    async with rest.get(f"/v1/images/{digest}/{model}") as answer:
                        answers[model] = (await answer.json())[model]
                async with rest.get(f"/v1/images/{digest}/moderation") as answer:
                    answers["moderation"] = await answer.json()
                found.add(picture, answers)
    return found


def show(found: Report) -> None:
    """Print what was found, picture by picture and in all."""
    table("pictures", ["picture", *KINDS, "nsfw", "verdict"], found.rows)
    table(
        "in all",
        ["", "found", "missed", "not there"],
        [
            [kind, str(tally.found), str(tally.missed), str(tally.invented)]
            for kind, tally in found.tallies.items()
        ],
    )


def main(
    annotated: Annotated[
        Path | None, typer.Option(help="A folder for the pictures, to be annotated and looked at.")
    ] = None,
) -> None:
    """Compare what the models see with what a person sees, in photos and in what was made."""
    for title, pictures in (("Photos", [*photos()]), ("Made for this", [*made()])):
        console.print(f"[bold]{title}[/]")
        show(asyncio.run(report(pictures)))
        if annotated:
            annotated.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                (annotated / Path(picture.name).with_suffix(".img")).write_bytes(picture.data)


if __name__ == "__main__":
    typer.run(main)
