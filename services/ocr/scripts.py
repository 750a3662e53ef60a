"""The scripts that the recognizer can write, as Unicode calls them: of its 18,708 characters 15,908
are Chinese, 550 Latin; Cyrillic, Arabic, Hebrew, Hangul and the scripts of India are not among
them."""

from __future__ import annotations

from typing import Final

SCRIPTS: Final[tuple[str, ...]] = ("Latin", "Greek", "Han", "Hiragana", "Katakana")
