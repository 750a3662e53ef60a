"""What clients of the facades are shown when they do not say: the same in REST and in GraphQL."""

from __future__ import annotations

from typing import Final

MIN_SCORE: Final = 0.4
"""What an object scores at least (docs/recognition.md: why)."""

MIN_LOGO_SCORE: Final = 0.75
"""What a logo scores at least, for the same reason."""

MIN_LINE_SCORE: Final = 0.8
"""What a line of text scores at least, for the same reason."""

MAX_RESULTS: Final = 100
"""Objects, or logos, of one image."""
