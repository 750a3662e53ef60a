"""From the recognizer's output to texts: against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from services.ocr import decoding
from tests.ocr import reference

ALPHABET = decoding.alphabet("a\nb\nc")


def columns(*classes: int, sure: float = 0.9, spaces: tuple[int, ...] = ()) -> np.ndarray:
    """One line whose columns are these classes; in those of `spaces` a space is likely too."""
    line = np.full((1, len(classes), 5), (1 - sure) / 4, np.float32)
    for place, one in enumerate(classes):
        line[0, place, one] = sure
    for place in spaces:
        line[0, place, 4] = 0.3
    return line


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ((), ""),
        ((0, 0, 0), ""),
        ((1, 2, 3), "abc"),
        ((1, 1, 1), "a"),
        ((1, 0, 1), "aa"),
        ((0, 1, 1, 0, 0, 2, 2, 0), "ab"),
        ((1, 4, 4, 2), "a b"),
        ((1, 4, 0, 4, 2), "a b"),
        ((4, 1, 4), "a"),
    ],
)
def test_repetitions_count_once_and_blanks_not_at_all(classes: tuple[int, ...], text: str):
    """A class that goes on is one character, one after a blank another, spaces are between."""
    ((found, score),) = decoding.decode(columns(*classes), ALPHABET, 0.1)
    assert found == text
    assert score == pytest.approx(0.9 if text else 0.0)


def test_likely_space_between_characters_is_one():
    """Where a space is likely but a blank likelier, there is one, but not at either end."""
    line = columns(0, 1, 0, 0, 2, 0, spaces=(0, 2, 3, 5))
    assert decoding.decode(line, ALPHABET, 0.1)[0][0] == "a b"
    assert decoding.decode(line, ALPHABET, 0.4)[0][0] == "ab"


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_the_reference(seed: int):
    """Texts and scores are what the slow reference reads."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (6, 40, 5))
    logits[:, :, 0] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    mine = decoding.decode(probabilities.astype(np.float32), ALPHABET, 0.1)
    expected = reference.decode(probabilities.astype(np.float32), ALPHABET, 0.1)
    assert [text for text, _ in mine] == [text for text, _ in expected]
    assert [score for _, score in mine] == pytest.approx([score for _, score in expected])
