"""Measuring, against analytic shapes."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import cKDTree
from skimage import measure as skimage_measure

from lisa_micro.measure import (
    column,
    contacts,
    find_necks,
    histogram,
    measure_necks,
    measure_particles,
    neck_labels,
    particle_properties,
    summarise,
)
from lisa_micro.measure.contacts import facing
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError


def disc(shape, x, y, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(columns - x, rows - y) < radius


def two_discs(radius, x_over_r, angle=0.0, gap=0, size=240, centre=120.2):
    """Two equal overlapping discs cut apart at the chord, whose half length is exactly x_over_r * radius."""
    half = radius * np.sqrt(1 - x_over_r**2)
    ux, uy = np.cos(angle), np.sin(angle)
    rows, columns = np.mgrid[:size, :size]
    along = (columns - centre) * ux + (rows - centre) * uy
    labels = np.zeros((size, size), np.int32)
    first = disc(labels.shape, centre - half * ux, centre - half * uy, radius)
    second = disc(labels.shape, centre + half * ux, centre + half * uy, radius)
    labels[first & (along < -gap / 2)] = 1
    labels[second & (along >= gap / 2)] = 2
    return labels


def packed(number=300, size=1024, radius=30, seed=0):
    points = np.random.default_rng(seed).uniform(0, size, (number, 2))
    rows, columns = np.mgrid[:size, :size]
    distance, nearest = cKDTree(points).query(np.stack([columns, rows], -1).reshape(-1, 2))
    return np.where(distance < radius, nearest + 1, 0).reshape(size, size).astype(np.int32)


def test_disc():
    radius, x, y = 30.0, 60.25, 50.75
    labels = np.where(disc((120, 140), x, y, radius), 7, 0).astype(np.int32)
    pixels = np.full(labels.shape, 5.0)
    pixels[50, 60] = np.nan
    p = {k: v[0] for k, v in particle_properties(labels, pixels).items()}
    assert p["label"] == 7
    assert p["area"] == pytest.approx(np.pi * radius**2, rel=5e-3)
    assert p["diameter"] == pytest.approx(2 * radius, rel=3e-3)
    assert p["length"] == pytest.approx(2 * radius, abs=1)
    assert p["width"] == pytest.approx(2 * radius, abs=0.7)
    assert p["perimeter"] == pytest.approx(2 * np.pi * radius, rel=0.02)
    assert p["circularity"] == pytest.approx(1, abs=0.04)
    assert (p["x"], p["y"]) == pytest.approx((x, y), abs=0.05)
    assert p["intensity"] == 5
    assert not p["touches_border"] and p["contacts"] == 0 and p["agglomerate"] == 0
    assert np.isinf(p["gap"]) and p["neck_width"] == 0 and p["neck_ratio"] == 0


@pytest.mark.parametrize("angle", [0, 0.4, np.pi / 4, 1.3])
def test_ellipse_feret(angle):
    rows, columns = np.mgrid[:200, :200] - 100.0
    u = columns * np.cos(angle) + rows * np.sin(angle)
    v = rows * np.cos(angle) - columns * np.sin(angle)
    p = particle_properties(((u / 60) ** 2 + (v / 25) ** 2 < 1).astype(np.int32))
    assert p["length"][0] == pytest.approx(120, abs=1)
    assert p["width"][0] == pytest.approx(50, abs=1)
    assert p["aspect_ratio"][0] == pytest.approx(2.4, rel=0.03)
    h = ((60 - 25) / (60 + 25)) ** 2  # Ramanujan's second approximation
    around = np.pi * 85 * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    assert p["perimeter"][0] == pytest.approx(around, rel=0.03)


def test_rectangle_and_single_pixel():
    labels = np.zeros((40, 60), np.int32)
    labels[0:10, 20:50] = 1
    labels[30, 5] = 2
    p = particle_properties(labels)
    assert p["area"].tolist() == [300, 1]
    assert [p[k][0] for k in ("x0", "y0", "x1", "y1")] == [20, 0, 50, 10]
    assert p["width"][0] == 10 and p["length"][0] == pytest.approx(np.hypot(30, 10), abs=0.8)
    assert p["touches_border"].tolist() == [True, False]
    assert p["gap"] == pytest.approx(np.hypot(20 - 5, 30 - 9) - 1)
    assert np.isfinite([v[1] for k, v in p.items() if k != "intensity"]).all()


def test_agrees_with_skimage():
    labels = packed(40, 256, 24, seed=3)
    p = particle_properties(labels)
    for k, region in enumerate(skimage_measure.regionprops(labels)):
        assert p["label"][k] == region.label
        assert p["area"][k] == region.area
        assert (p["y"][k], p["x"][k]) == pytest.approx(region.centroid)
        assert (p["y0"][k], p["x0"][k], p["y1"][k], p["x1"][k]) == region.bbox
        assert p["perimeter"][k] == pytest.approx(skimage_measure.perimeter_crofton(region.image, 4))


def test_gap_against_brute_force():
    labels = np.zeros((150, 150), np.int32)
    rng = np.random.default_rng(4)
    for k in range(1, 15):
        x, y, r = rng.uniform(0, 150, 2).tolist() + [rng.uniform(3, 12)]
        labels[disc(labels.shape, x, y, r) & (labels == 0)] = k
    p = particle_properties(labels)
    points = [np.argwhere(labels == k) for k in p["label"]]
    for k, own in enumerate(points):
        others = np.concatenate([o for j, o in enumerate(points) if j != k])
        assert p["gap"][k] == pytest.approx(cKDTree(others).query(own)[0].min() - 1)


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
def test_contact_reaches_two_pixels(gap):
    labels = np.zeros((30, 60), np.int32)
    labels[5:25, 5:25] = 3
    labels[5:25, 25 + gap : 45 + gap] = 9
    expected = [[3, 9]] if gap <= 2 else []
    assert contacts(labels).tolist() == expected
    p = particle_properties(labels)
    assert p["gap"].tolist() == [gap, gap]
    assert p["contacts"].tolist() == [int(gap <= 2)] * 2
    if gap <= 2:
        neck = find_necks(labels)[0]
        assert (neck.a, neck.b) == (3, 9)
        assert 2 * neck.x_px == pytest.approx(20, abs=0.5)
        assert neck.centre == pytest.approx((24.5 + gap / 2, 14.5), abs=0.3)
        assert neck.R_px == pytest.approx(np.sqrt(400 / np.pi))


def test_agglomerates():
    labels = np.zeros((20, 100), np.int32)
    for k, left in enumerate((0, 11, 22, 50, 61, 80)):
        labels[5:15, left : left + 10] = k + 1
    p = particle_properties(labels)
    assert p["agglomerate"].tolist() == [1, 1, 1, 0, 0, 0]
    assert p["contacts"].tolist() == [1, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("angle", [0, 0.3, np.pi / 4, 1.2])
@pytest.mark.parametrize(("radius", "ratio"), [(20, 0.4), (20, 0.8), (30, 0.6), (50, 0.4), (50, 0.8)])
def test_two_disc_neck(radius, ratio, angle):
    (neck,) = find_necks(two_discs(radius, ratio, angle))
    assert neck.x_px == pytest.approx(radius * ratio, abs=1.1)
    assert neck.centre == pytest.approx((120.2, 120.2), abs=1.2)
    (x0, y0), (x1, y1) = neck.ends
    direction = np.array([x1 - x0, y1 - y0]) / (2 * neck.x_px)
    assert abs(direction @ [np.cos(angle), np.sin(angle)]) < 0.08  # the chord lies across the line of centres


@pytest.mark.parametrize("gap", [1, 2])
def test_neck_across_a_gap(gap):
    (neck,) = find_necks(two_discs(40, 0.6, 0.5, gap))
    assert neck.x_px == pytest.approx(24, abs=2.5)
    assert neck.centre == pytest.approx((120.2, 120.2), abs=1.5)


@pytest.mark.parametrize("kind", ["pairs", "chains", "agglomerate"])
def test_necks_against_the_simulator(kind):
    """The simulator knows every chord from geometry and never measures."""
    off, centre = [], []
    for seed in range(4):
        scene = simulate_scene(seed, (256, 256), kind=kind, annotate=False)
        true = {tuple(sorted((n["a"], n["b"]))): n for n in scene.neck_table}
        found = {(n.a, n.b): n for n in find_necks(scene.particles)}
        assert len(true.keys() - found.keys()) <= 0.02 * len(true)
        for pair in true.keys() & found.keys():
            if true[pair]["fused"] and not true[pair]["at_border"]:
                off.append(found[pair].x_px - true[pair]["x_px"])
                centre.append(np.hypot(*np.subtract(found[pair].centre, (true[pair]["cx"], true[pair]["cy"]))))
    assert len(off) > 5
    assert abs(np.mean(off)) < 0.5 and np.median(np.abs(off)) < 0.5 and np.median(centre) < 0.6


def test_neck_mask():
    labels = two_discs(40, 0.5, gap=2)
    mask, necks = neck_labels(labels)
    assert mask.dtype == np.int32 and mask.max() == len(necks) == 1
    x, (cx, cy) = necks[0].x_px, necks[0].centre
    rows, columns = np.nonzero(mask)
    assert np.abs(columns - cx).max() <= x / 2 + 0.5 and np.abs(rows - cy).max() <= x + 0.6
    assert mask.sum() == pytest.approx(x * 2 * x, rel=0.12)  # thickness x, length 2x
    middle = mask[int(round(cy)), int(cx) - 3 : int(cx) + 4]
    assert (middle == 1).all()  # gap pixels included


def test_every_neck_keeps_a_pixel():
    mask, necks = neck_labels(packed(200, 256, 20))
    assert len(necks) > 100
    assert set(np.unique(mask)) == set(range(len(necks) + 1))


def test_tables_have_units():
    labels = two_discs(20, 0.5)
    px, nm = measure_particles(labels), measure_particles(labels, 0.5)
    assert not any("nm" in c for c in px.columns)
    assert (nm["diameter_nm"] == nm["diameter_px"] * 0.5).all()
    assert (nm["area_nm2"] == nm["area_px2"] * 0.25).all()
    assert column("length", "nm") == "feret_max_nm" and column("circularity", "nm") == "circularity"
    assert {column(k) for k in particle_properties(labels)} <= set(px.columns)
    necks = measure_necks(labels, 0.5)
    assert necks["width_nm"][0] == pytest.approx(necks["width_px"][0] / 2)
    assert necks["x_over_R"][0] == pytest.approx(necks["x_px"][0] / necks["R_px"][0])
    p = particle_properties(labels)
    assert p["neck_width"].tolist() == [necks["width_px"][0]] * 2
    assert p["neck_ratio"].tolist() == [necks["x_over_R"][0]] * 2


def test_summary():
    labels = np.zeros((100, 200), np.int32)
    for k, side in enumerate((4, 6, 8, 10)):
        labels[10 : 10 + side, 40 * k + 5 : 40 * k + 5 + side] = k + 1
    s = summarise(labels, 2.0)
    areas = np.array([16, 36, 64, 100]) * 4.0
    assert s["count"] == 4 and s["area_fraction"] == pytest.approx(216 / 20000)
    assert s["number_density_per_um2"] == pytest.approx(4 / (0.2 * 0.4))
    assert s["mean_area_nm2"] == areas.mean() and s["median_area_nm2"] == np.median(areas)
    assert s["std_area_nm2"] == pytest.approx(areas.std(ddof=1))
    assert s["D10_diameter_nm"] == pytest.approx(np.percentile(np.sqrt(4 * areas / np.pi), 10))
    assert summarise(labels)["number_density_per_Mpx"] == pytest.approx(200)
    assert np.isnan(summarise(labels * 0)["mean_diameter_px"])


def test_histogram(tmp_path):
    figure = histogram([3.0, 4, 5, np.inf], "diameter", "nm", tmp_path / "h.png")
    assert figure.axes[0].get_xlabel() == "diameter (nm)" and (tmp_path / "h.png").stat().st_size > 1000
    histogram([], "area", "")
    histogram([2.0, 2.0])
    with pytest.raises(InputError):
        histogram([1.0], bins=0)


def test_nothing_and_odd_labels():
    for shape in ((0, 0), (0, 5), (1, 1), (6, 7)):
        labels = np.zeros(shape, np.int32)
        assert len(measure_particles(labels, 1.0)) == 0 and len(measure_necks(labels, 1.0)) == 0
        assert neck_labels(labels)[0].shape == shape and contacts(labels).shape == (0, 2)
    labels = np.zeros((20, 20), np.int64)
    labels[2:8, 2:8], labels[2:8, 9:15] = 4_000_000_000, 17
    assert particle_properties(labels)["label"].tolist() == [17, 4_000_000_000]
    assert contacts(labels).tolist() == [[17, 4_000_000_000]]
    assert [(n.a, n.b) for n in neck_labels(labels)[1]] == [(17, 4_000_000_000)]
    unsigned = (labels > 100).astype(np.uint16) * 65535
    assert particle_properties(unsigned)["label"].tolist() == [65535]


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)))
def test_any_labels(labels):
    p = particle_properties(labels)
    assert p["label"].tolist() == [k for k in range(1, 5) if (labels == k).any()]
    for name in ("area", "perimeter", "length", "width"):
        assert (p[name] > 0).all()
    assert (p["gap"] >= 0).all()
    points = {k: np.argwhere(labels == k) for k in p["label"].tolist()}
    near = [
        [a, b] for a in points for b in points if a < b and cKDTree(points[b]).query(points[a])[0].min() <= 3 + 1e-9
    ]
    assert contacts(labels).tolist() == near
    mask, necks = neck_labels(labels)
    assert [[n.a, n.b] for n in necks] == near
    if len(necks) <= mask.size:
        assert set(np.unique(mask)) | {0} == set(range(len(necks) + 1))


def test_bad_input():
    good = np.zeros((4, 4), np.int32)
    for bad in (good > 0, good.astype(float), good - 1, good[None], "labels"):
        with pytest.raises(InputError):
            particle_properties(bad)
        with pytest.raises(InputError):
            measure_necks(bad)
    for size in (0, -1, np.nan, np.inf, "big"):
        with pytest.raises(InputError, match="pixel size"):
            measure_particles(good, size)
        with pytest.raises(InputError, match="pixel size"):
            measure_necks(good, size)
    with pytest.raises(InputError, match="shape"):
        measure_particles(good, 1.0, np.zeros((4, 5)))
    with pytest.raises(InputError):
        facing(good, -1)
    with pytest.raises(InputError):
        summarise(np.zeros((0, 0), np.int32))
    with pytest.raises(InputError):
        column("size")
    with pytest.raises(InputError):
        column("area", "um")


def test_fast_enough():
    labels = packed()
    start = time.perf_counter()
    assert len(contacts(labels)) > 300
    assert time.perf_counter() - start < 1.0 * 5  # a second; five where the machine is shared
    start = time.perf_counter()
    particle_properties(labels)
    assert time.perf_counter() - start < 10
