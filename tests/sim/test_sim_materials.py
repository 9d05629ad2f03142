"""Simulated materials: exact truth of every kind, the same scene for the same seed, noise as asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from lisa_micro.sim import (
    MATERIAL_KINDS,
    MODALITIES,
    contact_sheet,
    simulate_material,
    simulate_rod_video,
    simulate_scene,
)
from lisa_micro.sim.materials import CONCEPTS
from lisa_micro.sim.materials.cells import power_cells, spread_seeds, warped_grid
from lisa_micro.sim.materials.cracks import crack_field
from lisa_micro.sim.materials.discs import paint_discs
from lisa_micro.sim.materials.painters.coated import Coated, rasterise_coated
from lisa_micro.sim.materials.painters.polycrystal import boundary_lines
from lisa_micro.sim.materials.strands import Fibre, rasterise_fibres
from lisa_micro.sim.raster import no_warp
from lisa_micro.sim.shapes import disc
from lisa_micro.types import InputError

SHAPE = (160, 192)
MAIN = {
    "fibres": "fibre",
    "core_shell": "shell",
    "holes": "hole",
    "dense_matrix": "pore",
    "supported": "particle",
    "small_dense": "particle",
    "overlapping_facets": "particle",
    "polycrystal": "grain",
    "precipitates": "precipitate",
    "layers": "layer",
    "dislocation_loops": "dislocation_loop",
    "powder": "satellite",
    "agglomerates": "agglomerate",
    "rock": "grain",
}


def same_labels(one, other) -> bool:
    return one.labels.keys() == other.labels.keys() and all(
        np.array_equal(one.labels[c], other.labels[c]) for c in one.labels
    )


def test_every_kind_is_tested_and_every_concept_but_neck_occurs():
    assert MAIN.keys() == MATERIAL_KINDS.keys()
    seen = {
        c
        for kind in MATERIAL_KINDS
        for seed in range(8)
        for c, labels in simulate_material(seed, kind, SHAPE).labels.items()
        if labels.any()
    }
    assert seen == set(CONCEPTS) - {"neck"}  # necks are what simulate_scene makes


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
def test_the_same_seed_gives_the_same_scene(kind):
    one, other = (simulate_material(5, kind, SHAPE) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels) and same_labels(one, other) and one.params == other.params
    assert not np.array_equal(one.pixels, simulate_material(6, kind, SHAPE).pixels)


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
def test_labels_are_well_formed(kind):
    found = 0
    for seed in range(6):
        scene = simulate_material(seed, kind, SHAPE)
        assert scene.kind == kind and scene.modality in MODALITIES and scene.pixel_size_nm > 0
        assert scene.pixels.shape == SHAPE and scene.pixels.dtype == np.float32
        assert scene.pixels.min() >= 0 and scene.pixels.max() <= 1 and scene.pixels.std() > 0.01
        assert set(scene.labels) <= set(CONCEPTS) and "annotation" in scene.labels
        for concept, labels in scene.labels.items():
            assert labels.shape == SHAPE and labels.dtype == np.int32, concept
            assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1)), concept
        found += bool(scene.labels[MAIN[kind]].any())
    assert found >= 2


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 200)])
def test_small_images_can_be_made_of_every_kind(kind, shape):
    for seed in range(3):
        scene = simulate_material(seed, kind, shape)
        assert scene.pixels.shape == shape and np.isfinite(scene.pixels).all()


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
def test_truth_depends_on_neither_noise_nor_modality(kind):
    quiet = simulate_material(3, kind, SHAPE, noise=math.inf, modality="SEM", annotate=False)
    noisy = simulate_material(3, kind, SHAPE, noise=0.5, modality="SEM", annotate=False)
    assert same_labels(quiet, noisy) and not np.array_equal(quiet.pixels, noisy.pixels)
    for modality in ("BF-TEM", "HAADF-STEM"):
        other = simulate_material(3, kind, SHAPE, noise=5, modality=modality, annotate=False)
        main = MAIN[kind]
        assert other.modality == modality and np.array_equal(other.labels[main], quiet.labels[main])


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
@pytest.mark.parametrize("snr", [0.5, 2.0])
def test_the_signal_to_noise_ratio_is_the_one_asked_for(kind, snr):
    clean = simulate_material(1, kind, SHAPE, noise=math.inf, annotate=False)
    noisy = simulate_material(1, kind, SHAPE, noise=snr, annotate=False)
    # the noisy picture is a linear function of the clean one plus noise: regression separates the two
    x, y = clean.pixels.ravel().astype(float), noisy.pixels.ravel().astype(float)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    rest = y - y.mean() - slope * (x - x.mean())
    assert noisy.params["snr"] == snr
    assert rest.std() == pytest.approx(noisy.params["noise_sigma"], rel=0.12)
    assert noisy.params["contrast"] / noisy.params["noise_sigma"] == pytest.approx(snr, rel=1e-6)


def test_contrast_is_measured_between_objects_and_ground():
    scene = simulate_material(2, "small_dense", (256, 256), noise=math.inf, annotate=False, modality="BF-TEM")
    particle = scene.labels["particle"] > 0
    difference = abs(scene.pixels[particle].mean() - scene.pixels[~particle].mean())
    assert scene.params["contrast"] == pytest.approx(difference, rel=0.25)


def test_fibres_have_their_width_and_the_upper_one_owns_the_crossing():
    across = Fibre(np.array([[-20.0, 60.3], [150.0, 60.3]]), 7.0)
    down = Fibre(np.array([[64.2, -20.0], [64.2, 150.0]]), 4.0)
    maps = rasterise_fibres([across, down], (120, 130))
    assert (maps.labels[:, 20] > 0).sum() == pytest.approx(14, abs=1)
    assert (maps.labels[20] > 0).sum() == pytest.approx(8, abs=1)
    crossing = maps.labels[56:65, 61:68]
    assert (crossing == 2).all()
    assert ndimage.label(maps.labels == 1)[1] == 2  # the lower one is cut in two, under one label
    third = Fibre(np.array([[0.0, 0.0], [129.0, 119.0]]), 3.0)
    assert set(np.unique(rasterise_fibres([across, down, third], (120, 130)).labels)) == {0, 1, 2, 3}


def test_ends_of_rods_are_round_or_flat_and_needles_taper():
    line = np.array([[39.7, 50.3], [99.7, 50.3]])
    area = {}
    for name, fibre in {
        "round": Fibre(line, 8.0),
        "flat": Fibre(line, 8.0, flat=True),
        "needle": Fibre(line, 8.0, flat=True, taper=1.0),
    }.items():
        area[name] = int((rasterise_fibres([fibre], (100, 140)).labels > 0).sum())
    assert area["round"] == pytest.approx(60 * 16 + np.pi * 64, rel=0.03)
    assert area["flat"] == pytest.approx(60 * 16, rel=0.03)
    assert area["needle"] == pytest.approx(60 * 8, rel=0.06)


def test_small_discs_have_the_area_of_the_formula():
    points = np.array([[30.2, 40.6], [80.0, 40.1], [120.5, 90.5]])
    radii, ratios = np.array([4.0, 10.0, 20.0]), np.array([1.0, 0.5, 1.0])
    labels = paint_discs(points, radii, ratios, np.zeros(3), (140, 160)).labels
    assert np.bincount(labels.ravel())[1:] == pytest.approx(np.pi * radii**2 * ratios, rel=0.08)


def test_cores_lie_in_their_shells_and_areas_fit():
    particles = [
        Coated(disc(60, 60, 40), disc(60, 60, 20), disc(60, 60, 20)),
        Coated(disc(150, 60, 30), disc(155, 60, 10), disc(150, 60, 24)),
    ]
    maps, part = rasterise_coated(particles, (120, 200), no_warp(), (0.3, 1.0), 1.5)
    first = maps.labels == 1
    assert (first & (part == 2)).sum() == pytest.approx(np.pi * 20**2, rel=0.03)
    assert (first & (part == 1)).sum() == pytest.approx(np.pi * (40**2 - 20**2), rel=0.03)
    yolk = maps.labels == 2
    assert (yolk & (part == 4)).sum() == pytest.approx(np.pi * (24**2 - 10**2), rel=0.04)  # the void between


@pytest.mark.parametrize("seed", range(4))
def test_core_shell_scenes_divide_particles_into_cores_and_shells(seed):
    scene = simulate_material(seed, "core_shell", (256, 256), annotate=False)
    particle, shell = scene.labels["particle"], scene.labels["shell"]
    assert (particle[shell > 0] > 0).all()
    if "core" in scene.labels:
        core = scene.labels["core"]
        assert (particle[core > 0] > 0).all() and not ((core > 0) & (shell > 0)).any()


def test_laguerre_cells_are_those_of_the_definition():
    rng = np.random.default_rng(4)
    x, y = warped_grid(rng, (96, 128), [(30, 4)])
    seeds = spread_seeds(rng, (96, 128), 17, 0.2)
    weights = (17 * rng.uniform(0, 0.8, len(seeds))) ** 2
    cells = power_cells(x, y, seeds, weights)
    power = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2 - weights
    assert np.array_equal(cells.owner, power.argmin(-1) + 1)


def test_the_distance_to_a_grain_boundary_is_that_to_the_bisector():
    y, x = (a.astype(np.float32) for a in np.mgrid[:64, :80])
    cells = power_cells(x, y, np.array([[20.0, 30.0], [60.0, 30.0]]), np.zeros(2))
    assert np.allclose(cells.border, np.abs(x - 40), atol=1e-3)
    assert boundary_lines(cells).sum() == 64 * 3


@pytest.mark.parametrize("seed", range(6))
def test_grain_boundaries_lie_between_different_grains_only(seed):
    scene = simulate_material(seed, "polycrystal", (256, 256), annotate=False)
    grain, line = scene.labels["grain"], scene.labels["grain_boundary"] > 0
    assert not scene.labels["particle"].any()
    filled = grain.copy()
    filled[scene.labels["pore"] > 0] = -1
    different = ndimage.maximum_filter(filled, 7) != ndimage.minimum_filter(filled, 7)
    assert (different | ~line)[4:-4, 4:-4].mean() > 0.995
    # and every place where two grains meet is on a line
    meets = np.zeros(grain.shape, bool)
    meets[:, 1:] |= (grain[:, 1:] != grain[:, :-1]) & (grain[:, 1:] > 0) & (grain[:, :-1] > 0)
    assert line[meets].mean() > 0.99


def test_cracks_have_the_width_they_were_drawn_with():
    line = Fibre(np.array([[10.0, 30.2], [110.0, 30.2]]), 2.5)
    distance, labels = crack_field(np.random.default_rng(0), [[line]], (60, 120), 0.0)
    assert (labels[:, 60] == 1).sum() == 5
    assert distance[30, 60] < 0 < distance[36, 60]


@pytest.mark.parametrize("seed", range(5))
def test_cracks_of_cross_sections_stay_in_the_layers_and_layers_go_across(seed):
    scene = simulate_material(seed, "layers", (256, 256), annotate=False)
    layer, crack = scene.labels["layer"], scene.labels["crack"]
    assert (layer[crack > 0] > 0).all()
    across = 0 if scene.params["upright"] else 1
    for k in range(1, scene.params["layers"] + 1):
        assert (layer == k).any(1 - across).mean() > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_satellites_are_part_of_the_particle_they_are_stuck_on(seed):
    scene = simulate_material(seed, "powder", (320, 320), annotate=False)
    satellite, particle = scene.labels["satellite"], scene.labels["particle"]
    for k in range(1, satellite.max() + 1):
        assert len(np.unique(particle[satellite == k])) == 1 and (particle[satellite == k] > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_holes_hold_no_particles(seed):
    scene = simulate_material(seed, "holes", (256, 256), annotate=False)
    assert not ((scene.labels["hole"] > 0) & (scene.labels["particle"] > 0)).any()


def test_precipitates_and_pores_of_a_matrix_are_no_particles():
    for kind in ("precipitates", "dense_matrix", "polycrystal", "layers"):
        scene = simulate_material(1, kind, SHAPE)
        assert not scene.labels["particle"].any() and not scene.labels["neck"].any()


@pytest.mark.parametrize("seed", range(12))
def test_annotation_is_what_was_drawn(seed):
    bare = simulate_material(seed, "fibres", (256, 256), annotate=False)
    marked = simulate_material(seed, "fibres", (256, 256), annotate=True)
    ink = marked.labels["annotation"] > 0
    assert ink.any() and not bare.labels["annotation"].any()
    changed = np.abs(marked.pixels - bare.pixels)
    # soft edges and hair lines change pixels beside the mask a little
    beside = ~ndimage.binary_dilation(ink, iterations=2)
    assert changed[beside].sum() < 0.01 * changed.sum() and (not beside.any() or changed[beside].max() < 0.3)
    if not ink.all():
        assert changed[ink].mean() > 10 * changed[~ink].mean()
    # labels go on below letters and bars, but not below boxes
    gone = (bare.labels["fibre"] > 0) & (marked.labels["fibre"] == 0)
    assert not (gone & ~ink).any()


def test_existing_scenes_have_the_truth_of_their_annotation():
    scene = simulate_scene(3, (256, 256), "SEM")
    assert np.array_equal(scene.labels("annotation") > 0, scene.overlay)


def test_a_rod_video_moves_one_rigid_rod():
    video = simulate_rod_video(2, 30, (128, 160), 0.5)
    assert video.frames.shape == video.labels.shape == (30, 128, 160)
    assert video.frames.min() >= 0 and video.frames.max() <= 1
    area = (video.labels > 0).sum((1, 2))
    assert area.std() / area.mean() < 0.02  # rigid, and never cut by the border
    for t in (0, 15, 29):
        y, x = ndimage.center_of_mass(video.labels[t])
        assert np.hypot(x - video.poses[t, 0], y - video.poses[t, 1]) < 0.7
    assert np.hypot(*(video.poses[-1] - video.poses[0])[:2]) > 2


def test_a_rod_video_has_the_signal_to_noise_ratio_asked_for():
    video = simulate_rod_video(5, 40, (128, 128), 0.5)
    inside = video.labels > 0
    noise = np.diff(video.frames, axis=0).std() / np.sqrt(2)
    contrast = abs(video.frames[inside].mean() - video.frames[~inside].mean())
    assert contrast / noise == pytest.approx(0.5, rel=0.2)
    assert np.array_equal(video.labels, simulate_rod_video(5, 40, (128, 128), 4.0).labels)


def test_a_sheet_shows_material_scenes_with_their_truth():
    scenes = [simulate_material(1, kind, (128, 128)) for kind in ("fibres", "polycrystal")]
    plain, marked = (contact_sheet(scenes, 2, 128, truth=truth) for truth in (False, True))
    assert plain.shape == marked.shape == (132, 264, 3)
    assert (plain[..., 0] == plain[..., 1]).all() and not (marked[..., 0] == marked[..., 2]).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "dragons"}, "dragons"),
        ({"shape": (20, 512)}, "20 x 512"),
        ({"modality": "x-ray"}, "x-ray"),
        ({"noise": 0.0}, "above 0"),
        ({"noise": -1.0}, "above 0"),
        ({"noise": float("nan")}, "above 0"),
    ],
)
def test_bad_arguments_are_told(arguments, says):
    with pytest.raises(InputError, match=says):
        simulate_material(0, **{"shape": SHAPE, **arguments})


@pytest.mark.parametrize("arguments", [{"frames": 0}, {"shape": (20, 20)}, {"snr": 0.0}, {"snr": math.inf}])
def test_bad_arguments_of_a_video_are_told(arguments):
    with pytest.raises(InputError):
        simulate_rod_video(0, **{"frames": 2, "shape": (64, 64), "snr": 1.0, **arguments})
