from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile
from served import Commands

collect_ignore_glob = ["*"] if sys.platform == "win32" else []


def commands_in(folder):
    tifffile.imwrite(folder / "film.tif", np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8))
    return Commands(folder)


@pytest.fixture
def commands(tmp_path):
    """Commands of which none is a server yet."""
    commands = commands_in(tmp_path)
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Commands with a server, which no test ends."""
    commands = commands_in(tmp_path_factory.mktemp("serving"))
    commands.serve()
    yield commands
    commands.close()
