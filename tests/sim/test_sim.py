"""The simulator: its truth must follow from its geometry, and be the same each time."""

import json

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from lisa_micro.sim import (
    KINDS,
    MECHANISMS,
    MODALITIES,
    cache_scenes,
    contact_sheet,
    growth_constant,
    load_scene,
    neck_ratio,
    simulate_scene,
    simulate_sintering,
    write_simulation,
)
from lisa_micro.sim.contacts import centre_distance, find_bonds, solve_neck
from lisa_micro.sim.dynamics import World
from lisa_micro.sim.growth import merged_radius, relaxing_axes, time_to_ratio
from lisa_micro.sim.raster import no_warp, random_warp, rasterise
from lisa_micro.sim.shapes import Body, area, disc, equivalent_radius, field, outline, polygon
from lisa_micro.sim.truth import derive_truth, find_pores
from lisa_micro.types import InputError


def pair_truth(r1=60.0, r2=60.0, ratio=0.5, d=None, warp=None, shape=(300, 420)):
    """Two spheres on a slanted axis, and what is known of them."""
    d = d or r1 + r2
    angle = 0.4
    one = disc(140.0, 110.0, r1)
    other = disc(140.0 + d * np.cos(angle), 110.0 + d * np.sin(angle), r2)
    bonds = find_bonds([one, other], ratio)
    warp = warp or no_warp()
    maps = rasterise([one, other], bonds, shape, warp)
    return derive_truth([one, other], bonds, maps, warp), bonds, maps


# ---- necks


def test_fillet_of_equal_spheres_in_point_contact_is_the_textbook_one():
    x, u, rho = solve_neck(50, 50, 100, 20)
    assert (x, u) == pytest.approx((20, 50))
    assert rho == pytest.approx(20**2 / (2 * (50 - 20)))


@pytest.mark.parametrize(("r1", "r2", "gap", "x"), [(50, 50, 0, 30), (60, 30, 0, 12), (40, 50, -3, 25), (30, 30, 4, 9)])
def test_fillet_touches_both_circles_and_leaves_the_neck_of_half_width_x(r1, r2, gap, x):
    d = r1 + r2 + gap
    got, u, rho = solve_neck(r1, r2, d, x)
    v = got + rho  # height of the fillet's centre
    assert got == pytest.approx(x)
    assert np.hypot(u, v) == pytest.approx(r1 + rho)
    assert np.hypot(d - u, v) == pytest.approx(r2 + rho)


def test_deep_overlap_needs_no_fillet_and_the_neck_is_the_intersection():
    x, u, rho = solve_neck(50, 50, 60, 5)
    assert (x, u, rho) == pytest.approx((40, 30, 0))


def test_neck_mask_has_the_area_and_the_chord_of_the_definition():
    truth, bonds, _ = pair_truth(ratio=0.5)
    row = truth.neck_table[0]
    x = bonds[0].x
    assert row["x_px"] == pytest.approx(x) == pytest.approx(30)
    assert row["x_over_R"] == pytest.approx(0.5)
    assert np.hypot(row["x1"] - row["x0"], row["y1"] - row["y0"]) == pytest.approx(2 * x)
    # a band of thickness x and length 2x: the union is nowhere narrower than the chord
    assert (truth.necks == 1).sum() == pytest.approx(2 * x * x, rel=0.02)
    y, x_centre = ndimage.center_of_mass(truth.necks == 1)
    assert (x_centre, y) == pytest.approx((row["cx"], row["cy"]), abs=0.5)


@pytest.mark.parametrize("warped", [False, True])
def test_ends_of_the_chord_lie_where_both_labels_meet_the_background(warped):
    rng = np.random.default_rng(3)
    warp = random_warp(rng, 60) if warped else no_warp()
    truth, _, _ = pair_truth(r1=60, r2=45, ratio=0.4, warp=warp)
    row = truth.neck_table[0]
    for x, y in ((row["x0"], row["y0"]), (row["x1"], row["y1"])):
        window = truth.particles[int(y) - 3 : int(y) + 5, int(x) - 3 : int(x) + 5]
        assert set(np.unique(window)) == {0, 1, 2}


def test_a_warp_is_inverted():
    rng = np.random.default_rng(0)
    warp = random_warp(rng, 30)
    x, y = warp.grid((80, 90))
    points = np.array([(12.0, 20.0), (70.0, 55.0), (33.0, 61.0)])
    ideal = np.array([(x[int(q), int(p)], y[int(q), int(p)]) for p, q in points])
    assert warp.to_image(ideal) == pytest.approx(points, abs=1e-3)


