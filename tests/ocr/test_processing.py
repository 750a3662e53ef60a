"""From pictures to tensors, and back from a map to boxes, crops and their batches."""

from __future__ import annotations

from math import cos, radians, sin
from time import process_time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.errors import CorruptImage
from services.inference.picture import Picture
from services.ocr import boxes, crops, processing, tiles
from services.ocr.types import Parameters
from tests.ocr import reference
from tests.ocr.pictures import encoded, written

PARAMETERS = Parameters()


def rectangle(
    width: float, height: float, degrees: float, centre: tuple[float, float] = (160.0, 120.0)
) -> NDArray[np.float32]:
    """Corners, clockwise from the upper left one of the rectangle that lies level."""
    across = np.array([cos(radians(degrees)), sin(radians(degrees))]) * width / 2
    down = np.array([-sin(radians(degrees)), cos(radians(degrees))]) * height / 2
    middle = np.array(centre)
    return np.array(
        [middle - across - down, middle + across - down, middle + across + down,
         middle - across + down], np.float32
    )  # fmt: skip


def map_of(
    *quads: NDArray[np.float32], size: tuple[int, int] = (240, 320), probability: float = 0.9
) -> NDArray[np.float32]:
    """A detector's map in which these quadrilaterals are text."""
    heat = np.zeros(size, np.float32)
    for quad in quads:
        cv2.fillPoly(heat, [np.rint(quad).astype(np.int32)], (probability,))
    return heat


@pytest.mark.parametrize("degrees", [0, 7, 30, -20, 80, -75, 89])
def test_box_is_the_kernel_grown(degrees: float):
    """A region of the map becomes the rectangle around it, grown by area, ratio and perimeter."""
    kernel = rectangle(120, 20, degrees)
    (box,) = boxes.find_boxes(map_of(kernel), PARAMETERS)
    distance = 120 * 20 * PARAMETERS.unclip / (2 * (120 + 20))
    expected = reference.grown(kernel, distance)
    # Which corner is the first is another question: the nearest one is meant here.
    for corner in expected:
        assert np.abs(box - corner).max(axis=1).min() < 6


@pytest.mark.parametrize("size", [(100, 10), (37.5, 12.25), (8, 8), (4, 90)])
def test_growing_moves_every_edge_by_one_distance(size: tuple[float, float]):
    """The closed form gives the sides that moving each edge of the rectangle gives."""
    corners = rectangle(*size, degrees=0)
    distance = size[0] * size[1] * 1.6 / (2 * (size[0] + size[1]))
    moved = reference.grown(corners, distance)
    sides = (np.linalg.norm(moved[1] - moved[0]), np.linalg.norm(moved[3] - moved[0]))
    assert boxes.grown(size, 1.6) == pytest.approx(sides, rel=1e-5)


