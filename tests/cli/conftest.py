from __future__ import annotations

import numpy as np
import pytest
import tifffile
from cli_calls import StandIn

import lisa_micro


@pytest.fixture
def assistant(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: stand_in, raising=False)
    return stand_in


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "film.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "nm"})
    return str(path)
