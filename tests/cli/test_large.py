"""`lisa-micro info` and `lisa-micro batch` on planes above the limit of memory, which the tests lower."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from cli_calls import call, failed
from known_engine import KnownEngine, scene
from stack_files import write_omezarr, write_plain_tiff

import lisa_micro
import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.batch import BatchOptions, Reading
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.results.formats.parts import Parts, write_parts
from lisa_micro.types import InputError

WORDS = "segment all particles"
REPLY = "There are <value>count</value> particles [SEG]."


@pytest.fixture
def limit(monkeypatch):
    """Planes above 200 px are read part by part; a test that reads one whole fails."""
    monkeypatch.setattr("lisa_micro.io.arrays.MAX_SIDE", 200)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.CORE", 70)
    monkeypatch.setattr("lisa_micro.large_images.planes.found.LEAST_REACH", 40)
    monkeypatch.setattr("lisa_micro.io.lazy.plane.Plane.__array__", None)


@pytest.fixture
def assistant(monkeypatch):
    known = Assistant(KnownEngine(REPLY), "known", "12" * 32, tiled_segmenter)
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: known, raising=False)
    return known


@pytest.fixture
def large(tmp_path):
    """An OME-Zarr of 260 x 300 px, 2 nm a pixel."""
    pytest.importorskip("zarr")
    pixels = (scene(1) * 1000).astype(np.uint16)
    return write_omezarr(tmp_path / "in" / "large.zarr", pixels, scale=[2.0, 2.0], chunk=50)


def described(capsys, *arguments):
    assert call("info", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_info_describes_a_large_plane_without_its_pixels(limit, large, capsys, monkeypatch):
    monkeypatch.setattr("lisa_micro.io.lazy.plane.Plane.read", None)
    (record,) = described(capsys, large)
    assert (record["width_px"], record["height_px"], record["type"], record["format"]) == (
        260,
        300,
        "uint16",
        "OME-Zarr",
    )
    assert (record["pixel_size_nm"], record["pixel_size_origin"]) == (2.0, "ome") and record["bytes"] is None
    assert record["field_of_view_nm"] == [520.0, 600.0] and record["chunk_px"] == [50, 50]
    assert record["read_in_parts"] and record["intensity"] is None and record["levels_px"] == []
    assert described(capsys, large, "--pixel-size", "3")[0]["pixel_size_origin"] == "user"
    assert call("info", large) == 0
    shown = capsys.readouterr().out
    assert "260 x 300 px, OME-Zarr uint16" in shown and "50 x 50 px" in shown and "part by part" in shown


def test_info_names_planes_channels_and_resolutions(limit, tmp_path, capsys):
    pytest.importorskip("zarr")
    stack = write_omezarr(
        tmp_path / "s.zarr",
        np.zeros((2, 3, 210, 220), np.uint8),
        "czyx",
        [1, 5, 2, 2],
        channels=("BF", "HAADF"),
        chunk=64,
    )
    (record,) = described(capsys, stack, "--page", "4")
    assert record["pages"] == 6 and record["axes"] == {"c": 2, "z": 3} and record["channels"] == ["BF", "HAADF"]
    assert "plane 4 (c=1, z=1, channel 'HAADF') is used" in " ".join(record["notes"])
    assert call("info", stack) == 0
    shown = capsys.readouterr().out
    assert "c 2, z 3" in shown and "BF, HAADF" in shown
    assert "no page 9" in failed(capsys, "info", stack, "--page", "9")
    assert "--field does not apply" in failed(capsys, "info", stack, "--field", "0,0,10,10")
    assert "--scale-bar does not apply" in failed(capsys, "info", stack, "--scale-bar", "0,0,10,0,5 nm")
    pyramid = tmp_path / "p.zarr"
    whole = np.zeros((1200, 800), np.float32)
    write_parts(pyramid, Parts(lambda part: whole[part], whole.shape, np.dtype(np.float32)), {}, (2.0, 2.0), "p")
    (record,) = described(capsys, pyramid)
    assert record["levels_px"][:2] == [[800, 1200], [400, 600]] and len(record["chunk_px"]) == 2


def test_info_on_large_tiff_files_and_on_pictures(limit, tmp_path, capsys):
    from PIL import Image

    plain = write_plain_tiff(tmp_path / "a.tif", (300, 250))
    tiled = tmp_path / "b.tif"
    with tifffile.TiffWriter(tiled) as file:
        about = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack"}
        file.write(np.zeros((512, 384), np.uint8), subifds=1, **about)
        file.write(np.zeros((256, 192), np.uint8), subfiletype=1, **about)
    one, other = described(capsys, plain, tiled)
    assert (one["height_px"], one["chunk_px"], one["bytes"]) == (300, None, plain.stat().st_size)
    assert other["chunk_px"] == [64, 64] and other["levels_px"] == [[384, 512], [192, 256]]
    Image.new("L", (250, 30)).save(tmp_path / "c.png")
    assert "above the limit of 200 x 200" in failed(capsys, "info", tmp_path / "c.png")


def test_info_tells_how_a_small_omezarr_is_stored(large, capsys):
    (record,) = described(capsys, large)
    assert record["chunk_px"] == [50, 50] and not record["read_in_parts"] and record["intensity"][1] > 0


class EverythingRequest:
    """A request of one's own, for micrographs in memory alone."""

    title = "everything"

    def record(self):
        return {"kind": "everything"}

    def check(self, capabilities, preset):
        pass

    def answer(self, assistant, image, tiling):
        raise AssertionError("the plane was read whole")


