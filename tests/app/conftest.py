"""What tests of the app share. A module says which ``LIMITS`` hold and what stands in for the model, ``STAND_IN``."""

from __future__ import annotations

import pytest


@pytest.fixture
def desk(request):
    """A desk with the module's stand-in behind it."""
    from lisa_micro_app.jobs import Desk

    desk = Desk(waiting=4, seconds=30)
    desk.opened = request.module.STAND_IN()
    yield desk
    desk.close()


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
