"""The deadline of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.serving import deadline

seconds = st.floats(min_value=0.001, max_value=1_000)


def test_none_without_a_request():
    """Outside a request there is no deadline, and a call may take its own time."""
    assert deadline.remaining_s() is None
    assert deadline.for_callees_s(7.0) == 7.0


@given(outer=seconds, inner=seconds)
def test_only_shrinks(outer: float, inner: float):
    """An inner limit never gives more time than the outer one."""
    with deadline.limit(outer), deadline.limit(inner):
        remaining = deadline.remaining_s()
        assert remaining is not None
        assert remaining <= min(outer, inner)
    assert deadline.remaining_s() is None


@given(remaining=seconds, wanted=seconds)
def test_callees_get_less_than_is_left(remaining: float, wanted: float):
    """What is called gets less time than is left here, so that there is time to say so."""
    with deadline.limit(remaining):
        given_s = deadline.for_callees_s(wanted)
    assert 0 <= given_s <= wanted
    assert given_s <= max(0.0, remaining - deadline.MIN_RESERVE_S)


def test_over_is_zero():
    """A deadline that is over leaves nothing, and not a negative time."""
    with deadline.limit(-1.0):
        assert deadline.remaining_s() == 0.0
        assert deadline.for_callees_s(1.0) == 0.0


@pytest.mark.parametrize(("remaining", "kept"), [(0.1, 0.02), (2.0, 0.1), (15.0, 0.5), (60.0, 0.5)])
def test_reserve(remaining: float, kept: float):
    """A hop keeps five percent for itself, at least 20 ms and at most half a second."""
    assert deadline.reserve_s(remaining) == pytest.approx(kept)