def test_three_spheres_enclose_a_pore_and_make_one_agglomerate():
    r = 40.0
    corners = [disc(100 + 2 * r * np.cos(a), 100 + 2 * r * np.sin(a), r) for a in np.arange(6) * np.pi / 3]
    bonds = find_bonds(corners, 0.3)
    maps = rasterise(corners, bonds, (200, 200), no_warp())
    truth = derive_truth(corners, bonds, maps, no_warp())
    assert len(truth.neck_table) == 6
    assert truth.agglomerates.max() == 1
    assert ((truth.agglomerates > 0) == (truth.particles > 0)).all()
    assert truth.pores.max() == 1
    assert truth.pores[100, 100] == 1


def test_pores_do_not_open_to_the_border():
    particles = np.zeros((20, 20), np.int32)
    particles[5:15, 5:15] = 1
    particles[8:12, 8:12] = 0
    particles[0:4, 0:4] = 2
    particles[0:2, 0:2] = 0
    pores = find_pores(particles)
    assert pores.max() == 1
    assert (pores == 1).sum() == 16


# ---- shapes


@pytest.mark.parametrize(
    "body",
    [
        disc(50, 40, 20),
        Body("ellipse", 50, 40, 24, 12, 0.5),
        Body("box", 50, 40, 25, 9, 1.1, 9),
        polygon(np.random.default_rng(1), 50, 40, 22, 6, 0.3, 1.2),
    ],
)
def test_outline_area_and_label_of_a_shape_agree(body):
    distance = field(body, *outline(body).T)[0]
    assert np.abs(distance).max() < 0.05
    labels = rasterise([body], [], (80, 100), no_warp()).labels
    assert (labels == 1).sum() == pytest.approx(area(body), rel=0.02)
    assert np.pi * equivalent_radius(body) ** 2 == pytest.approx(area(body))
    assert np.hypot(*(outline(body) - (50, 40)).T).max() <= body.reach + 0.1


# ---- scenes


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_scene_of_each_kind_is_consistent(kind):
    for seed in (1, 2):
        scene = simulate_scene(seed, (160, 200), kind=kind)
        assert scene.pixels.shape == (160, 200) == scene.shape
        assert scene.pixels.dtype == np.float32
        assert 0 <= scene.pixels.min() <= scene.pixels.max() <= 1
        n = scene.particles.max()
        assert len(scene.centres) == len(scene.radii) == n
        for concept in ("particle", "neck", "pore", "agglomerate"):
            labels = scene.labels(concept)
            assert labels.dtype == np.int32
            assert set(np.unique(labels)) | {0} == set(range(labels.max() + 1))
        assert (scene.substrate == (scene.particles == 0)).all()
        assert not (scene.pores[scene.particles > 0]).any()
        assert (scene.particles[scene.necks > 0] > 0).all()
        assert len(scene.neck_table) == scene.necks.max()
        pairs = {tuple(pair) for pair in scene.contacts.tolist()}
        for row in scene.neck_table:
            assert set(np.unique(scene.particles[scene.necks == row["label"]])) <= {row["a"], row["b"]}
            assert (min(row["a"], row["b"]), max(row["a"], row["b"])) in pairs
            assert row["x_over_R"] == pytest.approx(row["x_px"] / row["R_px"])


def test_particles_without_a_contact_keep_clear_of_each_other():
    for seed in range(12):
        scene = simulate_scene(seed, (192, 192), annotate=False)
        inner = scene.particles[2:-2, 2:-2]  # at the border, a neck outside the image is not seen
        pairs = {tuple(pair) for pair in scene.contacts.tolist()}
        # two labels in one 3 x 3 window are at most one pixel apart
        high = ndimage.maximum_filter(inner, 3)
        low = -ndimage.maximum_filter(np.where(inner > 0, -inner, -(2**30)), 3)
        meet = (high > 0) & (low < high)
        assert {(int(a), int(b)) for a, b in zip(low[meet], high[meet], strict=True)} <= pairs


