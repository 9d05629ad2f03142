"""Simulated core-shell particles: their truth is exact, and all else stays as it is without them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from typer.testing import CliRunner

from lisa_micro.cli.commands import app
from lisa_micro.sim import simulate_scene
from lisa_micro.sim.raster import no_warp, rasterise
from lisa_micro.sim.shapes import disc
from lisa_micro.sim.shells import add_cores, shell_labels
from lisa_micro.types import InputError


def test_cores_and_shells_of_discs_have_the_areas_of_the_formula():
    bodies = [disc(60, 60, 40), disc(150, 60, 30), disc(150, 130, 4)]
    maps = rasterise(bodies, [], (180, 200), no_warp())
    cores = add_cores(bodies, maps, no_warp(), np.random.default_rng(3), 1.0)
    core, shell = shell_labels(cores, maps.labels, np.arange(3))
    assert core.max() == shell.max() == 2  # the small one is too small to show a shell
    share = cores.settings["core_share"]
    for k, radius in ((1, 40), (2, 30)):
        r = np.sqrt((core == k).sum() / np.pi)
        assert r == pytest.approx(share * radius, rel=0.15)
        assert (core == k).sum() + (shell == k).sum() == (maps.labels == k).sum()
        # concentric
        assert np.allclose(ndimage.center_of_mass(core == k), ndimage.center_of_mass(maps.labels == k), atol=0.5)


@pytest.mark.parametrize("modality", ["BF-TEM", "HAADF-STEM", "SEM"])
def test_geometry_and_other_truth_do_not_depend_on_the_shells(modality):
    plain = simulate_scene(9, (160, 160), modality, "agglomerate")
    coated = simulate_scene(9, (160, 160), modality, "agglomerate", core_shell=1.0)
    for name in ("particles", "necks", "pores", "agglomerates"):
        assert np.array_equal(getattr(plain, name), getattr(coated, name))
    assert plain.shells is None and coated.shells.max() > 0
    inside = coated.labels("shell") > 0
    assert not (inside & (coated.labels("core") > 0)).any() and (coated.particles[inside] > 0).all()


@pytest.mark.parametrize("modality", ["BF-TEM", "HAADF-STEM", "SEM"])
def test_a_shell_can_be_told_from_its_core(modality):
    differences = []
    for seed in range(12):
        scene = simulate_scene(seed, (200, 200), modality, "isolated", core_shell=1.0, annotate=False)
        for k in range(1, min(scene.shells.max(), scene.cores.max()) + 1):
            core, shell = scene.pixels[scene.cores == k], scene.pixels[scene.shells == k]
            if len(core) > 50 and len(shell) > 50:
                differences.append(abs(core.mean() - shell.mean()))
    assert np.median(differences) > 0.03


def test_a_share_of_them_and_none():
    none = simulate_scene(4, (160, 160), kind="isolated", core_shell=0.0)
    assert none.shells.max() == 0 and none.particles.max() > 0
    with pytest.raises(InputError, match="between 0 and 1"):
        simulate_scene(4, core_shell=1.5)
    with pytest.raises(InputError, match="shell"):
        simulate_scene(4, (64, 64)).labels("shell")


def test_the_command_writes_their_labels(tmp_path):
    options = ["--kind", "isolated", "--size", "128", "--core-shell", "1", "--seed", "5", "--out"]
    assert CliRunner().invoke(app, ["simulate", *options, str(tmp_path / "a")]).exit_code == 0
    shells, cores = (tifffile.imread(tmp_path / "a" / f"{name}.tif") for name in ("shells", "cores"))
    assert shells.max() > 0 and not ((shells > 0) & (cores > 0)).any()
    wrong = CliRunner().invoke(app, ["simulate", "--core-shell", "1", "--out", str(tmp_path / "b")])
    assert wrong.exit_code != 0
