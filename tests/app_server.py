"""The app with the stand-in behind it, running in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stand_in_app import StandIn


@contextmanager
def running(**settings) -> Iterator[str]:
    """Its address, without a slash at the end."""
    from app.__main__ import serve

    found, ended, started = [], threading.Event(), threading.Event()

    def ready(address):
        found.append(address.rstrip("/"))
        started.set()

    settings = {"load": StandIn, "ready": ready, "ended": ended} | settings
    server = threading.Thread(target=serve, args=(0,), kwargs=settings, daemon=True)
    server.start()
    try:
        assert started.wait(240)
        yield found[0]
    finally:
        ended.set()
        server.join(30)
