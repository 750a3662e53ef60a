"""What the facade measures: its requests, and which fields they ask for."""

from __future__ import annotations

import asyncio

from prometheus_client import generate_latest

from tests.rest.world import World
from tests.support.prometheus import labelled, samples, value

REQUESTS = "visionmesh_http_server_duration_seconds_count"
FIELDS = "visionmesh_rest_fields_total"
SENT = "visionmesh_rest_answer_bytes_total"
WHOLE = "visionmesh_rest_whole_answer_bytes_total"


async def test_requests_by_method_route_and_status(rest: World, jpeg: bytes):
    """Routes and not paths; questions for health are left out."""
    image = await rest.upload(jpeg)
    await rest.get(f"/v1/images/{image}/nsfw")
    await rest.get(f"/v1/images/{'0' * 64}/nsfw")
    await rest.get("/healthz")
    route = "/v1/images/{id}/nsfw"
    assert value(rest.registry, REQUESTS, method="GET", route=route, status="200") == 1
    assert value(rest.registry, REQUESTS, method="GET", route=route, status="404") == 1
    assert value(rest.registry, REQUESTS, method="POST", route="/v1/images", status="201") == 1
    assert "/healthz" not in labelled(text(rest), REQUESTS, "route")


async def test_a_flood_of_names_makes_no_labels(rest: World, jpeg: bytes):
    """Paths, methods, parameters and fields that nobody knows are one series each, or none."""
    image = await rest.upload(jpeg)
    for method in ("GET", "PROPFIND"):
        await rest.ask(method, "/flood", check=False)
    await rest.ask("GET", f"/v1/images/{image}/nsfw?fields=nothing", check=False)
    before = len(samples(text(rest)))
    await asyncio.gather(
        *(rest.ask("GET", f"/flood/{number}", check=False) for number in range(200)),
        *(rest.ask(method, "/flood", check=False) for method in ("MKCOL", "LOCK", "REPORT")),
        *(
            rest.ask("GET", f"/v1/images/{image}/nsfw?fields=flood{number}", check=False)
            for number in range(200)
        ),
    )
    assert len(samples(text(rest))) == before
    assert value(rest.registry, REQUESTS, method="other", route="other", status="404") == 4


async def test_fields_that_are_asked_for(rest: World, jpeg: bytes):
    """Each that is selected as a whole, by its path; and * for who selects nothing."""
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    for query in ("", "?fields=imageId,nsfw(score)", "?fields=nsfw/score", "?fields=nsfw"):
        assert (await rest.get(path + query)).status == 200
    asked = {
        field: value(rest.registry, FIELDS, schema="ImageNsfw", field=field)
        for field in labelled(text(rest), FIELDS, "field")
        if value(rest.registry, FIELDS, schema="ImageNsfw", field=field)
    }
    assert asked == {"*": 1, "imageId": 1, "nsfw/score": 2, "nsfw": 1}


async def test_what_a_selection_saves(rest: World, jpeg: bytes):
    """Bytes that were sent, and those of the same answers as wholes: 1 less their ratio is the
    over-fetch that was saved. Who has the answer already is sent none."""
    path = f"/v1/images/{await rest.upload(jpeg)}/nsfw"
    whole = await rest.get(path)
    part = await rest.get(f"{path}?fields=nsfw/score")
    again = await rest.get(path, if_none_match=whole.headers["ETag"])
    assert again.status == 304
    assert len(part.body) < len(whole.body)
    sent, wholes = (value(rest.registry, name, schema="ImageNsfw") for name in (SENT, WHOLE))
    assert sent == len(whole.body) + len(part.body)
    assert wholes == 2 * len(whole.body)


def text(rest: World) -> str:
    return generate_latest(rest.registry).decode()
