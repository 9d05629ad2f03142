"""Planes that are segmented part by part give what the whole gives, in runs, tables and files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from known_engine import KnownEngine, ask, discs, same, scene
from stack_files import write_omezarr

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.large_images.planes.maps import MapStore
from lisa_micro.types import InputError

RING = [(130.3 + 42 * np.cos(a), 150.6 + 42 * np.sin(a), 18 + a / 9) for a in 0.1 + np.arange(8) * np.pi / 4]
"""Eight touching particles around a pore: x, y, radius px."""


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks and groups on a small plane."""
    monkeypatch.setattr("lisa_micro.large_images.planes.found.CORE", 70)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.LEAST_REACH", 40)
    monkeypatch.setattr("lisa_micro.large_images.planes.measure.BLOCK", 64)


def assistant(reply="The particles are [SEG].", presence=0.99):
    return Assistant(KnownEngine(reply, presence), "known", "", tiled_segmenter)


def on_plane(pixels, reply="The particles are [SEG].", nm=None, presence=0.99, **more):
    plane = lm.read_stack(pixels, nm).plane()
    return lm.segment_plane(assistant(reply, presence), plane, "words", tile=64, halo=16, **more)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_give_the_instances_of_the_whole(small_blocks, seed):
    pixels = scene(seed)
    found, whole = on_plane(pixels).segments[0], ask(pixels).segments[0]
    assert same(np.asarray(found.labels), whole.labels)
    columns = ["centroid_x_px", "centroid_y_px"]
    one = found.table().sort_values(columns).reset_index(drop=True)
    other = whole.table().sort_values(columns).reset_index(drop=True)
    assert list(one.columns) == list(other.columns)
    other.loc[other["gap_px"] > 128, "gap_px"] = np.nan
    for name in set(one.columns) - {"label", "agglomerate"}:
        assert one[name].to_numpy(float) == pytest.approx(other[name].to_numpy(float), nan_ok=True), name
    assert ((one["agglomerate"] > 0) == (other["agglomerate"] > 0)).all()


def test_what_is_larger_than_a_block_is_one_instance(small_blocks):
    pixels = discs((400, 400), (200, 200, 150), (30, 30, 12))
    found = on_plane(pixels).segments[0]
    assert same(np.asarray(found.labels), ask(pixels).segments[0].labels)
    assert sorted(found.table()["area_px2"]) == sorted(np.bincount(np.asarray(found.labels).ravel())[1:])


@pytest.mark.parametrize("concept", ["neck", "pore", "agglomerate", "substrate"])
def test_structures_of_particles(small_blocks, monkeypatch, concept):
    monkeypatch.setattr("lisa_micro.large_images.planes.found.CORE", 150)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.LEAST_REACH", 90)
    pixels = discs((300, 460), *RING, (320.2, 20.7, 15), (348.1, 21.4, 15.6), (430, 280, 10))
    reply = f"The {concept}s are [SEG]." if concept != "substrate" else "The substrate is [SEG]."
    found, whole = on_plane(pixels, reply).segments[0], ask(pixels, reply).segments[0]
    assert found.concept == concept and same(np.asarray(found.labels), whole.labels)
    if concept == "neck":
        assert sorted(found.table()["neck_width_px"]) == pytest.approx(sorted(whole.table()["neck_width_px"]))


def test_constraints_values_and_the_pixel_size_refer_to_the_plane(small_blocks):
    pixels = discs((200, 420), *((30 + 60 * k, 40 + 110 * (k % 2), 8 + k) for k in range(7)))
    reply = (
        "There are <value>count</value> particles [SEG], <value>mean diameter</value>, <value>area fraction</value>."
    )
    answer, whole = on_plane(pixels, reply, 0.5), ask(pixels, reply, nm=0.5)
    assert answer.text == whole.text and "nm" in answer.text
    narrowed = "[SEG]<where>in left half; largest 2</where>"
    found, whole = on_plane(pixels, narrowed).segments[0], ask(pixels, narrowed).segments[0]
    assert found.count == 2 and ((np.asarray(found.labels) > 0) == (whole.labels > 0)).all()


def test_absence_is_told(small_blocks):
    answer = on_plane(scene(), presence=0.1)
    assert answer.answer.declined and not answer.segments and "no particles" in answer.text


RELATIONS = (
    "touching {particle largest 1}",
    "within 12 nm of {particle nearest 2 to left edge}",
    "nearest 3 to {particle largest 1}",
    "touching >= 2 {particle}",
    "larger than {particle in left half}",
    "right of {particle largest 2}",
    "closest pair",
    "touching {pore}",
    "nearest 1 to left edge",
)


