"""gql, a client that nobody here wrote, which checks documents against the schema it asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gql import Client
from gql.client import AsyncClientSession, ReconnectingAsyncClientSession
from gql.transport.aiohttp import AIOHTTPTransport


@asynccontextmanager
async def gql_session(
    url: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[AsyncClientSession | ReconnectingAsyncClientSession]:
    """A session with any endpoint that answers introspection."""
    transport = AIOHTTPTransport(url, headers=headers)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        yield session
