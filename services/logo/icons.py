"""The built-in brands: the logos package's icons, drawn. Needed to prepare a gallery, not to serve.

`icons.json` is Iconify's format (https://iconify.design/docs/types/iconify-json.html): SVG bodies
by name, with their sizes. The only module that knows Skia, which draws them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import skia
from numpy.typing import NDArray

from services.errors import ModelFileError
from services.logo.types import MarkParameters

_ICON: Final = "-icon"
_VARIANT: Final = re.compile(r"(-(icon|dark|alt|old|classic|2020|vertical))+$")


def brands_of(names: Iterable[str]) -> dict[str, str]:
    """The brand of each icon: `adobe` has the marks `adobe` and `adobe-icon`.

    `-icon` is always a mark of what stands before it; words like `-dark` and `-old` only where
    there is a brand without them, as they are parts of some brands' names too.
    """
    plain = {name: name.removesuffix(_ICON) for name in names}
    known = set(plain.values())
    bare = {name: _VARIANT.sub("", name) for name in plain}
    return {name: bare[name] if bare[name] in known else plain[name] for name in plain}


def drawings(
    data: bytes,
    parameters: MarkParameters = MarkParameters(),  # noqa: B008 -- frozen
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Brand and drawing of each visible icon: uint8 RGBA, the longer side `side` pixels.

    Hidden ones, which the package keeps for who knows their names, are left out, and what Skia
    draws nothing of. Raises ModelFileError for what is no such file, or no SVG.
    """
    try:
        package: dict[str, Any] = json.loads(data)
        icons = {
            name: icon for name, icon in package["icons"].items() if not icon.get("hidden", False)
        }
        default = {"left": 0, "top": 0, "width": 16, "height": 16}
        default |= {key: package[key] for key in default if key in package}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError("icons.json is not in Iconify's format") from error
    brands = brands_of(icons)
    for name, icon in icons.items():
        drawn = _draw(name, {**default, **icon}, parameters.side)
        if drawn[..., 3].any():
            yield brands[name], drawn


def _draw(name: str, icon: dict[str, Any], side: int) -> NDArray[np.uint8]:
    left, top, width, height = (icon[key] for key in ("left", "top", "width", "height"))
    # Skia knows references by their old name only.
    body = icon["body"].replace(" href=", " xlink:href=")
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{body}</svg>'
    )
    # Without a copy the stream would read what Python has freed.
    image = skia.SVGDOM.MakeFromStream(skia.MemoryStream(svg.encode(), True))
    if image is None:
        raise ModelFileError(f"the icon {name!r} is no SVG that can be drawn")
    zoom = side / max(width, height)
    columns, rows = max(1, round(width * zoom)), max(1, round(height * zoom))
    surface = skia.Surface(columns, rows)
    canvas = surface.getCanvas()
    canvas.clear(skia.ColorTRANSPARENT)
    canvas.scale(columns / width, rows / height)
    image.setContainerSize(skia.Size(width, height))
    image.render(canvas)
    drawn: NDArray[np.uint8] = surface.makeImageSnapshot().toarray(
        colorType=skia.ColorType.kRGBA_8888_ColorType
    )
    return drawn
