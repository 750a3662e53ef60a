"""The model on its real weights: what is written, which way round, and bad input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image, ImageOps

from models import registry
from services.errors import CorruptImage
from services.inference.engine import EngineOutputError, Tensors, TensorSpec
from services.inference.fake import FakeEngine
from services.inference.onnx import OnnxEngine
from services.inference.picture import Picture
from services.media.formats import MEDIA_TYPES
from services.ocr import boxes, decoding, processing
from services.ocr.model import CLASSIFIER, DETECTOR, RECOGNIZER, OcrModel, warm_up
from services.ocr.reading import FLIPPED
from services.ocr.types import Line, OcrResult, Parameters
from tests.detection.pictures import photo
from tests.ocr.pictures import columns, encoded, written

FILES = (DETECTOR, CLASSIFIER, RECOGNIZER)
WEIGHTS = {name: registry.find(name).sha256 for name in FILES}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def sign() -> Image.Image:
    return written("NO PARKING", "Call 0176 555 1234")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines() -> AsyncIterator[Mapping[str, OnnxEngine]]:
    made = {name: OnnxEngine(registry.path(name), precision="fp32") for name in FILES}
    for engine in made.values():
        await engine.load()
    yield made
    for engine in made.values():
        await engine.close()


@pytest.fixture(scope="module")
def model(engines: Mapping[str, OnnxEngine]) -> OcrModel:
    return OcrModel(engines, WEIGHTS)


async def look(model: OcrModel, image: Image.Image) -> OcrResult:
    return await model.predict(Picture(encoded(image), *image.size))


def texts(result: OcrResult, min_score: float = 0.8) -> list[str]:
    return [line.text for line in result.lines if line.score >= min_score]


def place(line: Line) -> tuple[float, float]:
    return (
        sum(x for x, _ in line.corners) / 4,
        sum(y for _, y in line.corners) / 4,
    )


@pytest.mark.parametrize("size", [12, 16, 24, 48, 90])
async def test_text_is_read_exactly(model: OcrModel, size: int):
    """Letters, digits, accents and signs are read as they are written, in every common size."""
    lines = ["Pack my box (soon)", "Invoice 0815: 1,299.50", "info@example.org"]
    assert texts(await look(model, written(*lines, size=size))) == lines


@pytest.mark.parametrize("quarters", range(4))
async def test_text_is_read_whichever_way_it_runs(
    model: OcrModel, sign: Image.Image, quarters: int
):
    """Turned by any quarter, lines are the same, in the same order, and begin where they begin."""
    upright = await look(model, sign)
    result = await look(model, sign.rotate(-90 * quarters, expand=True))
    assert texts(result) == ["NO PARKING", "Call 0176 555 1234"]
    for line, turned in zip(upright.lines, result.lines, strict=True):
        corner = line.corners[0]
        for step in range(quarters):
            # What is `y` below the upper border is that far from the right one after a turn.
            side = sign.height if step % 2 == 0 else sign.width
            corner = (side - corner[1], corner[0])
        assert turned.corners[0] == pytest.approx(corner, abs=12)


async def test_slanted_text_is_read(model: OcrModel):
    """Lines that are no quarter off are read along their own direction."""
    image = written("SALE ENDS TODAY", size=40).rotate(
        25, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC
    )
    (line,) = (await look(model, image)).lines
    assert line.text == "SALE ENDS TODAY"
    (left, top), (right, end), *_ = line.corners
    assert (end - top) / (right - left) == pytest.approx(np.tan(np.radians(-25)), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_places_are_pixels_of_the_upright_original(
    model: OcrModel, sign: Image.Image, orientation: int
):
    """However a camera stored it, a sign is read upright and placed in the upright image."""
    stored = {
        1: sign,
        2: ImageOps.mirror(sign),
        3: sign.rotate(180),
        4: ImageOps.flip(sign),
        5: ImageOps.mirror(sign).rotate(90, expand=True),
        6: sign.rotate(90, expand=True),
        7: ImageOps.mirror(sign).rotate(-90, expand=True),
        8: sign.rotate(-90, expand=True),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Picture(encoded(stored, "JPEG", quality=95, exif=exif), *sign.size)
    result = await model.predict(picture)
    assert texts(result) == ["NO PARKING", "Call 0176 555 1234"]
    expected = (await look(model, sign)).lines
    for line, upright in zip(result.lines, expected, strict=True):
        assert place(line) == pytest.approx(place(upright), abs=4)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_every_format_is_read(model: OcrModel, sign: Image.Image, media_type: str):
    """The original of any format that is taken in is read."""
    form = media_type.removeprefix("image/").upper()
    picture = Picture(encoded(sign, form), *sign.size)
    assert texts(await model.predict(picture)) == ["NO PARKING", "Call 0176 555 1234"]


async def test_small_print_of_a_large_page_is_read(model: OcrModel):
    """Six points on A4 at 300 dots an inch: read from the original, and placed in it."""
    page = Image.new("RGB", (2480, 3508), "white")
    page.paste(written("General terms and conditions", size=25), (1400, 3300))
    (line,) = (await look(model, page)).lines
    assert line.text == "General terms and conditions"
    assert place(line) == pytest.approx((1400 + 25 + 165, 3300 + 30), abs=20)


@pytest.mark.parametrize("size", [60, 300, 700])
async def test_large_letters_of_a_large_picture_are_read_once(model: OcrModel, size: int):
    """Letters of any size, up to those that no tile holds, are one line and no pieces."""
    page = Image.new("RGB", (3000, 2000), "white")
    page.paste(written("SALE", size=size), (200, 300))
    assert texts(await look(model, page)) == ["SALE"]


async def test_text_over_a_photo_is_read(model: OcrModel):
    """Words on a photo are read, and nothing beside them."""
    image = written("FOR SALE", size=44, image=photo("cat"), ink="white")
    assert texts(await look(model, image)) == ["FOR SALE"]


async def test_columns_are_read_one_after_the_other(model: OcrModel):
    """Running text in two columns is read down the first one, then the second."""
    left = ["It is a truth universally", "acknowledged, that a single", "man in possession of"]
    right = ["However little known the", "feelings or views of such a", "man may be on his first"]
    assert texts(await look(model, columns(left, right))) == [*left, *right]


@pytest.mark.parametrize("name", ["cat", "astronaut"])
async def test_photos_without_text_say_nothing_for_certain(model: OcrModel, name: str):
    """The photo of a cat says nothing; on the astronaut's suit there is something small."""
    found = texts(await look(model, photo(name)), 0.9)
    assert found == [] if name == "cat" else all(len(text) < 8 for text in found)