def test_isolated_and_empty_scenes_have_no_necks_and_clusters_have():
    assert not simulate_scene(0, (160, 160), kind="isolated").neck_table
    empty = simulate_scene(0, (160, 160), kind="empty")
    assert empty.particles.max() == 0
    assert empty.substrate.all()
    scenes = [simulate_scene(seed, (192, 192), kind="agglomerate") for seed in range(6)]
    assert all(scene.neck_table for scene in scenes)
    assert all(scene.agglomerates.max() for scene in scenes)
    assert sum(int(scene.pores.max()) for scene in scenes) > 3


def test_the_same_seed_gives_the_same_scene_and_geometry_is_the_same_in_each_modality():
    first, again = (simulate_scene(5, (128, 160)) for _ in range(2))
    assert (first.pixels == again.pixels).all()
    assert (first.particles == again.particles).all()
    assert first.neck_table == again.neck_table
    views = [simulate_scene(5, (128, 160), modality, annotate=False) for modality in MODALITIES]
    assert all((view.particles == views[0].particles).all() for view in views)
    assert not (views[0].pixels == views[2].pixels).all()
    assert not (simulate_scene(6, (128, 160)).pixels == first.pixels).all()


def test_particles_are_dark_in_bright_field_and_bright_in_dark_field():
    for modality, sign in (("BF-TEM", -1), ("HAADF-STEM", 1)):
        differences = []
        for seed in range(8):
            scene = simulate_scene(seed, (128, 128), modality, kind="isolated", annotate=False)
            inside = scene.particles > 0
            differences.append(sign * (scene.pixels[inside].mean() - scene.pixels[~inside].mean()))
        assert np.median(differences) > 0.05
        assert np.mean(np.array(differences) > 0) > 0.8


def test_banners_hide_particles_and_are_marked():
    seen = [simulate_scene(seed, (160, 160), "SEM", kind="layer") for seed in range(30)]
    marked = [scene for scene in seen if scene.overlay.any()]
    assert len(marked) > 8
    banners = [scene for scene in marked if scene.overlay[-1].all()]
    assert banners
    for scene in banners:
        assert not scene.particles[-1].any()


def test_bad_arguments_are_told():
    with pytest.raises(InputError, match="modality"):
        simulate_scene(0, modality="XRD")
    with pytest.raises(InputError, match="kind"):
        simulate_scene(0, kind="galaxies")
    with pytest.raises(InputError, match="small"):
        simulate_scene(0, (4, 4))
    with pytest.raises(InputError, match="pixel size"):
        simulate_scene(0, (64, 64), pixel_size_nm=0)
    with pytest.raises(InputError, match="mechanism"):
        simulate_sintering(0, mechanism="magic")
    with pytest.raises(InputError, match="radius"):
        simulate_sintering(0, radius_nm=1e6)


# ---- cache


def test_cache_resumes_and_gives_back_what_was_simulated(tmp_path):
    paths = cache_scenes(tmp_path, 3, seed=40, shape=(96, 128))
    kept = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert cache_scenes(tmp_path, 3, seed=40, shape=(96, 128), workers=2) == paths
    assert paths[0].stat().st_mtime_ns == kept
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    scene, loaded = simulate_scene(41, (96, 128)), load_scene(paths[1])
    assert np.abs(scene.pixels - loaded.pixels).max() <= 0.5 / 255 + 1e-6
    for name in (
        "particles",
        "necks",
        "pores",
        "agglomerates",
        "substrate",
        "overlay",
        "centres",
        "contacts",
    ):
        assert (getattr(scene, name) == getattr(loaded, name)).all()
    assert loaded.neck_table == scene.neck_table
    assert loaded.pixel_size_nm == scene.pixel_size_nm


def test_contact_sheet_takes_scenes_and_images():
    scene = simulate_scene(1, (64, 96))
    sheet = contact_sheet([scene, np.eye(32)], columns=2, tile=48, truth=True)
    assert sheet.shape == (52, 104, 3)
    assert sheet.dtype == np.uint8
    with pytest.raises(ValueError, match="no scenes"):
        contact_sheet([])


# ---- growth


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_the_exponent_can_be_read_off_the_law(name):
    B = growth_constant(0.4, 50.0, 5.0, name)
    t = np.array([1.0, 5.0, 20.0, 50.0])
    ratio = neck_ratio(t, 5.0, B, name)
    assert ratio[-1] == pytest.approx(0.4)
    slope = np.polyfit(np.log(t), np.log(ratio), 1)[0]
    assert 1 / slope == pytest.approx(MECHANISMS[name].n)
    # scaling with size: twice the radius takes 2^m times as long
    longer = time_to_ratio(0.4, 10.0, B, name)
    assert longer == pytest.approx(50 * 2 ** MECHANISMS[name].m)


