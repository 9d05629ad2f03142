"""``lisa-micro data convert``: detection of formats, merged corrections, and the folder that is written."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from foreign_sources import (
    SHAPE,
    TWO,
    by_name,
    clean,
    coco_set,
    discs,
    labelled,
    picture,
    save,
    write_json,
    write_labels_at,
)

from lisa_micro.cli.main import main
from lisa_micro.correction.examples import save_example
from lisa_micro.datasets.formats.detect import find_kind
from lisa_micro.datasets.formats.drafts import Faults
from lisa_micro.datasets.preparation import converting
from lisa_micro.datasets.preparation.checking import check_folder
from lisa_micro.datasets.preparation.checking_report import pictures
from lisa_micro.datasets.preparation.converting import Choices, convert
from lisa_micro.datasets.records import read_records
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph


def corrected_folder(folder: Path, seeds: tuple[int, ...], stem: str = "film") -> Path:
    for seed in seeds:
        image = Micrograph(picture(seed).astype(np.float32), 0.4)
        shells = Segmentation(TWO, concept="shell", phrase="the shells", target=1)
        some = Segmentation(discs((20, 20, 10)), concept="particle", phrase="the grain", where="largest 1", target=1)
        answers = [
            Answer("The shells.", (shells,), "shells?", raw="Here are the shells [SEG]."),
            Answer("The grain.", (some,), "the biggest", raw="Here is the particle [SEG]<where>largest 1</where>."),
        ]
        save_example(folder, image, answers, stem)
    (folder / "dataset.yaml").write_text("concepts:\n  shell: [shell, shells]\n")
    return folder


def test_corrections_of_several_sessions_become_one_set(tmp_path):
    corrected_folder(tmp_path / "in/anna", (1, 2))
    corrected_folder(tmp_path / "in/ben", (2, 3), "film")
    done = convert(tmp_path / "in", tmp_path / "out")
    assert done.kind == "corrections" and done.images == 3
    assert done.notes[0] == "records that occur twice, left out once: 1"
    examples = [example for found in by_name(tmp_path / "out").values() for example in found]
    for example in examples:
        assert np.array_equal(
            example.concept_labels["shell"], TWO
        ) and example.micrograph.pixel_size_nm == pytest.approx(0.4)
        assert [turn.user for turn in example.turns] == ["shells?", "the biggest"]
        assert np.array_equal(example.target_labels(example.turns[1].targets[0]), discs((20, 20, 10)))
    assert {tuple(e.micrograph.pixels.ravel()[:50]) for e in examples} == {
        tuple(picture(k).astype(np.float32).ravel()[:50]) for k in (1, 2, 3)
    }
    assert {record.source for record in read_records(tmp_path / "out")} == {"film"}
    with pytest.raises(InputError, match="name their concepts already"):
        convert(tmp_path / "in", tmp_path / "again", Choices(concepts={"a": "b"}))


def test_broken_corrections_are_reported_with_file_and_line(tmp_path):
    corrected_folder(tmp_path / "in/anna", (1, 2))
    file = tmp_path / "in/anna/metadata.jsonl"
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    second["file_name"] = "../ben.tif"
    file.write_text(json.dumps({**first, "colour": "red"}) + "\n\n" + json.dumps(second) + "\n{oh")
    with pytest.raises(Faults) as told:
        convert(tmp_path / "in", tmp_path / "out")
    assert [f.split("metadata.jsonl ")[1] for f in told.value.faults] == [
        "line 1: unknown field colour",
        "line 3: ../ben.tif leads out of the folder; paths are relative to the record file",
        "line 4: not JSON (Expecting property name enclosed in double quotes, column 2)",
    ]


def test_the_format_of_a_folder_is_detected(tmp_path):
    assert find_kind(labelled(tmp_path / "a")) == "labels"
    assert find_kind(coco_set(tmp_path / "b")) == "coco"
    write_json(tmp_path / "a/x.json", {"shapes": []})
    with pytest.raises(InputError, match="labelme or labels; say which with --from"):
        find_kind(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    for place, said in (("empty", "no known format"), ("nowhere", "there is no")):
        with pytest.raises(InputError, match=said):
            find_kind(tmp_path / place)
    with pytest.raises(InputError, match="--from excel is unknown"):
        convert(tmp_path / "a", tmp_path / "out", Choices(kind="excel"))


def test_an_existing_folder_is_never_overwritten_without_force(tmp_path, capsys):
    source, out = labelled(tmp_path / "in"), tmp_path / "out"
    convert(source, out)
    before = (out / "metadata.jsonl").read_bytes()
    with pytest.raises(InputError, match="--force"):
        convert(source, out, Choices(seed=3))
    assert (out / "metadata.jsonl").read_bytes() == before
    convert(source, out, Choices(validation=0), force=True)
    assert (out / "metadata.jsonl").read_bytes() != before
    (out / "thesis.docx").write_text("three years")
    with pytest.raises(InputError, match=r"thesis.docx, which is no part"):
        convert(source, out, force=True)
    assert (out / "thesis.docx").is_file() and (out / "metadata.jsonl").is_file()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    for force in (False, True):
        convert(source, tmp_path / "link", force=force)
    assert (tmp_path / "link").is_symlink() and read_records(tmp_path / "elsewhere")
    for inside in (source, source / "out", tmp_path):
        with pytest.raises(InputError, match="contain each other"):
            convert(source, inside)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "in", "link", "out"]


def test_a_full_disk_leaves_the_old_data_set(tmp_path, monkeypatch):
    source, out = labelled(tmp_path / "in"), tmp_path / "out"
    convert(source, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(converting, "write_records", full)
    with pytest.raises(InputError, match="No space left on device"):
        convert(source, out, force=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_images_of_any_size_and_type_are_converted(tmp_path):
    images = {
        "dot": np.full((1, 1), 7, np.uint8),
        "thread": np.arange(2400, dtype=np.uint16).reshape(3, 800),
        "holes": np.where(TWO > 0, np.nan, picture(1)).astype(np.float32),
        "flat": np.zeros(SHAPE, np.uint8),
        "colour": np.stack([picture(k) for k in range(3)], -1),
    }
    for name, pixels in images.items():
        (tmp_path / "in/images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / f"in/images/{name}.tif", pixels)
        write_labels_at(tmp_path / f"in/labels/{name}.tif", np.zeros(pixels.shape[:2], np.int32))
    convert(tmp_path / "in", tmp_path / "out")
    report = check_folder(tmp_path / "out")
    assert not report.faults and sum("are empty" in str(w) for w in report.warnings) == 5
    for name, draw in pictures(report).items():
        draw(tmp_path / name)


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path):
    for k, part in enumerate(("train", "val")):
        save(tmp_path / f"in/{part}/images/A.png" if k else tmp_path / f"in/{part}/images/a.png", picture(k))
        write_labels_at(tmp_path / f"in/{part}/labels/{'A' if k else 'a'}.tif", TWO)
    convert(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out/images").iterdir()) == ["A-2.png", "a.png"]


def test_the_command_writes_a_data_set_and_refuses_bad_options(tmp_path, capsys):
    source = labelled(tmp_path / "in")
    tifffile.imwrite(source / "images/scan 0.tif", picture(0))
    (source / "images/scan 0.png").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", str(source), "-o", str(tmp_path / "out"), "--concept", "particle=grain boundary"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "own concept grain_boundary: grain boundary, grain boundaries" in said
    for arguments in (["--concept", "x"], ["--concept", "dust=a"], ["--validation", "2"], ["--pixel-size", "-1"]):
        with pytest.raises(SystemExit) as ended:
            main(["data", "convert", str(source), "-o", str(tmp_path / "other"), *arguments])
        assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    clean(tmp_path / "out")
