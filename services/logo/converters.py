"""Between the domain and the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from services.errors import InvalidArgument
from services.logo.types import Brand, LogoResult, Options
from services.names import is_name
from services.serving.dataplane import Outcome
from services.serving.responses import outcome_message
from visionmesh.logo.v1 import logo_pb2

_CORNERS: Final = 4


def options(request: logo_pb2.RecognizeRequest, known: frozenset[str]) -> Options:
    """What a request asks for. Raises InvalidArgument for a brand that is not `known`."""
    wanted = frozenset(request.brands)
    if unknown := wanted - known:
        raise InvalidArgument(
            f"brands: there is no {min(unknown)!r} among the {len(known)} that there are",
            field="brands",
        )
    return Options(request.min_score, wanted, request.max_results)


def recognize_response(
    outcomes: Sequence[Outcome],
    options: Options = Options(),  # noqa: B008 -- frozen
) -> logo_pb2.RecognizeResponse:
    """One message an outcome, in the same order; of each result what `options` leave of it."""

    def selected(encoded: bytes) -> logo_pb2.LogoResult:
        return select(logo_pb2.LogoResult.FromString(encoded), options)

    return logo_pb2.RecognizeResponse(
        outcomes=[
            outcome_message(logo_pb2.RecognizeOutcome, outcome, selected) for outcome in outcomes
        ]
    )


def encode_result(result: LogoResult) -> bytes:
    """The message that is answered without options, and the form in which a result is kept."""
    message = logo_pb2.LogoResult()
    for logo in result.logos:
        added = message.logos.add(brand=logo.brand, score=logo.score)
        box = added.box
        box.x, box.y, box.width, box.height = logo.x, logo.y, logo.width, logo.height
        for x, y in logo.corners:
            added.corners.add(x=x, y=y)
    return message.SerializeToString()


def check_result(encoded: bytes) -> None:
    """Raises ValueError for bytes that are no result of this model.

    No bytes at all are one: nothing was found. That none are missing, their envelope has shown.
    """
    try:
        logos = logo_pb2.LogoResult.FromString(encoded).logos
    except DecodeError as error:
        raise ValueError("a stored result is not a result") from error
    before = 1.0
    for logo in logos:
        if not is_name(logo.brand):
            raise ValueError(f"a stored brand is {logo.brand!r}")
        if not 0.0 <= logo.score <= before:
            raise ValueError(f"a stored score is {logo.score}")
        if min(logo.box.x, logo.box.y) < 0 or min(logo.box.width, logo.box.height) < 1:
            raise ValueError("a stored box is none")
        if len(logo.corners) != _CORNERS or any(min(one.x, one.y) < 0 for one in logo.corners):
            raise ValueError("stored corners are none")
        before = logo.score


def select(result: logo_pb2.LogoResult, options: Options) -> logo_pb2.LogoResult:
    """What `options` leave of a result."""
    if options == Options():
        return result
    found = [
        one
        for one in result.logos
        if one.score >= options.min_score and (not options.brands or one.brand in options.brands)
    ]
    return logo_pb2.LogoResult(logos=found[: options.max_results or None])


def brand_to_proto(brand: Brand) -> logo_pb2.Brand:
    message = logo_pb2.Brand(name=brand.name, built_in=brand.built_in)
    if brand.registered_at:
        message.registered_at.FromDatetime(brand.registered_at)
    return message