def test_growth_is_clipped_and_starts_at_contact():
    B = growth_constant(0.5, 1.0, 5.0, "viscous flow")
    assert neck_ratio(-1.0, 5.0, B, "viscous flow") == 0
    assert neck_ratio(1e9, 5.0, B, "viscous flow") == pytest.approx(0.9)


def test_a_coalesced_pair_keeps_its_volume():
    assert merged_radius(3, 4) ** 3 == pytest.approx(27 + 64)
    a, b = relaxing_axes(10, 6, 1.0, 2.0)
    assert a * b * b == pytest.approx(6**3)
    assert 6 < a < 10
    assert relaxing_axes(10, 6, 1e3, 2.0) == pytest.approx((6, 6))
    assert centre_distance(5, 5, 2, 1.0) == pytest.approx(10 * (1 - 2**2 / (4 * 5**2)))


# ---- videos


@pytest.fixture(scope="module")
def video():
    return simulate_sintering(
        1, frames=40, shape=(160, 160), n_particles=12, radius_nm=2.4, drift_px=(0.5, -0.3), frame_time_s=2.0
    )


def test_one_frame_is_a_scene_that_obeys_the_law():
    for name in ("surface diffusion", "viscous flow"):
        B = growth_constant(0.5, 100.0, 4.0, name)
        scene = simulate_sintering(2, shape=(256, 256), mechanism=name, B=B, radius_nm=4.0, size_spread=0.0)
        whole = [row for row in scene.neck_table if not row["at_border"]]
        assert whole
        low = 0.5 * 0.3 ** (1 / MECHANISMS[name].n)
        assert all(low - 1e-6 <= row["x_over_R"] <= 0.5 + 1e-6 for row in whole)
    assert not simulate_sintering(2, shape=(256, 256), contact_share=0).neck_table
    assert simulate_sintering(2, shape=(64, 64), n_particles=0).substrate.all()


def test_events_follow_from_lineage_and_labels(video):
    merges = [e for e in video.events if e["kind"] == "coalesce"]
    assert len(merges) >= 3
    assert sorted(e["identity"] for e in merges) == sorted(k for k, v in video.lineage.items() if v["parents"])
    for event in merges:
        child = video.lineage[event["identity"]]
        assert child["parents"] == event["particles"]
        assert child["first_frame"] == event["frame"]
        parents = [video.lineage[p] for p in event["particles"]]
        assert all(p["last_frame"] == event["frame"] - 1 for p in parents)
        assert child["radius_px"] ** 3 == pytest.approx(sum(p["radius_px"] ** 3 for p in parents))
    for t in (0, 13, 39):
        alive = {k for k, v in video.lineage.items() if v["first_frame"] <= t <= v["last_frame"]}
        shown = set(np.unique(video.labels(t)).tolist()) - {0}
        assert shown
        assert shown <= alive


def test_contact_comes_before_neck_and_neck_before_coalescence(video):
    first = {}
    for event in video.events:
        first.setdefault((event["kind"], tuple(event["particles"])), event["frame"])
    for (kind, pair), frame in first.items():
        if kind == "neck" and ("contact", pair) in first:
            assert first["contact", pair] <= frame
        if kind == "coalesce" and ("neck", pair) in first:
            assert first["neck", pair] <= frame
    assert [e["frame"] for e in video.events] == sorted(e["frame"] for e in video.events)


def test_the_exponent_can_be_read_off_a_video(video):
    pairs = {}
    for row in video.necks:
        if row["x_px"] > 2.01:  # below, a contact is drawn as wide as can be seen
            age = row["time_s"] - row["contact_s"]
            pairs.setdefault((row["a"], row["b"]), []).append((age, row["x_over_R"]))
    slopes = []
    for points in pairs.values():
        if len(points) >= 6:
            t, ratio = np.array(points).T
            slopes.append(np.polyfit(np.log(t), np.log(ratio), 1)[0])
    assert len(slopes) >= 3
    assert 1 / np.median(slopes) == pytest.approx(MECHANISMS[video.mechanism].n, rel=0.02)


