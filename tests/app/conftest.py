"""Fixtures of the app's tests. A module sets its ``LIMITS``, and the stand-in for the model, ``STAND_IN``."""

from __future__ import annotations

import pytest


@pytest.fixture
def queue(request):
    """A job queue with the module's stand-in."""
    from lisa_micro_app.jobs import JobQueue

    queue = JobQueue(waiting=4, seconds=30)
    queue.assistant = request.module.STAND_IN()
    yield queue
    queue.close()


@pytest.fixture
def sessions(request):
    """Sessions under the module's limits."""
    from lisa_micro_app.state.session import Sessions

    sessions = Sessions(request.module.LIMITS)
    yield sessions
    sessions.close()


@pytest.fixture
def user(sessions):
    """One user's session."""
    return sessions.get("one")