@pytest.mark.parametrize(
    "size", [(16, 16), (1, 1), (1, 20_000), (20_000, 1), (6, 6), (20_000, 8)], ids=str
)
async def test_pictures_without_text_have_none(model: OcrModel, size: tuple[int, int]):
    """Empty pictures of any size, down to one pixel, give no lines."""
    result = await look(model, Image.new("RGB", size, "red"))
    assert result == OcrResult(())
    model.check(model.encode(result))


async def test_word_in_sixteen_pixels_is_read(model: OcrModel):
    """An image that is hardly higher than its letters is read."""
    image = written("Hello", size=14)
    image = image.crop((8, 8, image.width - 8, 24))
    assert image.height == 16
    assert texts(await look(model, image)) == ["Hello"]


async def test_tall_narrow_strip_is_read(model: OcrModel):
    """A line that runs down a long strip is read."""
    strip = Image.new("RGB", (40, 3000), "white")
    # Beside its letters the drawn line has more room than the strip.
    strip.paste(written("EMERGENCY EXIT", size=24).rotate(-90, expand=True), (-11, 1400))
    assert texts(await look(model, strip)) == ["EMERGENCY EXIT"]


async def test_page_of_too_many_lines_has_its_largest(engines: Mapping[str, OnnxEngine]):
    """Of more lines than one image may have read, the longest are there, in reading order."""
    lines = [f"row {row} " + "of some words " * (1 + row % 2) for row in range(12)]
    bounded = OcrModel(engines, WEIGHTS, Parameters(max_lines=6))
    found = texts(await look(bounded, written(*lines, size=20)))
    assert found == [line.strip() for line in lines[1::2]]