@pytest.mark.parametrize("degrees", range(-90, 181, 15))
def test_first_edge_is_the_most_level(degrees: int):
    """However OpenCV names sides and angle, corners go clockwise from the upper left one."""
    quad = boxes.corners((50.0, 50.0), (40.0, 10.0), degrees)
    along, down = quad[1] - quad[0], quad[3] - quad[0]
    assert along[0] >= abs(along[1]) - 1e-3
    assert along[0] * down[1] - along[1] * down[0] > 0
    (_, _), sides, _ = cv2.minAreaRect(quad)
    assert sorted(sides) == pytest.approx([10, 40], abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_mean_within_is_that_of_its_pixels(seed: int):
    """The mean probability of a box is that of the pixels in it, but for those on its edge."""
    random = np.random.default_rng(seed)
    heat = 1 - random.random((60, 80), np.float32) * np.float32(0.25)
    quad = rectangle(40, 16, float(random.uniform(-45, 45)), centre=(40.0, 30.0))
    mine = boxes.mean_within(heat, quad)
    assert mine == pytest.approx(reference.mean_within(heat, quad), abs=0.01)


def test_faint_and_tiny_regions_are_none():
    """Below the mean probability, and below a few pixels, there is no box."""
    strong = rectangle(60, 12, 0)
    faint = rectangle(60, 12, 0, centre=(160.0, 40.0))
    tiny = rectangle(2, 1, 0, centre=(20.0, 200.0))
    heat = np.maximum(map_of(strong, tiny), map_of(faint, probability=0.45))
    (box,) = boxes.find_boxes(heat, PARAMETERS)
    assert abs(box[:, 1].mean() - 120) < 2
    assert boxes.find_boxes(np.zeros((64, 64), np.float32), PARAMETERS).shape == (0, 4, 2)


def test_largest_boxes_are_found_first_and_no_more_than_allowed():
    """Of many regions the largest are kept, in order of their size."""
    regions = [
        rectangle(8 + 4 * column, 6, 0, centre=(40.0 + 60 * column, 12.0 + 16 * row))
        for column in range(5)
        for row in range(14)
    ]
    few = Parameters(max_lines=20)
    found = boxes.find_boxes(map_of(*regions), few)
    widths = (found[:, 1] - found[:, 0])[:, 0]
    assert len(found) == 20
    assert (np.diff(widths) <= 0.01).all()
    assert widths.min() > boxes.grown((18, 6), few.unclip)[0]


@pytest.mark.parametrize(
    ("size", "scales"),
    [
        ((500, 500), (1.28,)),
        ((700, 640), (1.0,)),
        ((1200, 1000), (704 / 1200, 1.0)),
        ((2480, 3508), (704 / 3508, (3_000_000 / (2480 * 3508)) ** 0.5)),
        ((8660, 5773), (704 / 8660, (3_000_000 / (8660 * 5773)) ** 0.5)),
        ((300, 400), (704 / 400, 2.0)),
        ((200, 200), (2.0,)),
        ((16, 16), (2.0,)),
        ((20_000, 40), (704 / 20_000, (3_000_000 / 800_000) ** 0.5)),
    ],
)
def test_scales_of_what_is_searched(size: tuple[int, int], scales: tuple[float, ...]):
    """Small pictures are enlarged, large ones searched at a number of pixels, and as a whole."""
    assert processing.scales(*size, PARAMETERS) == pytest.approx(scales, rel=1e-3)


@pytest.mark.parametrize("size", [(640, 480), (16, 16), (33, 700), (2500, 1800), (1200, 9)])
def test_views_show_the_whole_picture_at_their_scales(size: tuple[int, int]):
    """The sides of a view are multiples of 32, and a mark is where scale and margin say."""
    x, y = size[0] * 0.75, size[1] * 0.5
    picture = np.full((size[1], size[0], 3), 255, np.uint8)
    grid_x, grid_y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    near = np.hypot(grid_x - x, grid_y - y) < max(min(size) / 12, 2)
    picture[near] = (0, 0, 255)
    page = processing.open_page(Picture(encoded(Image.fromarray(picture)), *size), PARAMETERS)
    view = page.views[-1]
    tensor = processing.detector_input(view.pixels)[processing.INPUT]
    assert tensor.dtype == np.float32
    assert tensor.shape[:2] == (1, 3)
    assert tensor.shape[2] % 32 == tensor.shape[3] % 32 == 0
    assert tensor.min() >= -1
    assert tensor.max() <= 1
    # Blue comes first, so a blue mark is one in which the last plane is dark.
    rows, columns = np.nonzero(tensor[0, 2] < 0)
    place = np.array([columns.mean(), rows.mean()]) + 0.5
    assert (place - view.margin) / view.scale == pytest.approx([x, y], abs=1.0)


def test_large_jpeg_is_decoded_no_larger_than_it_is_read():
    """A picture of twelve megapixels lies in memory at twice the scale that is searched."""
    data = encoded(Image.new("RGB", (4000, 3000), "white"), "JPEG")
    page = processing.open_page(Picture(data, 4000, 3000), PARAMETERS)
    assert page.rgb.shape[:2] == (round(3000 * page.scale), round(4000 * page.scale))
    assert page.scale == pytest.approx(2 * page.views[-1].scale)
    assert page.rgb.shape[0] * page.rgb.shape[1] <= 4 * PARAMETERS.max_pixels * 1.01


@pytest.mark.parametrize("size", [(736, 736), (768, 32), (1440, 1088), (20_032, 96), (1632, 2304)])
def test_tiles_cover_a_picture_and_overlap(size: tuple[int, int]):
    """Tiles are of one size that the detector takes, cover everything, and overlap enough."""
    width, height = size
    places = tiles.tiles(width, height, PARAMETERS)
    covered = np.zeros((height, width), np.int64)
    for place in places:
        assert 0 <= place.left <= width - place.width
        assert 0 <= place.top <= height - place.height
        covered[place.top : place.top + place.height, place.left : place.left + place.width] += 1
    assert covered.min() == 1
    assert len({(place.width, place.height) for place in places}) == 1
    assert max(places[0][2:]) <= PARAMETERS.max_tile
    assert places[0].width % 32 == places[0].height % 32 == 0
    for starts, length in (
        (sorted({place.left for place in places}), places[0].width),
        (sorted({place.top for place in places}), places[0].height),
    ):
        steps = np.diff(starts)
        assert (length - steps >= PARAMETERS.overlap).all()


def test_stitched_map_has_each_tile_up_to_the_middle_of_what_overlaps():
    """Of what two tiles see, each one's half is in the map; all of it is from one of them."""
    places = [tiles.Tile(left, top, 64, 64) for top in (0, 32) for left in (0, 32)]
    maps = [np.full((64, 64), number / 4, np.float32) for number in range(1, 5)]
    whole = tiles.stitched(maps, places, 96, 96)
    for number, (row, column) in enumerate(((0, 0), (0, 48), (48, 0), (48, 48)), start=1):
        assert (whole[row : row + 48, column : column + 48] == np.float32(number / 4)).all()
    (alone,) = [np.random.default_rng(2).random((64, 96), np.float32)]
    assert (tiles.stitched([alone], [tiles.Tile(0, 0, 96, 64)], 96, 64) == alone).all()


def quads(*found: NDArray[np.float32]) -> boxes.Quads:
    return np.array(found, np.float32).reshape(-1, 4, 2)


TITLE = rectangle(300, 90, 0)
STROKES = [rectangle(40, 80, 0, centre=(40.0 + 60 * place, 120.0)) for place in range(4)]
ROWS = [rectangle(280, 9, 0, centre=(160.0, 80.0 + 13 * place)) for place in range(7)]


@pytest.mark.parametrize(
    ("whole", "parts", "kept"),
    [
        ([], [TITLE], [TITLE]),
        ([TITLE], [], [TITLE]),
        ([TITLE], [rectangle(290, 88, 1)], [rectangle(290, 88, 1)]),
        ([TITLE], STROKES, [TITLE]),
        ([TITLE], ROWS, ROWS),
        ([rectangle(280, 11, 0)], [rectangle(140, 9, 0, (90.0, 120.0))] * 2,
         [rectangle(140, 9, 0, (90.0, 120.0))] * 2),
        ([TITLE], [rectangle(100, 10, 0, (160.0, 300.0))],
         [TITLE, rectangle(100, 10, 0, (160.0, 300.0))]),
    ],
    ids=["parts", "whole", "both", "pieces of letters", "paragraph", "small line", "apart"],
)  # fmt: skip
def test_each_line_is_found_once(
    whole: list[NDArray[np.float32]],
    parts: list[NDArray[np.float32]],
    kept: list[NDArray[np.float32]],
):
    """Of what the whole picture and its parts show, the one that sees a line better is kept."""
    found = boxes.merged(quads(*whole), quads(*parts), tall=60)
    assert sorted(quad.tolist() for quad in found) == sorted(quad.tolist() for quad in kept)


def test_many_boxes_are_merged_in_time():
    """A thousand lines found twice are a thousand, without each being compared with every other."""
    rows = quads(
        *[
            rectangle(90, 12, 0, centre=(60.0 + 110 * (place % 25), 10.0 + 20 * (place // 25)))
            for place in range(1000)
        ]
    )
    started = process_time()
    found = boxes.merged(rows + np.float32(0.25), rows, tall=60)
    assert process_time() - started < 2
    assert sorted(quad.tolist() for quad in found) == sorted(quad.tolist() for quad in rows)


def test_damaged_picture_is_corrupt():
    """Bytes that end too soon are CorruptImage, although their header is whole."""
    data = encoded(written("cut off"))
    with pytest.raises(CorruptImage):
        processing.open_page(Picture(data[: len(data) // 2], 100, 100), PARAMETERS)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("degrees", [0, 12, -30])
def test_cut_line_is_level_from_left_to_right(turn: int, degrees: float):
    """Whatever way a line runs, its crop starts with its beginning and has its top above."""
    line = np.zeros((48, 240, 3), np.uint8)
    line[:24, :120] = (255, 0, 0)
    line[:24, 120:] = (0, 255, 0)
    line[24:, :120] = (0, 0, 255)
    line[24:, 120:] = (255, 255, 0)
    quad = rectangle(240, 48, degrees + 90 * turn, centre=(200.0, 200.0))
    matrix = cv2.getAffineTransform(
        np.array([[0, 0], [240, 0], [0, 48]], np.float32), quad[[0, 1, 3]]
    )
    page = np.asarray(cv2.warpAffine(line, matrix, (400, 400)), np.uint8)
    crop = crops.cut(page, quad, PARAMETERS)
    assert crop.shape == (48, 240, 3)
    for (y, x), colour in {
        (12, 40): (255, 0, 0),
        (12, 200): (0, 255, 0),
        (36, 40): (0, 0, 255),
        (36, 200): (255, 255, 0),
    }.items():
        assert np.abs(crop[y, x].astype(int) - colour).max() < 20
    assert np.array_equal(crops.upside_down(crop)[::-1, ::-1], crop)


@pytest.mark.parametrize(
    ("size", "first", "others"),
    [
        ((200, 30), 0, (2,)),
        ((30, 200), 1, (3, 0)),
        ((40, 40), 0, (2, 1, 3)),
        ((40, 60), 1, (3, 0)),
        ((60, 40), 0, (2,)),
    ],
)
def test_directions_that_a_box_may_be_read_in(
    size: tuple[int, int], first: int, others: tuple[int, ...]
):
    """Long boxes run along their length, tall ones may be a letter, square ones anything."""
    quad = rectangle(*size, degrees=0)
    assert crops.first_turn(quad, PARAMETERS) == first
    assert crops.other_turns(first, quad, PARAMETERS) == others


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (0, 0), (20_000, 10), (3, 3)])
def test_degenerate_boxes_are_cut_too(size: tuple[int, int]):
    """A box of no width, or a hundred times longer than what is read, gives a crop of bounds."""
    page = np.zeros((50, 50, 3), np.uint8)
    crop = crops.cut(page, rectangle(*size, degrees=0, centre=(25.0, 25.0)), PARAMETERS)
    assert crop.shape[0] == 48
    assert 1 <= crop.shape[1] <= PARAMETERS.widths[-1]


def test_batches_hold_every_line_once_and_are_no_wider_than_allowed():
    """Lines of one bucket are read together, up to a width; none is forgotten."""
    widths = [int(width) for width in np.random.default_rng(3).integers(1, 3201, 300)]
    together = crops.batches(widths, PARAMETERS)
    assert sorted(place for places in together for place in places) == list(range(300))
    for places in together:
        (bucket,) = {crops.bucket(widths[place], PARAMETERS) for place in places}
        assert bucket >= max(widths[place] for place in places)
        assert len(places) == 1 or bucket * len(places) <= PARAMETERS.max_batch_width


def test_stacked_lines_are_filled_up_with_grey():
    """A tensor holds each line at its left, as blue, green and red in [-1, 1], and zero beside."""
    lines = [np.full((48, width, 3), (255, 128, 0), np.uint8) for width in (50, 96)]
    tensor = crops.stacked(lines, 96)
    assert tensor.dtype == np.float32
    assert tensor.shape == (2, 3, 48, 96)
    assert tensor[0, :, 5, 5] == pytest.approx([-1, 0.004, 1], abs=0.001)
    assert not tensor[0, :, :, 50:].any()
    assert crops.classified(lines).shape == (2, 3, 48, 192)


def test_what_one_image_may_cost_is_bounded():
    """Boxes are read from the largest on until their widths are used up."""
    ten = quads(*[rectangle(470, 48, 0)] * 10)
    assert crops.affordable(ten, Parameters(max_reading=512 * 7 + 511)) == 7
    assert crops.affordable(ten, Parameters(max_lines=8)) == 8
    assert crops.affordable(ten, PARAMETERS) == 10
