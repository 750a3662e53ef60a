"""From the recognizer's output to texts.

Connectionist temporal classification (Graves et al. 2006, https://doi.org/10.1145/1143844.1143891),
decoded greedily: the most likely class of each column, repetitions once, blanks not at all.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

OUTPUT: Final = "fetch_name_0"

CHARACTERS: Final = "character"
"""Under which name the weight file lists what it can write."""

BLANK: Final = 0

SPACE: Final = " "


def alphabet(listed: str) -> tuple[str, ...]:
    """What each class of the output stands for: blank, the listed characters, and the space."""
    return ("", *listed.split("\n"), SPACE)


def decode(
    probabilities: NDArray[np.float32], characters: tuple[str, ...], min_space: float
) -> list[tuple[str, float]]:
    """Text and score of each line: float32 [n, columns, classes].

    Between two characters there is a space, too, where that is nowhere the most likely class but
    somewhere at least as likely as `min_space`: small print is read without many of its spaces
    otherwise. The score is the mean of the probabilities of the most likely characters, 0 where
    there are none.
    """
    classes = probabilities.argmax(axis=2)
    highest = np.take_along_axis(probabilities, classes[:, :, None], axis=2)[:, :, 0]
    spaces = probabilities[:, :, -1] >= min_space
    return [_line(*columns, characters) for columns in zip(classes, highest, spaces, strict=True)]


def _line(
    classes: NDArray[np.intp],
    highest: NDArray[np.float32],
    spaces: NDArray[np.bool_],
    characters: tuple[str, ...],
) -> tuple[str, float]:
    spoken = classes != BLANK
    spoken[1:] &= classes[1:] != classes[:-1]
    places = np.flatnonzero(spoken)
    if not places.size:
        return "", 0.0
    text: list[str] = []
    for place, following in zip(places, [*places[1:], places[-1]], strict=True):
        text.append(characters[classes[place]])
        between = classes[place:following] == BLANK
        if (spaces[place:following] & between).any():
            text.append(SPACE)
    # Spaces that meet are one.
    words = [word for word in "".join(text).split(SPACE) if word]
    return SPACE.join(words), float(highest[places].mean(dtype=np.float64))