@pytest.mark.parametrize("where", RELATIONS)
def test_relations_in_a_plane_are_those_of_the_whole(small_blocks, monkeypatch, where):
    monkeypatch.setattr("lisa_micro.large_images.planes.found.CORE", 150)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.LEAST_REACH", 90)
    monkeypatch.setattr("lisa_micro.execution.outlines.WINDOW", 90)
    pixels = discs(
        (300, 460), *RING, (320.2, 20.7, 15), (348.1, 21.4, 15.6), (430, 280, 10), (40, 40, 13), (75, 40, 12)
    )
    reply = f"There are <value>count</value> particles [SEG]<where>{where}</where>."
    found, whole = on_plane(pixels, reply, 0.5), ask(pixels, reply, nm=0.5)
    assert found.text == whole.text and whole.segments
    assert ((np.asarray(found.segments[0].labels) > 0) == (whole.segments[0].labels > 0)).all()


def test_what_lies_inside_in_a_plane(small_blocks, monkeypatch):
    monkeypatch.setattr("lisa_micro.large_images.planes.found.CORE", 150)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.LEAST_REACH", 90)
    pixels = discs((300, 460), *RING, (320.2, 20.7, 15), (348.1, 21.4, 15.6))
    for reply in (
        "pores [SEG]<where>inside {agglomerate}</where>",
        "agglomerates [SEG]<where>containing {pore}</where>",
    ):
        found, whole = on_plane(pixels, reply).segments, ask(pixels, reply).segments
        assert found[0].count == whole[0].count == 1
        assert ((np.asarray(found[0].labels) > 0) == (whole[0].labels > 0)).all()
    monkeypatch.setattr("lisa_micro.execution.geometry.LARGEST", 60)
    refused = on_plane(pixels, reply)
    assert not refused.segments and "cannot be told in an image that is read part by part" in refused.text


def test_relations_to_what_is_absent_are_told(small_blocks):
    answer = on_plane(discs((200, 300), (50, 50, 20)), "[SEG]<where>touching {pore}</where>")
    assert not answer.segments and "There are no pores to compare with." in answer.notes


def test_a_zarr_plane_becomes_files_that_agree(small_blocks, tmp_path):
    pytest.importorskip("zarr")
    pixels = (scene(1) * 1000).astype(np.uint16)
    path = write_omezarr(tmp_path / "a.zarr", pixels, scale=[2.0, 2.0], chunk=50)
    answer = lm.segment_plane(assistant(), lm.read_stack(path).plane(), "words", tile=64, halo=16, scratch=tmp_path)
    written = answer.save(tmp_path / "out")
    assert {one.name for one in written} == {"overlay.png", "labels.tif", "instances.csv", "answer.json"}
    labels = tifffile.imread(tmp_path / "out" / "labels.tif")
    assert (labels == np.asarray(answer.segments[0].labels)).all()
    assert lm.read_labels(tmp_path / "out" / "labels.tif").pixel_size_nm == pytest.approx(2.0)
    table = pd.read_csv(tmp_path / "out" / "instances.csv")
    assert table["area_nm2"].tolist() == pytest.approx((4.0 * np.bincount(labels.ravel())[1:]).tolist())
    record = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert record["image"]["width_px"] == 260 and record["image"]["pixel_size_nm"] == pytest.approx(2.0)
    assert record["segments"][0]["instances"] == len(table)
    assert not [one for one in tmp_path.iterdir() if "maps" in one.name]  # the temporary file is gone


def test_a_damaged_chunk_or_a_model_without_tiles_is_one_sentence(tmp_path):
    pytest.importorskip("zarr")
    path = write_omezarr(tmp_path / "a.zarr", scene(1), chunk=50)
    (path / "0" / "3.3").unlink()
    with pytest.raises(InputError, match=r"chunk 3.3 of .* is missing"):
        lm.segment_plane(assistant(), lm.read_stack(path).plane(), "words")
    plain = Assistant(KnownEngine("[SEG]"), "other", "")
    with pytest.raises(InputError, match="'other' cannot segment in tiles"):
        lm.segment_plane(plain, lm.read_stack(scene()).plane(), "words")
    with pytest.raises(InputError):
        lm.segment_plane(assistant(), lm.read_stack(scene()).plane(), "  ")


def test_maps_in_a_file_are_read_in_any_window():
    maps = np.random.default_rng(0).integers(0, 255, (2, 700, 2500)).astype(np.uint8)
    store = MapStore(2, (700, 2500))
    edges = (0, 3, 260, 600, 700)
    for top, stop in zip(edges, edges[1:], strict=False):
        store.append(maps[:, top:stop])
    for y0, y1, x0, x1 in ((0, 700, 0, 2500), (255, 257, 2047, 2049), (10, 600, 5, 2100)):
        assert (store.read(y0, y1, x0, x1) == maps[:, y0:y1, x0:x1]).all()
    store.close()