async def test_bytes_that_are_no_image_are_corrupt(model: OcrModel, sign: Image.Image):
    """An original that cannot be decoded is CorruptImage, and the model goes on."""
    with pytest.raises(CorruptImage):
        await model.predict(Picture(encoded(sign)[:300], *sign.size))
    assert texts(await look(model, sign)) == ["NO PARKING", "Call 0176 555 1234"]


async def test_pictures_side_by_side_do_not_mix(engines: Mapping[str, OnnxEngine]):
    """Several pictures at once are each read as alone."""
    model = OcrModel(engines, WEIGHTS, concurrency=4)
    pages = [written(f"Page number {page}", "and more") for page in range(6)]
    results = await asyncio.gather(*(look(model, page) for page in pages))
    assert [texts(result) for result in results] == [
        [f"Page number {page}", "and more"] for page in range(6)
    ]


async def test_warm_up_has_the_names_and_types_of_the_engines(engines: Mapping[str, OnnxEngine]):
    """Each engine is warmed up with what it takes, and answers what is read of it."""
    few = Parameters(widths=(96, 320))
    for name, output in (
        (DETECTOR, boxes.OUTPUT),
        (CLASSIFIER, FLIPPED),
        (RECOGNIZER, decoding.OUTPUT),
    ):
        for tensors in warm_up(few)[name]:
            assert list(await engines[name].infer(tensors)) == [output]


async def test_alphabet_fits_the_recognizer(engines: Mapping[str, OnnxEngine]):
    """There is one character for each class, and every letter of the scripts that are named."""
    characters = decoding.alphabet(engines[RECOGNIZER].metadata[decoding.CHARACTERS])
    assert engines[RECOGNIZER].outputs[0].shape[-1] == len(characters) == 18_710
    assert {"A", "ß", "ω", "漢", "ひ", "カ", " "} < set(characters)
    assert "Ж" not in characters


def fake_engines(nan: str) -> dict[str, FakeEngine]:
    """Engines that find, class and read one line; what one of them answers is no number."""

    def heat(tensors: Tensors) -> Tensors:
        found = np.zeros((1, 1, *tensors[processing.INPUT].shape[2:]), np.float32)
        found[..., 40:80, 40:200] = 0.9
        return {boxes.OUTPUT: found}

    answers = {
        DETECTOR: heat,
        CLASSIFIER: lambda tensors: {FLIPPED: np.array([[1, 0]], np.float32)},
        RECOGNIZER: lambda tensors: {decoding.OUTPUT: np.full((1, 10, 3), 0.3, np.float32)},
    }
    spec = TensorSpec(processing.INPUT, np.dtype(np.float32), (None, 3, None, None))
    return {
        name: FakeEngine(
            (spec,),
            (),
            lambda tensors, name=name, answer=answer: {  # type: ignore[misc]
                key: value * np.nan if name == nan else value
                for key, value in answer(tensors).items()
            },
            metadata={decoding.CHARACTERS: "a"},
        )
        for name, answer in answers.items()
    }


@pytest.mark.parametrize("nan", FILES)
async def test_nan_is_no_result(nan: str, sign: Image.Image):
    """Whichever engine's outputs are not finite, there is an error and never a result."""
    engines = fake_engines(nan)
    for engine in engines.values():
        await engine.load()
    with pytest.raises(EngineOutputError):
        await look(OcrModel(engines, WEIGHTS), sign)