def test_the_table_of_necks_is_what_the_frames_show(video):
    t = 20
    table = {(row["a"], row["b"]): row["x_px"] for row in video.necks if row["frame"] == t}
    labels, rows = video.neck_labels(t)
    whole = [row for row in rows if row["fused"] and not row["at_border"]]
    assert whole
    for row in whole:
        # a third particle may end an interface early, never lengthen it
        assert row["x_px"] <= table[min(row["a"], row["b"]), max(row["a"], row["b"])] + 1e-6
    assert labels.max() == len(rows)


def test_frames_differ_by_noise_and_motion_and_come_again(video):
    assert len(video) == 40
    assert (video.frame(3) == video.frame(3)).all()
    assert not (video.frame(3) == video.frame(4)).all()
    # the look stays: neighbouring frames have the same brightness
    assert video.frame(4).mean() == pytest.approx(video.frame(3).mean(), abs=0.03)
    scene = video.scene(7)
    assert (scene.pixels == video.frame(7)).all()
    assert (np.array([0, *scene.params["identities"]])[scene.particles] == video.labels(7)).all()


def test_particles_drift_with_the_sample():
    still = simulate_sintering(
        4, frames=11, shape=(128, 128), n_particles=4, contact_share=0, diffusion_px=0, drift_px=(2.0, 0.0)
    )
    first, last = still.labels(0), still.labels(10)
    inside = [k for k in np.unique(first[first > 0]) if (last == k).any()]
    moved = [
        ndimage.center_of_mass(last == k)[1] - ndimage.center_of_mass(first == k)[1]
        for k in inside
        if not (first == k)[:, [0, -1]].any() and not (last == k)[:, [0, -1]].any()
    ]
    assert moved
    assert moved == pytest.approx([still.offsets[0, 0] - still.offsets[10, 0]] * len(moved), abs=0.1)


def test_two_near_particles_touch_and_become_one():
    world = World(np.random.default_rng(0), "viscous flow", 1.0, 1.0, diffusion=0.5, tau_s=2.0)
    a, b = world.add(40, 40, 10), world.add(66, 40, 10)
    world.settle()
    for _ in range(400):
        world.step(1.0)
        if len(world.particles) == 1:
            break
    assert [e["kind"] for e in world.events] == ["contact", "neck", "coalesce"]
    (identity,) = world.particles
    assert world.lineage[identity]["parents"] == [a, b]
    body = world.state().bodies[0]
    assert body.kind == "ellipse"
    assert body.a * body.b**2 == pytest.approx(2 * 10**3)


# ---- files


def test_a_simulated_micrograph_is_written_with_its_pixel_size_and_truth(tmp_path):
    written = write_simulation(tmp_path / "one", seed=3, shape=(128, 160), pixel_size_nm=0.25, radius_nm=2.0)
    with tifffile.TiffFile(written["image"]) as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "nm"
        assert file.asarray().dtype == np.uint16
        top, bottom = file.pages[0].tags["XResolution"].value
        assert top / bottom == pytest.approx(4.0)
    truth = json.loads(written["truth"].read_text())
    labels = tifffile.imread(written["particles"])
    assert labels.shape == (128, 160)
    assert labels.max() == truth["counts"]["particles"] == len(truth["particles"])
    assert tifffile.imread(written["necks"]).max() == len(truth["necks"])
    with pytest.raises(InputError, match="force"):
        write_simulation(tmp_path / "one", seed=3)
    write_simulation(tmp_path / "one", seed=4, kind="chains", shape=(96, 96), force=True)
    assert json.loads(written["truth"].read_text())["params"]["kind"] == "chains"
    assert not list((tmp_path / "one").glob("*tmp*"))


def test_a_simulated_video_is_written_as_a_stack(tmp_path):
    written = write_simulation(
        tmp_path / "v", seed=5, frames=6, shape=(96, 96), n_particles=6, frame_time_s=0.5, modality="SEM"
    )
    with tifffile.TiffFile(written["video"]) as file:
        assert file.series[0].shape == (6, 96, 96)
        assert file.imagej_metadata["finterval"] == 0.5
        assert file.imagej_metadata["frames"] == 6
    truth = json.loads(written["truth"].read_text())
    again = simulate_sintering(5, 6, (96, 96), "SEM", 6, frame_time_s=0.5)
    assert (tifffile.imread(written["particles"])[4] == again.labels(4)).all()
    assert truth["frames"] == 6
    assert set(truth["lineage"]) == {str(k) for k in again.lineage}
