"""Runs in one process: tables, failures, resuming, folders that cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
from batch_images import disc_image, make_folder, marked, tables, write_image
from batch_stand_in import StandInSource, Thresholding

import lisa_micro as lm
from lisa_micro.batch import BatchOptions, Callbacks, ExemplarRequest, Reading, WordsRequest
from lisa_micro.cli.main import main
from lisa_micro.exemplar import Exemplar, read_exemplar
from lisa_micro.protocols import Capabilities
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import InputError


def run(items, out, prompt="segment particles", **options):
    how = BatchOptions(**{"report": False, **options})
    return lm.batch(items, prompt, out, "serial", assistant=StandInSource(), options=how)


def test_tables_hold_what_was_measured(tmp_path):
    folder = make_folder(tmp_path / "in", 5, 2)
    result = run(folder, tmp_path / "out", group_by="folder")
    images, instances = result.images(), result.instances()
    assert list(images["image"]) == sorted(images["image"]) and set(images["group"]) == {"A", "B"}
    for _, row in images.iterrows():
        rows = instances[instances["image"] == row["image"]]
        assert len(rows) == row["count"]
        assert rows["diameter_nm"].mean() == pytest.approx(row["mean_diameter_nm"])
        assert row["number_density_per_um2"] == pytest.approx(row["count"] / (48 * 48 * 0.25) * 1e6)
        labels = lm.read_labels(tmp_path / "out" / row["folder"] / "labels_1_1.tif")
        assert labels.pixels.max() == row["count"] and labels.pixel_size_nm == pytest.approx(0.5)
        assert (tmp_path / "out" / row["folder"] / "overlay_1.jpg").is_file()
    from_csv = pd.read_csv(tmp_path / "out" / "instances.csv", float_precision="round_trip")
    assert np.array_equal(from_csv["diameter_nm"], instances["diameter_nm"])
    assert result.counts.done == 5 and result.counts.instances == len(instances)
    progress = json.loads((tmp_path / "out" / "progress.json").read_text())
    assert progress["done"] == progress["total"] == 5


def test_several_requests_about_each_image_and_a_request_object(tmp_path):
    folder = make_folder(tmp_path / "in", 2, 1)
    result = run(folder, tmp_path / "out", ["segment particles", WordsRequest("nothing")])
    images = result.images()
    assert list(images["request"]) == [1, 2, 1, 2]
    assert list(images["count"] > 0) == [True, False, True, False] and images["declined"].tolist()[1]


def test_images_with_and_without_a_pixel_size_share_the_tables(tmp_path):
    write_image(tmp_path / "in" / "a.tif", disc_image(0))
    write_image(tmp_path / "in" / "b.tif", disc_image(1), nm=None)
    instances = run(tmp_path / "in", tmp_path / "out").instances()
    known = instances["diameter_nm"].notna()
    assert set(instances["image"][known]) == {"a.tif"} and set(instances["image"][~known]) == {"b.tif"}
    images = pd.read_csv(tmp_path / "out" / "images.csv")
    assert images["number_density_per_um2"].notna().tolist() == [True, False]
    assert images["number_density_per_Mpx"].notna().tolist() == [False, True]


def test_broken_images_are_rows_with_one_sentence_each(tmp_path):
    folder = make_folder(tmp_path / "in", 4, 1)
    whole = (folder / "A" / "film_000.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    write_image(folder / "defect.tif", marked(254))
    tifffile.imwrite(folder / "huge.tif", np.zeros((1, 20000), np.uint8))
    os.symlink(folder / "gone.tif", folder / "gone_link.tif")
    result = run(folder, tmp_path / "out")
    failed = result.failed()
    assert result.counts.done == 4 and result.counts.failed == 6
    assert sorted(failed["image"]) == sorted(
        ["cut.tif", "defect.tif", "empty.tif", "gone_link.tif", "huge.tif", "text.png"]
    )
    for sentence in failed["sentence"]:
        assert sentence.endswith(".") and "\n" not in sentence
    assert "20000" in failed.set_index("image")["sentence"]["huge.tif"]


def test_an_interrupted_run_resumes_to_the_same_tables(tmp_path):
    folder = make_folder(tmp_path / "in", 6, 2)
    run(folder, tmp_path / "whole")
    asked = []

    def stop(progress):
        asked.append(progress.done)
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lm.batch(
            folder,
            "segment particles",
            tmp_path / "out",
            "serial",
            assistant=StandInSource(),
            options=BatchOptions(report=False),
            callbacks=Callbacks(progress=stop),
        )
    assert len(list((tmp_path / "out" / "items").glob("*/*/item.json"))) == 3
    done = []
    result = lm.batch(
        folder,
        "segment particles",
        tmp_path / "out",
        "serial",
        assistant=StandInSource(),
        options=BatchOptions(report=False, resume=True),
        callbacks=Callbacks(progress=done.append),
    )
    assert result.counts.done == 6 and len(done) == 3 and done[0].earlier == 3
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


def test_new_images_join_a_finished_run_and_failed_ones_are_tried_again(tmp_path):
    folder = make_folder(tmp_path / "in", 2, 1)
    (folder / "late.tif").write_bytes(b"")
    assert run(folder, tmp_path / "out").counts.failed == 1
    write_image(folder / "new.tif", disc_image(7))
    again = run(folder, tmp_path / "out", resume=True)
    assert (again.counts.done, again.counts.failed) == (3, 1)
    stat = os.stat(folder / "late.tif")
    write_image(folder / "late.tif", disc_image(8))
    os.utime(folder / "late.tif", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    last = run(folder, tmp_path / "out", retry_failed=True)
    assert (last.counts.done, last.counts.failed) == (4, 0)


def test_failures_are_kept_by_resume_and_redone_by_retry(tmp_path):
    folder = make_folder(tmp_path / "in", 1, 1)
    write_image(folder / "defect.tif", marked(254))

    class Repaired(Thresholding):
        def open_conversation(self, image, tiling="auto", **_):
            image.pixels[0, 0] = 0
            return super().open_conversation(image, tiling)

    def again(**options):
        how = BatchOptions(report=False, **options)
        return lm.batch(folder, "p", tmp_path / "out", "serial", assistant=Repaired(), options=how).counts

    assert run(folder, tmp_path / "out", "p").counts.failed == 1
    assert again(resume=True).failed == 1
    assert again(retry_failed=True).failed == 0


def test_folders_that_cannot_be_used(tmp_path):
    folder = make_folder(tmp_path / "in", 1, 1)
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="--resume"):
        run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="another run"):
        run(folder, tmp_path / "out", "segment pores", resume=True)
    with pytest.raises(InputError, match="another run"):
        run(folder, tmp_path / "out", resume=True, reading=Reading(pixel_size_nm=2.0))

    class Other(Thresholding):
        weights_sha256 = "cd" * 32

    with pytest.raises(InputError, match="weights"):
        lm.batch(
            folder, "segment particles", tmp_path / "out", "serial", assistant=Other(),
            options=BatchOptions(report=False, resume=True),
        )  # fmt: skip
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        run(folder, tmp_path / "file")


def test_a_full_disk_ends_the_run_with_one_sentence_and_keeps_what_was_done(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "in", 4, 1)
    import lisa_micro.batch.store as store

    write, calls = store.columns_text, []

    def fail_later(columns):
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        return write(columns)

    monkeypatch.setattr(store, "columns_text", fail_later)
    with pytest.raises(InputError, match="No space left on device.*--resume"):
        run(folder, tmp_path / "out")
    assert len(list((tmp_path / "out" / "items").glob("*/*/item.json"))) == 2
    assert not list((tmp_path / "out" / "items").glob("*/.*"))
    monkeypatch.undo()
    assert run(folder, tmp_path / "out", resume=True).counts.done == 4


def test_the_results_inside_the_images_folder_are_not_images(tmp_path):
    folder = make_folder(tmp_path / "in", 2, 1)
    run(folder, folder / "out", overlays="all")
    assert run(folder, folder / "out", resume=True).counts.done == 2


def test_options_that_do_not_exist():
    for bad in ({"pages": "second"}, {"overlays": "few"}, {"limit": 0}):
        with pytest.raises(InputError):
            BatchOptions(**bad)
    with pytest.raises(InputError):
        Reading(tiles="mosaic")


def test_engines_that_cannot_be_used(tmp_path):
    folder = make_folder(tmp_path / "in", 1, 1)
    with pytest.raises(InputError, match="serial, processes or dask"):
        lm.batch(folder, "p", tmp_path / "a", "threads", assistant=StandInSource())
    with pytest.raises(InputError, match="serial"):
        lm.batch(folder, "p", tmp_path / "b", "processes", assistant=Thresholding())


def test_the_function_is_the_package():
    import lisa_micro.batch as package

    assert lm.batch is package and callable(package)


class Alike(Thresholding):
    """Finds everything bright, whatever the example."""

    capabilities = Capabilities(words=True, exemplars=True)

    def segment_like(self, image, boxes=None, not_like=None, *, exemplar=None, words="", progress=None):
        assert exemplar.like == 1 and words == "larger than 5 nm"
        answer = self.open_conversation(image).ask("particles")
        return answer.segments[0] if answer.segments else Segmentation(np.zeros(image.shape, np.int32))


def example(path):
    numbers = np.ones((1, 4), np.float32), np.eye(4, dtype=np.float32), np.ones(4, np.float32)
    exemplar = Exemplar(*numbers, 1, 0, 20.0, 20.0, None, "ab", "film.tif")
    return exemplar.save(path)


def test_an_example_of_one_micrograph_finds_all_alike_in_a_folder(tmp_path):
    folder = make_folder(tmp_path / "in", 3, 1)
    request = ExemplarRequest(read_exemplar(example(tmp_path / "example.json")), "larger than 5 nm")
    how = BatchOptions(report=False)
    result = lm.batch(folder, request, tmp_path / "out", "serial", assistant=Alike, options=how)
    by_words = run(folder, tmp_path / "words")
    assert result.images()["count"].tolist() == by_words.images()["count"].tolist()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "all like the example of film.tif, larger than 5 nm" in json.dumps(record)


def test_an_example_needs_a_model_that_can(tmp_path):
    folder = make_folder(tmp_path / "in", 1, 1)
    request = ExemplarRequest(read_exemplar(example(tmp_path / "example.json")))
    with pytest.raises(InputError, match="cannot find what is like an example"):
        run(folder, tmp_path / "out", request)


def test_the_command_takes_an_example_or_words(tmp_path, capsys):
    folder = make_folder(tmp_path / "in", 2, 1)
    path = example(tmp_path / "example.json")
    with pytest.raises(SystemExit) as stop:
        main(["batch", str(folder), "--like", str(path), "--dry-run"])
    assert stop.value.code == 0 and "all like the example of film.tif" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["batch", str(folder), "--dry-run"])
    assert stop.value.code == 2


def test_the_driver_of_a_run_does_without_torch():
    code = "import sys, lisa_micro.batch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
