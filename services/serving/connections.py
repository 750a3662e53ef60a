"""What an HTTP server does with its connections when its process ends."""

from __future__ import annotations

from aiohttp import hdrs, web

from services.serving.ending import Ending


def close_at_the_end(app: web.Application, ending: Ending) -> None:
    """From when the end begins, each answer says that it is its connection's last one.

    Who asked closes the connection then. A server that closes it by itself may do so while the next
    request is on its way.
    """

    async def prepare(_request: web.Request, response: web.StreamResponse) -> None:
        if ending.begun:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    app.on_response_prepare.append(prepare)
