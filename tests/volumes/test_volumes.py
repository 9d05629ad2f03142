"""Slices linked into 3-D instances, on simulated spheres and necks whose volumes are known."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile
from cli_calls import call, failed
from known_engine import KnownEngine, discs

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.sim.volumes import simulate_volume
from lisa_micro.types import InputError
from lisa_micro.volumes.run import VolumeOptions


def shuffled(labels: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Slices in which instances are numbered anew, as a segmenter numbers them."""
    rng, out = np.random.default_rng(seed), []
    for one in labels:
        numbers = np.zeros(int(labels.max()) + 1, np.int32)
        there = np.unique(one[one > 0])
        numbers[there] = rng.permutation(len(there)) + 1
        out.append(numbers[one])
    return out


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each true object the found one with an IoU above 0.5, 0 where there is none."""
    top = int(found.max()) + 1
    keys, shared = np.unique(truth.astype(np.int64) * top + found, return_counts=True)
    t, f = keys // top, keys % top
    iou = shared / (np.bincount(truth.ravel())[t] + np.bincount(found.ravel())[f] - shared)
    good = (t > 0) & (f > 0) & (iou > 0.5)
    out = np.zeros(int(truth.max()) + 1, int)
    out[t[good]] = f[good]
    return out[1:]


@pytest.mark.parametrize("step", [1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 3])
def test_spheres_and_sintered_pairs_are_found_with_their_volumes(seed, step):
    truth = simulate_volume(seed, (64, 200, 200), 25, sintered=0.5, pixel_size_nm=2.0, step_nm=2.0 * step)
    volume = lm.link_slices(shuffled(truth.particles), 2.0, 2.0 * step)
    found = matched(volume.labels, truth.particles)
    assert volume.count == 25 and (found > 0).all() and len(set(found)) == 25
    table = volume.table().set_index("label")
    expected = truth.volumes * 2.0**3
    error = np.abs(table.loc[found, "volume_nm3"].to_numpy() / expected - 1)
    assert error.mean() < 0.01 and error.max() < 0.03
    diameters = table.loc[found, "diameter_nm"].to_numpy()
    assert diameters == pytest.approx(np.cbrt(6 * expected / np.pi), rel=0.01)
    centre = table.loc[found, ["centroid_x_px", "centroid_y_px"]].to_numpy()
    alone = np.isclose(truth.volumes, 4 / 3 * np.pi * truth.spheres[:, 3] ** 3)
    assert np.abs(centre - truth.spheres[:, :2])[alone].max() < 0.2
    faces = [truth.particles.take(end, axis) for axis in range(3) for end in (0, -1)]
    cut = set(np.unique(np.concatenate([face.ravel() for face in faces]))) - {0}
    assert set(np.flatnonzero(table.loc[found, "touches_border"].to_numpy()) + 1) == cut


def test_necks_are_3d_instances():
    truth = simulate_volume(1, (64, 200, 200), 24, (9, 16), sintered=1.0)
    volume = lm.link_slices(shuffled(truth.necks), 1.0, 1.0, waist=None, concept="neck")
    found = matched(volume.labels, truth.necks)
    assert (found > 0).all() and volume.count == len(truth.neck_radii) == 12
    sizes = np.bincount(truth.necks.ravel())[1:]
    assert volume.table()["volume_voxels"].to_numpy()[found - 1] == pytest.approx(sizes, rel=0.03)


def column_of(*radii: float) -> np.ndarray:
    """Slices with one disc each, in the same place."""
    y, x = np.ogrid[:60, :60]
    return np.stack([((x - 30) ** 2 + (y - 30) ** 2 <= r**2).astype(int) * (r > 0) for r in radii])


def test_particles_one_above_the_other_are_divided_at_the_neck_between_them():
    z = np.arange(16) - 7.5
    ball = np.sqrt(np.maximum(10.0**2 - z**2, 0))  # cut at a radius of 6.6 on both sides
    volume = lm.link_slices(column_of(*ball, *ball))
    assert volume.count == 2 and volume.table()["volume_voxels"].nunique() == 1
    assert volume.table()[["first_slice", "last_slice"]].to_numpy().tolist() == [[0, 15], [16, 31]]
    assert lm.link_slices(column_of(*ball, *ball), waist=None).count == 1
    noisy = [10, 9.4, 10, 9.2, 10.2, 9.5]  # a contour that trembles divides nothing
    assert lm.link_slices(column_of(*noisy)).count == 1


def test_sections_segmented_as_one_are_divided_as_in_the_slices_beside():
    y, x = np.ogrid[:60, :90]
    one, other = (np.hypot(x - centre, y - 30) <= 14 for centre in (32, 56))
    apart = np.where(x < 44, one, 2 * other)
    merged = (apart > 0).astype(int)
    slices = np.stack([apart, merged, merged, merged, apart])
    volume = lm.link_slices(slices)
    assert volume.count == 2 and matched(volume.labels, np.stack([apart] * 5)).tolist() == [1, 2]
    disc = (np.hypot(x - 44, y - 30) <= 20).astype(int)  # no waist: one body, whatever the slice beside shows
    assert len(np.unique(lm.link_slices(np.stack([np.where(x < 44, disc, 2 * disc), disc])).labels[1])) == 2


def test_a_missed_slice_is_filled_with_the_shape_between():
    whole = column_of(6, 8, 9, 10, 9, 8, 6)
    missed = whole.copy()
    missed[3] = 0
    volume = lm.link_slices(missed)
    assert volume.count == 1
    assert volume.labels[3].sum() == pytest.approx(whole[2].sum(), rel=0.02)
    assert volume.table()["volume_voxels"][0] == np.count_nonzero(volume.labels)
    assert lm.link_slices(missed, gap=0).count == 2


def test_what_is_seen_in_few_slices_is_left_out_on_request():
    slices = column_of(0, 8, 8, 8)
    slices[0, 2:6, 2:6] = 1
    assert lm.link_slices(slices).count == 2
    kept = lm.link_slices(slices, least_slices=2)
    assert kept.count == 1 and not kept.labels[0].any()
    assert bool(kept.table()["touches_border"][0]) is True  # it reaches the last slice


def test_without_sizes_volumes_are_in_voxels():
    columns = lm.link_slices(column_of(5, 6, 5)).table().columns
    assert "volume_voxels" in columns and not [name for name in columns if name.endswith(("nm", "nm3"))]
    columns = lm.link_slices(column_of(5, 6, 5), pixel_size_nm=2.0).table().columns
    assert "largest_section_nm2" in columns and "volume_nm3" not in columns


@pytest.mark.parametrize(
    ("slices", "settings", "words"),
    [
        ([], {}, "no slices to link"),
        ([np.zeros((4, 5), int), np.zeros((4, 6), int)], {}, "Slice 1 is 6 x 4 px but the first slice is 5 x 4 px"),
        ([np.zeros((4, 5))], {}, "must be integers"),
        ([np.zeros((4, 5), int)], {"gap": -1}, "0 slices or more"),
        ([np.zeros((4, 5), int)], {"waist": 1.5}, "between 0 and 1"),
        ([np.zeros((4, 5), int)], {"least_slices": 0}, "1 or more"),
        ([np.zeros((4, 5), int)], {"step_nm": -1}, "step between slices must be a positive number"),
    ],
)
def test_bad_input_is_one_sentence(slices, settings, words):
    with pytest.raises(InputError, match=words) as caught:
        lm.link_slices(slices, **settings)
    assert "\n" not in str(caught.value)


def test_simulated_volumes_are_what_they_say():
    truth = simulate_volume(2, (40, 120, 120), 8, (6, 12), sintered=0.5, step_nm=2.0)
    sizes = np.bincount(truth.particles.ravel())[1:] * 2.0
    assert sizes == pytest.approx(truth.volumes, rel=0.03) and truth.inside.all()
    assert truth.pixels[truth.particles > 0].mean() - truth.pixels[truth.particles == 0].mean() > 0.3
    with pytest.raises(InputError, match="find room"):
        simulate_volume(0, (10, 20, 20), 50)
    with pytest.raises(InputError):
        simulate_volume(0, (10, 20, 20), 1, (0, 1))


# -------------------------------------------------------------------------------------------- requests about stacks


def stack_of(*spheres, shape=(20, 90, 120)) -> np.ndarray:
    """Slices in which a :class:`KnownEngine` finds the sections of spheres x, y, z, r."""
    slices = []
    for z in range(shape[0]):
        seen = [(x, y, np.sqrt(r**2 - (z - c) ** 2)) for x, y, c, r in spheres if abs(z - c) < r]
        slices.append(discs(shape[1:], *seen))
    return np.stack(slices)


SPHERES = ((30, 30, 9, 8), (80, 40, 10, 9.5), (50, 70, 8, 6))


def model(reply="The particles are [SEG].") -> Assistant:
    assistant = Assistant(KnownEngine(reply), "known", "", tiled_segmenter)
    assistant.readable = lambda words: (words, ())
    return assistant


def test_a_request_about_a_stack_gives_3d_instances(tmp_path):
    stack = lm.read_stack(stack_of(*SPHERES), pixel_size_nm=2.0, step_nm=2.0)
    told = []
    volume = lm.segment_volume(model(), stack, "particles", progress=lambda *step: told.append(step))
    assert volume.count == 3 and told[-1] == ("Segmenting slices", 20, 20)
    expected = sorted(4 / 3 * np.pi * (2 * r) ** 3 for *_, r in SPHERES)
    assert sorted(volume.table()["volume_nm3"]) == pytest.approx(expected, rel=0.06)
    assert volume.text.startswith("Found 3 particles in 20 slices; mean volume") and "nm3" in volume.text
    written = volume.save(tmp_path / "out")
    assert {path.name for path in written} == {"labels.tif", "volumes.csv", "volume.json", "slices.png"}
    labels = lm.read_stack(tmp_path / "out" / "labels.tif")
    assert labels.step_nm == pytest.approx(2.0) and labels.pixel_size_nm == pytest.approx(2.0)
    assert (np.stack([np.asarray(plane) for plane in labels]) == volume.labels).all()
    with pytest.raises(InputError, match="already holds results"):
        volume.save(tmp_path / "out")


def test_a_condition_refers_to_3d_instances():
    stack = lm.read_stack(stack_of(*SPHERES), pixel_size_nm=2.0, step_nm=2.0)
    volume = lm.segment_volume(model("[SEG]<where>largest 1</where>"), stack, "the largest particle")
    assert volume.count == 1 and volume.table()["centroid_x_px"][0] == pytest.approx(80, abs=0.5)
    assert set(np.unique(volume.labels)) == {0, 1}
    above = lm.segment_volume(model("[SEG]<where>diameter > 26 nm</where>"), stack, "particles above 26 nm")
    assert above.count == 2  # spheres of 24, 32 and 38 nm; every one has sections below 26 nm


def test_a_stack_without_sizes_or_particles_says_so():
    volume = lm.segment_volume(model(), lm.read_stack(stack_of(*SPHERES)), "particles")
    assert "voxels" in volume.text and any("--pixel-size" in note for note in volume.notes)
    volume = lm.segment_volume(model(), lm.read_stack(stack_of(*SPHERES), 2.0), "particles")
    assert any("--step NM" in note for note in volume.notes)
    empty = lm.segment_volume(model(), np.zeros((4, 40, 50), np.float32), "particles")
    assert empty.count == 0 and empty.text == "Found no particles in the stack." and empty.table().empty
    with pytest.raises(InputError, match="single plane"):
        lm.segment_volume(model(), np.zeros((40, 50), np.float32), "particles")
    with pytest.raises(InputError, match="no axis 't'"):
        lm.segment_volume(model(), stack_of(*SPHERES), "particles", VolumeOptions(page="t=0"))


@pytest.fixture
def known(monkeypatch):
    assistant = model()
    monkeypatch.setattr(lm, "load_assistant", lambda preset, **how: assistant, raising=False)
    monkeypatch.setattr("lisa_micro.cli.loading.prepare_language_model", lambda preset: None)
    return assistant


def test_the_command_line_on_a_stack(tmp_path, known, capsys):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path,
        stack_of(*SPHERES),
        imagej=True,
        resolution=(0.5, 0.5),
        metadata={"axes": "ZYX", "unit": "nm", "spacing": 4.0},
    )
    out = tmp_path / "out"
    assert call("segment", path, "particles", "--volume", "--out", out) == 0
    assert "Found 3 particles in 20 slices" in capsys.readouterr().out
    table = pd.read_csv(out / "volumes.csv")
    assert table["volume_nm3"].to_numpy() == pytest.approx(table["volume_voxels"].to_numpy() * 16.0)
    record = json.loads((out / "volume.json").read_text())
    assert record["step_nm"] == 4.0 and record["instances"] == 3 and record["prompt"] == "particles"
    assert call("segment", path, "particles", "--volume", "--step", "2", "--out", out, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["step_nm"] == 2.0
    assert not [entry for entry in out.iterdir() if entry.name.startswith(".")]  # no temporary folder is left
    for arguments, words in (
        (("--page", "z=30"), "no axis 'z=30'|there is no z=30"),
        (("--channel", "HAADF"), "has no channels"),
        (("--volume", "--page", "c=1"), "no axis 'c'"),
        (("--volume", "--box", "1,1,9,9"), "by words alone"),
        (("--volume", "--export", "roi"), "exported as zarr, not as roi"),
        (("--step", "3"), "--step belongs to --volume"),
        (("--volume", "--field", "0,0,9,9"), "--field does not apply"),
    ):
        error = failed(capsys, "segment", path, "particles", "--out", tmp_path / "other", *arguments)
        assert re.search(words, error), error


def test_the_command_line_reads_a_plane_part_by_part(tmp_path, known, capsys):
    zarr = pytest.importorskip("zarr")
    from stack_files import write_omezarr

    pixels = np.stack([discs((150, 200), (40, 40, 12)), discs((150, 200), (60, 60, 15), (150, 90, 20))])
    path = write_omezarr(tmp_path / "film.zarr", pixels, "cyx", [1.0, 3.0, 3.0], channels=("BF", "HAADF"), chunk=64)
    out = tmp_path / "out"
    arguments = ("segment", path, "particles", "--channel", "haadf", "--lazy", "--export", "zarr", "--out", out)
    assert call(*arguments) == 0
    assert "2 particles" in capsys.readouterr().out
    labels = tifffile.imread(out / "labels.tif")
    assert labels.shape == (150, 200) and labels[90, 150] != labels[60, 60] and labels[90, 150] > 0
    group = zarr.open_group(str(out / "image.zarr"), mode="r")
    assert (np.asarray(group["labels/particle/0"]) == labels).all()
    assert (np.asarray(group["0"]) == pixels[1]).all()
    again = lm.read_stack(out / "image.zarr")
    assert again.pixel_size_nm == pytest.approx(3.0)
    assert call("segment", path, "particles", "--channel", "1", "--out", tmp_path / "whole") == 0
    whole = tifffile.imread(tmp_path / "whole" / "labels.tif")
    assert ((whole > 0) == (labels > 0)).mean() > 0.99
    (path / "0" / "0.1.1").unlink()
    capsys.readouterr()
    for more in ((), ("--lazy",)):
        assert call("segment", path, "x", "--channel", "HAADF", "--out", tmp_path / "bad", *more) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and "The chunk 0.1.1 of" in error and "--missing-chunks fill" in error
    filled = ("--missing-chunks", "fill", "--out", tmp_path / "filled")
    assert call("segment", path, "x", "--channel", "HAADF", *filled) == 0
    capsys.readouterr()
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    assert "cannot be read part by part" in failed(capsys, "segment", tmp_path / "a.png", "x", "--lazy")


def test_volumes_as_omezarr(tmp_path, known):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack_of(*SPHERES), metadata=None, photometric="minisblack")
    out = tmp_path / "out"
    sizes = ("--pixel-size", "2", "--step", "5")
    assert call("segment", path, "particles", "--volume", *sizes, "--export", "zarr", "--out", out) == 0
    group = zarr.open_group(str(out / "image.zarr"), mode="r")
    labels = tifffile.imread(out / "labels.tif")
    assert (np.asarray(group["labels/particle/0"]) == labels).all()
    again = lm.read_stack(out / "image.zarr")
    assert again.step_nm == pytest.approx(5.0) and again.sizes == {"z": 20}
