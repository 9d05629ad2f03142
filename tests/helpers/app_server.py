"""Run the app with a stand-in for the model in this process."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from stand_in_app import StandIn


@contextmanager
def running(load: Callable[[], Any] = StandIn, **settings: Any) -> Iterator[str]:
    """Yield the address of the app, without a slash at the end. ``settings``: of ``AppSettings``."""
    from lisa_micro_app.serve import AppSettings, serve

    found, ended, started = [], threading.Event(), threading.Event()

    def ready(address):
        found.append(address.rstrip("/"))
        started.set()

    arguments = (AppSettings(**settings), load, ready, ended)
    server = threading.Thread(target=serve, args=arguments, daemon=True)
    server.start()
    try:
        assert started.wait(240)
        yield found[0]
    finally:
        ended.set()
        server.join(30)


@asynccontextmanager
async def language_model(url: str) -> AsyncIterator[tuple[Any, Any]]:
    """Yield an MCP client, and ``call(tool, **arguments)``, which returns whether the call failed and the response."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with (
        streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()

        async def call(name, **arguments):
            result = await session.call_tool(name, arguments)
            return result.isError, result.content[0].text

        yield session, call
