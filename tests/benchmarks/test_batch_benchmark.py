"""The benchmark of batches: its micrographs, and its runs with the stand-in."""

from __future__ import annotations

import json
import sys

import pytest
from paths import ROOT

from lisa_micro.io import read_micrograph


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import batch as module

    yield module
    sys.modules.pop("batch", None)


def test_simulated_micrographs_have_their_pixel_size(benchmark, tmp_path):
    from lisa_micro.sim import simulate_scene

    benchmark.simulate(tmp_path / "images", 2)
    for k, path in enumerate(sorted((tmp_path / "images").iterdir())):
        micrograph = read_micrograph(path)
        assert micrograph.pixels.shape == (512, 512)
        assert micrograph.pixel_size_nm == pytest.approx(simulate_scene(seed=k, shape=(512, 512)).pixel_size_nm)


def test_a_run_with_the_stand_in_is_measured(benchmark, tmp_path):
    benchmark.link_items(tmp_path / "items", 5)
    settings = {
        "images": str(tmp_path / "items"), "folder": str(tmp_path / "out"), "engine": "serial", "workers": 1,
        "threads": 1, "stand_in": True, "instances": 4, "seconds": 0.0, "report": False,
    }  # fmt: skip

    class Pipe:
        def send(self, figures):
            self.figures = figures

    pipe = Pipe()
    benchmark.run_one(settings, pipe)
    assert (pipe.figures["done"], pipe.figures["failed"]) == (5, 0)
    assert set(pipe.figures["stages_s"]) >= {"Segmenting", "Collecting the tables"}
    assert json.dumps(pipe.figures)
