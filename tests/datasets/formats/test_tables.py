"""Label folders and tables of sentences become records with the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_sources import (
    SHAPE,
    THREE,
    TWO,
    by_name,
    clean,
    labelled,
    picture,
    save,
    write_labels_at,
)

from lisa_micro.cli.main import main
from lisa_micro.datasets.formats.drafts import Faults
from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.datasets.records import read_records


def test_label_folders_keep_every_pixel_and_get_conversations_that_are_true(tmp_path):
    source = labelled(tmp_path / "in")
    save(source / "images/bare.png", picture(9))
    done = convert(source, tmp_path / "out", Choices(pixel_size_nm=0.5, modality="SEM", conversations=3))
    assert (done.kind, done.images, done.sources) == ("labels", 3, 3) and sum(done.records.values()) == 9
    assert done.notes == ("images without labels, left out: 1",)
    for k in range(3):
        (image,) = (tmp_path / "out/images").glob(f"scan_{k}.png")
        assert image.read_bytes() == (source / f"images/scan {k}.png").read_bytes()
        for example in by_name(tmp_path / "out")[f"scan_{k}"]:
            assert np.array_equal(example.labels, TWO if k % 2 else THREE) and not example.semantic
            assert example.micrograph.pixel_size_nm == 0.5 and example.micrograph.modality == "SEM"
            assert example.turns and all(t.assistant.count("[SEG]") == len(t.targets) for t in example.turns)
    clean(tmp_path / "out")


def test_the_same_seed_gives_the_same_bytes_and_another_another_split(tmp_path):
    source = labelled(tmp_path / "in", 8)
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        convert(source, tmp_path / name, Choices(seed=seed))
        texts.append((tmp_path / name / "metadata.jsonl").read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_folders_of_concepts_masks_and_given_names(tmp_path):
    source = labelled(tmp_path / "in")
    for k in range(3):
        (source / "labels/oxide shells").mkdir(exist_ok=True)
        save(source / f"labels/oxide shells/scan {k}.png", (TWO == 1).astype(np.uint8) * 255)
        write_labels_at(source / f"labels/dirt/scan {k}.tif", TWO)
    done = convert(source, tmp_path / "out", Choices(concepts={"oxide shells": "shell", "dirt": ""}))
    assert [(c.name, c.plural) for c in done.custom_concepts] == [("shell", "shells")]
    for example in read_record_folder(tmp_path / "out"):
        assert set(example.concept_labels) == {"shell"} and np.array_equal(
            example.concept_labels["shell"], (TWO == 1).astype(np.int32)
        )
        assert example.labels.max() in (2, 3)
    assert "shells" in (tmp_path / "out/dataset.yaml").read_text()
    clean(tmp_path / "out")


def test_labels_beside_their_images_and_masks_stay_masks(tmp_path):
    for k in range(3):
        save(tmp_path / f"in/a{k}.png", picture(k))
        save(tmp_path / f"in/a{k}_mask.png", (THREE > 0).astype(np.uint8) * 255)
    convert(tmp_path / "in", tmp_path / "out")
    examples = by_name(tmp_path / "out")
    assert set(examples) == {"a0", "a1", "a2"}
    for (example,) in examples.values():
        assert example.semantic and np.array_equal(example.labels > 0, THREE > 0)
    clean(tmp_path / "out")


def test_parts_of_the_source_are_kept_unless_a_share_is_given(tmp_path):
    for part, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        for k in numbers:
            save(tmp_path / f"in/{part}/images/{k}.png", picture(k))
            write_labels_at(tmp_path / f"in/{part}/labels/{k}.tif", TWO)
    convert(tmp_path / "in", tmp_path / "out")
    split = {Path(r.file_name).stem: r.split for r in read_records(tmp_path / "out")}
    assert split == {"0": "train", "1": "train", "2": "train", "3": "validation"}
    assert convert(tmp_path / "in", tmp_path / "none", Choices(validation=0)).records == {"train": 4}


def test_each_label_image_of_another_size_is_reported_and_nothing_is_written(tmp_path, capsys):
    source = labelled(tmp_path / "in", 4)
    for k in (1, 2):
        write_labels_at(source / f"labels/scan {k}.tif", TWO[:, :70])
    (source / "images/scan 3.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit) as stopped:
        main(["data", "convert", str(source), "--out", str(tmp_path / "new/out")])
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 4 and lines[-1].startswith("error: ")
    assert "scan 1.tif: scan 1.tif is 70 x 64 px, the image 80 x 64 px" in lines[0] and "3 things" in lines[-1]
    assert list((tmp_path / "new").iterdir()) == []


def test_sentences_about_masks_concepts_and_absent_objects(tmp_path):
    source = tmp_path / "in"
    for k in range(2):
        save(source / f"images/{k}.png", picture(k))
    save(source / "masks/crack.png", (TWO == 1).astype(np.uint8) * 255)
    write_labels_at(source / "masks/shells.tif", THREE)
    save(source / "masks/nothing.png", np.zeros(SHAPE, np.uint8))
    (source / "sentences.csv").write_text(
        "image;mask;sentence;concept\n"
        '0.png;crack.png;"the thing that broke;\nshow it";\n'
        "0.png;shells.tif;Where are the coatings?;shell\n"
        "1.png;nothing.png;anything broken?;\n"
        "1.png;;any coatings?;shell\n",
        encoding="utf-8-sig",
    )
    convert(source, tmp_path / "out", Choices(validation=0.5))
    zero, one = (by_name(tmp_path / "out")[name] for name in ("0", "1"))
    assert [e.turns[0].user for e in zero] == ["the thing that broke; show it", "Where are the coatings?"]
    assert zero[0].turns[0].assistant == "Here it is [SEG]."
    assert np.array_equal(zero[0].target_labels(zero[0].turns[0].targets[0]), TWO == 1)
    assert zero[1].turns[0].assistant == "Here are the shells [SEG]."
    assert np.array_equal(zero[1].target_labels(zero[1].turns[0].targets[0]), THREE)
    assert [e.turns[0].assistant for e in one] == [
        "<absent>There is nothing of the kind in this micrograph.",
        "<absent>There are no shells in this micrograph.",
    ]
    clean(tmp_path / "out")


def test_all_broken_sentences_are_reported_with_their_lines(tmp_path):
    save(tmp_path / "a.png", picture(0))
    save(tmp_path / "m.png", TWO.astype(np.uint8))
    save(tmp_path / "n.png", THREE.astype(np.uint8))
    save(tmp_path / "small.png", np.ones((9, 9), np.uint8))
    table = tmp_path / "t.csv"
    table.write_text(
        "image,mask,sentence,concept\n"
        "b.png,m.png,one,\n"
        "a.png,lost.png,two,\n"
        "a.png,m.png,,\n"
        "a.png,m.png,say [SEG],\n"
        "a.png,small.png,three,\n"
        "a.png,m.png,four,shell\n"
        "a.png,n.png,five,shell\n"
        "a.png,m.png,six, and more,\n"
    )
    with pytest.raises(Faults) as told:
        convert(table, tmp_path / "../out-of-it" / tmp_path.name)
    faults = sorted(told.value.faults)
    assert [int(f.split(" line ")[1].split(":")[0]) for f in faults] == [2, 3, 4, 5, 6, 8, 9]
    for fault, said in zip(
        faults,
        ("no image 'b.png'", "no mask 'lost.png'", "no sentence", "[SEG]", "9 x 9 px", "m.png already", "quote"),
        strict=True,
    ):
        assert said in fault