def batch(large, out, words=WORDS, **options):
    return lm.batch(large, words, out, "serial", assistant=options.pop("assistant"), options=BatchOptions(**options))


def test_batch_gives_what_segment_gives(limit, large, assistant, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = tmp_path / "in" / "small.tif"
    tifffile.imwrite(small, (scene(2, (120, 110), 8) * 1000).astype(np.uint16))
    arguments = ("--engine", "serial", "--out", "many", "--overlays", "all", "--no-report", "--json")
    assert call("batch", "in", WORDS, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 2
    assert call("segment", large, WORDS, "--out", "one", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    images = pd.read_csv("many/images.csv").set_index("image")
    row = images.loc["large.zarr"]
    assert (row["width_px"], row["height_px"], row["pixel_size_nm"], row["pixel_size_origin"]) == (260, 300, 2.0, "ome")
    assert row["reply"] == record["reply"] and row["count"] == record["segments"][0]["instances"] > 10
    assert "read part by part" in row["notes"] and pd.isna(images.loc["small.tif", "pixel_size_nm"])
    labels = tifffile.imread("one/labels.tif")
    assert np.array_equal(tifffile.imread(f"many/{row['folder']}/labels_1_1.tif"), labels)
    assert (tmp_path / "many" / row["folder"] / "overlay_1.jpg").is_file()
    assert row["area_px2"] == np.count_nonzero(labels)
    assert row["area_fraction"] == pytest.approx(np.count_nonzero(labels) / labels.size)
    instances = pd.read_csv("many/instances.csv")
    mine = instances[instances["image"] == "large.zarr"].reset_index(drop=True)
    alone = pd.read_csv("one/instances.csv")
    assert len(mine) == len(alone) and set(alone.columns) <= set(mine.columns)
    for name in alone.select_dtypes("number"):
        assert mine[name].to_numpy(float) == pytest.approx(alone[name].to_numpy(float), nan_ok=True), name
    assert row["mean_diameter_nm"] == pytest.approx(alone["diameter_nm"].mean())
    assert not list((tmp_path / "many").glob(".lisa-micro-maps*"))


def test_several_requests_planes_and_the_report(limit, assistant, tmp_path):
    pytest.importorskip("zarr")
    planes = np.stack([scene(1), 0 * scene(1), scene(2)]) * 1000
    path = write_omezarr(tmp_path / "s.zarr", planes.astype(np.uint16), "zyx", [5, 2, 2], chunk=64)
    run = batch(path, tmp_path / "out", [WORDS, "the same again"], assistant=assistant)
    images = run.images()
    assert images["page"].tolist() == [0, 0, 1, 1, 2, 2] and images["request"].tolist() == [1, 2] * 3
    assert (images["count"] > 0).tolist() == [True, True, False, False, True, True]
    assert run.counts.done == 3 and (tmp_path / "out" / "report.html").is_file()
    again = batch(path, tmp_path / "out", [WORDS, "the same again"], assistant=assistant, resume=True, report=False)
    assert again.counts == run.counts


def test_what_cannot_be_done_part_by_part_is_a_row_with_one_sentence(limit, large, assistant, tmp_path):
    off = batch(large, tmp_path / "off", assistant=assistant, reading=Reading(tiles="off"), report=False)
    assert "use --tiles auto" in off.failed()["sentence"][0]

    own = batch(large, tmp_path / "own", EverythingRequest(), assistant=assistant, report=False)
    assert "requests in words alone" in own.failed()["sentence"][0]
    (large / "0" / "2.2").unlink()
    damaged = batch(large, tmp_path / "damaged", assistant=assistant, report=False)
    assert "The chunk 2.2 of" in damaged.failed()["sentence"][0] and damaged.counts.done == 0


def test_batch_fills_missing_chunks_only_where_it_is_asked_to(large, assistant, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lisa_micro.io.arrays.MAX_SIDE", 200)
    small = write_omezarr(tmp_path / "in" / "small.zarr", (scene(2, (120, 110), 8) * 1000).astype(np.uint16), chunk=60)
    (large / "0" / "2.2").unlink()
    (small / "0" / "1.1").unlink()
    arguments = ("batch", "in", WORDS, "--engine", "serial", "--no-report", "--json")
    assert "No image could be used" in failed(capsys, *arguments, "--out", "refused")
    sentences = pd.read_csv("refused/failed.csv")["sentence"]
    assert len(sentences) == 2 and sentences.str.contains("--missing-chunks fill").all()
    filling = ("--missing-chunks", "fill")
    assert call(*arguments, "--out", "filled", *filling) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 2
    assert call("segment", large, WORDS, "--out", "one", "--json", *filling) == 0
    record = json.loads(capsys.readouterr().out)
    assert pd.read_csv("filled/images.csv").set_index("image").loc["large.zarr", "reply"] == record["reply"]
    assert "other options" in failed(capsys, *arguments, "--out", "filled", "--resume")
    with pytest.raises(InputError, match="choose error or fill"):
        Reading(missing_chunks="zero")
