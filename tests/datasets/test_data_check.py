"""``lisa-micro data check``: what is there, and all that is wrong, line by line, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_records import SAID, write_images
from paths import ROOT
from PIL import Image
from scipy import ndimage

from lisa_micro.cli.main import main
from lisa_micro.datasets.preparation.checking import check_folder
from lisa_micro.datasets.preparation.checking_report import chosen_lines, pictures, summary
from lisa_micro.datasets.records import Record
from lisa_micro.language import parse_reply
from lisa_micro.types import InputError

SIDE = 96


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and particle labels of three simulated scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    rows = write_images(folder, 3, SIDE)
    return [tuple(tifffile.imread(folder / row[key]) for key in ("file_name", "labels")) for row in rows]


@pytest.fixture
def folder(tmp_path, scenes) -> Path:
    """A data set without a fault: three images with a pixel size, two of them for training."""
    for name in ("images", "labels", "masks"):
        (tmp_path / name).mkdir()
    rows = []
    for k, (pixels, labels) in enumerate(scenes):
        tifffile.imwrite(tmp_path / f"images/{k}.tif", pixels)
        tifffile.imwrite(tmp_path / f"labels/{k}.tif", labels)
        rows.append(row(k))
    Image.fromarray((scenes[0][1] == 1).astype(np.uint8) * 255).save(tmp_path / "masks/one.png")
    return put(tmp_path, rows)


def row(k: int, **fields) -> dict:
    split = "validation" if k == 2 else "train"
    known = {"file_name": f"images/{k}.tif", "labels": f"labels/{k}.tif", "split": split}
    return {**known, "pixel_size_nm": 0.5, "modality": "BF-TEM", "conversations": [SAID], **fields}


def said(user: str, assistant: str, *targets: dict) -> dict:
    return {"conversations": [{"user": user, "assistant": assistant, "targets": list(targets)}]}


def put(folder: Path, rows: list[dict | str]) -> Path:
    """Write the record file; a text is a line as it is."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def faults(folder: Path) -> list[str]:
    return [str(fault) for fault in check_folder(folder).faults]


def warnings(folder: Path) -> list[str]:
    report = check_folder(folder)
    assert not report.faults, [str(fault) for fault in report.faults]
    return [str(warning) for warning in report.warnings]


def test_a_clean_set_has_no_findings_and_is_counted(folder, scenes, capsys):
    report = check_folder(folder)
    assert not report.faults and not report.warnings
    assert report.parts == {"train": 2, "validation": 1} and report.sizes == {(SIDE, SIDE): 3}
    assert report.pixel_sizes == {0.5: 3} and report.modalities == {"BF-TEM": 3}
    assert report.instances["particle"] == sum(len(np.unique(labels)) - 1 for _, labels in scenes)
    assert report.instances["neck"] > 0 and report.targets == {"particle": 3} and report.turns == 3
    text = "\n".join(summary(report))
    for words in ("3 (2 train, 1 validation)", "96 x 96 px (3)", "0.5 nm (3)", "BF-TEM (3)", "3 with 3 turns"):
        assert words in text
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(folder)])
    assert ended.value.code == 0 and capsys.readouterr().out.endswith("nothing is wrong\n")


def test_every_broken_line_is_reported_with_its_problem(folder, scenes, capsys):
    tifffile.imwrite(folder / "labels/small.tif", np.ones((5, 7), np.uint16))
    tifffile.imwrite(folder / "labels/float.tif", np.full((SIDE, SIDE), 0.5, np.float32))
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(folder / "masks/small.png")
    Image.fromarray((scenes[1][1] > 0).astype(np.uint8) * 255).save(folder / "labels/mask.png")
    (folder / "images/broken.tif").write_bytes(b"II*\0oh no")
    wrong: list[tuple[dict | str, str]] = [
        (row(0, file_name="images/lost.tif"), "no file images/lost.tif"),
        (row(0, labels="labels/lost.tif"), "no file labels/lost.tif"),
        (row(0, labels="labels/small.tif"), "the labels are 7 x 5 px, the image 96 x 96 px"),
        (row(0, labels="labels/float.tif"), "they must be whole numbers"),
        (row(0, file_name="images/broken.tif"), "broken.tif"),
        (row(0, **said("the last", "Here [SEG].", {"instances": [1, 999]})), "turn 1, target 1: 0: no instance 999"),
        (row(0, **said("it", "Here [SEG].", {"mask": "masks/small.png"})), "masks/small.png is"),
        (row(0, colour="red"), "unknown field colour"),
        (row(0, **said("particles", "Here are the particles.", {"concept": "particle"})), "0 [SEG] but the turn has 1"),
        (row(0, **said("particles", "Here are the particles [SEG].")), "1 [SEG] but the turn has 0"),
        (row(0, **said("x", "Here [SEG].", {"concept": "shell"})), "unknown concept 'shell'"),
        (row(0, **said("x", "The big ones [SEG]<where>hugest 3</where>.", {"concept": "particle"})), "hugest 3"),
        (row(0, **said("x", "Of [SEG] <value>happiness</value>.", {"concept": "particle"})), "happiness"),
        (row(0, labels="labels/mask.png", **said("n", "The necks [SEG].", {"concept": "neck"})), "neck needs labels"),
        (row(0, pixel_size_nm=-1), "pixel_size_nm: input should be greater than 0"),
        (row(0, split="exam"), "split: "),
        (row(0, labels="../secrets.tif"), "../secrets.tif leads out of the folder"),
        (row(0, labels=str(folder / "labels/0.tif")), "leads out of the folder"),
        ('{"file_name": "images/0.tif",', "not JSON"),
        ('"images/0.tif"', "valid dictionary"),
        (json.dumps(row(0)).replace("0.5", "NaN"), "finite number"),
    ]
    put(folder, [entry for entry, _ in wrong])
    found = check_folder(folder).faults
    assert [fault.where for fault in found] == [f"metadata.jsonl line {k}" for k in range(1, len(wrong) + 1)]
    for fault, (_, words) in zip(found, wrong, strict=True):
        assert words in fault.text, (words, fault.text)
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(folder)])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == len(wrong) + 1
    assert lines[-1].startswith("error: ") and f"{len(wrong)} things are wrong" in lines[-1]


def test_all_problems_of_a_line_are_reported(folder):
    both = said("x", "Here [SEG] and [SEG].", {"instances": [998]}, {"instances": [999]})
    put(
        folder,
        [row(0, **both), row(1, file_name="a", labels="b", **said("x", "[SEG]<where>oops</where>", {"mask": "c"}))],
    )
    text = faults(folder)
    assert len(text) == 6 and "998" in text[0] and "999" in text[1]
    assert [line.split(": ", 1)[1][:9] for line in text[2:]] == ["no file a", "no file b", "no file c", "turn 1: T"]


def test_doubtful_content_is_a_warning(folder, scenes, capsys):
    pixels, labels = scenes[0]
    empty, tiny = np.zeros_like(labels), labels.copy()
    tiny[:2, :2] = labels.max() + 1
    tifffile.imwrite(folder / "labels/empty.tif", empty)
    tifffile.imwrite(folder / "labels/tiny.tif", tiny)
    tifffile.imwrite(folder / "images/own.tif", pixels, imagej=True, resolution=(2, 2), metadata={"unit": "nm"})
    (folder / "images/lost.png").write_bytes(b"")
    (folder / "dataset.yaml").write_text("concepts: {shell: [shell, shells], twin: [twin, twins]}\n")
    shell = {"concept_labels": {"shell": "labels/0.tif"}}
    put(
        folder,
        [
            row(0, pixel_size_nm=None, split=None, labels="labels/empty.tif", conversations=[]),
            row(1, labels="labels/tiny.tif", modality="AFM", pixel_size_nm=1e6),
            row(
                0,
                file_name="images/own.tif",
                pixel_size_nm=5,
                **shell,
                **said("s", "The shells [SEG].", {"concept": "shell"}),
            ),
            row(2, **said("n", "Here are the 12 pores [SEG].", {"concept": "particle"})),
            row(2, **said("n", "<absent>There are no particles in this micrograph.")),
            row(
                2,
                concept_labels={"rim": "labels/2.tif"},
                **said("[SEG]?", "<absent>No [SEG].", {"mask": "masks/none.png"}),
            ),
            row(
                2,
                concept_labels={"rim": "labels/2.tif"},
                **said("[SEG]?", "<absent>No [SEG].", {"mask": "masks/none.png"}),
            ),
        ],
    )
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(folder / "masks/none.png")
    found = warnings(folder)
    expected = [
        "line 1: the labels of particle are empty",
        "line 2: the modality 'AFM'",
        "line 2: a pixel size of 1e+06 nm; is the unit right?",
        "instances of particle have fewer than 12 px",
        "line 3: a pixel size of 5 nm, where the image file says 0.5 nm",
        "line 4: turn 1: [SEG] 1 is called pore but refers to particle",
        "line 4: turn 1: the reply contains a number",
        "line 5: turn 1: the reply denies particle",
        "line 6: turn 1: the request contains [SEG]",
        "line 6: turn 1: the reply contains both <absent> and [SEG]",
        "line 6: the concept rim is not in dataset.yaml",
        "line 6: turn 1: the image shows nothing that it refers to",
        "line 7: same record as metadata.jsonl line 6",
        "1 of 4 images have no pixel size, so their sizes are in px: metadata.jsonl line 1",
        "the concept shell occurs in one request only",
        "the concept twin of dataset.yaml has neither",
        "files without a record in images: images/lost.png",
    ]
    for words in expected:
        assert sum(words in warning for warning in found) == 1, (words, found)
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(folder)])
    assert ended.value.code == 0 and f"warnings: {len(found)}" in capsys.readouterr().out


def test_copies_and_overlaps_between_the_parts_are_found(folder):
    grain = ndimage.gaussian_filter(np.random.default_rng(1).random((300, 300)), 1.0).astype(np.float32)
    views = {"a": grain[:200, :200], "b": grain[60:260, 50:250], "turned": grain[:200, :200].T[::-1] * 3}
    views["c"] = ndimage.gaussian_filter(np.random.default_rng(2).random((200, 200)), 1.0).astype(np.float32)
    for name, pixels in views.items():
        tifffile.imwrite(folder / f"images/{name}.tif", pixels)

    def rows(splits: dict[str, str | None], **more) -> list[dict]:
        plain = {"pixel_size_nm": 1, **said("hi", "Hello.")}
        return [{"file_name": f"images/{name}.tif", "split": split, **plain, **more} for name, split in splits.items()]

    put(folder, rows({"a": "train", "b": "validation", "turned": "test", "c": "validation"}))
    found = [w for w in warnings(folder) if "belong" in w and "no record" not in w]
    assert len(found) >= 2 and all("c.tif" not in w for w in found)
    assert any("b.tif overlaps with a.tif (metadata.jsonl line 1), validation with train" in w for w in found)
    assert any("turned.tif is a turned copy of a.tif" in w for w in found)
    put(folder, rows({"a": "train", "b": "train", "turned": "train", "c": "validation"}))
    assert not [w for w in warnings(folder) if "overlaps" in w or "copy" in w]
    put(folder, rows({"a": None, "b": None, "c": None}))
    assert any("give them the same source" in w for w in warnings(folder))
    put(folder, rows({"a": None, "b": None, "c": None}, source="film"))
    assert not [w for w in warnings(folder) if "source" in w]
    put(folder, rows({"a": "train", "c": "validation"}, source="film"))
    assert any("film is in train and validation" in w for w in warnings(folder))


def test_train_and_validation_may_have_a_folder_each(folder, tmp_path_factory):
    both = tmp_path_factory.mktemp("both")
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for part, some in (("train", rows[:2]), ("validation", rows[2:])):
        (both / part).mkdir()
        for name in ("images", "labels"):
            (both / part / name).mkdir()
        for entry in some:
            for key in ("file_name", "labels"):
                (both / part / entry[key]).write_bytes((folder / entry[key]).read_bytes())
        put(both / part, [{k: v for k, v in entry.items() if k != "split"} for entry in some])
    report = check_folder(both)
    assert report.parts == {"train": 2, "validation": 1} and not report.faults and not report.warnings
    put(both / "validation", [row(2, file_name="x")])
    assert faults(both) == ["validation/metadata.jsonl line 1: no file x"]
    assert set(pictures(report)) == {"record-train-00001.png", "record-train-00002.png", "record-validation-00001.png"}


def test_pictures_show_records_of_every_concept_and_part(folder, tmp_path_factory):
    shown = said("a $ sign, " + "long " * 200, "One of them [SEG].", {"mask": "masks/one.png"})
    put(folder, [row(0, **shown), row(1), row(2), row(0, file_name="lost.tif"), row(1, conversations=[], labels=None)])
    report = check_folder(folder)
    assert [report.lines[k][1] for k in chosen_lines(report, 3)] == [1, 2, 3]
    drawn = tmp_path_factory.mktemp("drawn")
    with pytest.raises(SystemExit) as ended:  # the good ones are drawn although one is faulty
        main(["data", "check", str(folder), "--pictures", str(drawn)])
    assert ended.value.code == 2
    assert sorted(p.name for p in drawn.iterdir()) == [f"record-0000{k}.png" for k in (1, 2, 3, 5)]
    with Image.open(drawn / "record-00001.png") as picture:
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.size[0] == 880 and picture.size[1] > 880
    assert (np.abs(colours[..., 0] - colours[..., 2])[:880] > 60).sum() > 500  # one instance in colour
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(folder), "--pictures", str(drawn)])
    assert ended.value.code == 2


def test_the_record_in_the_guide_is_valid():
    guide = (ROOT / "docs" / "data-format.md").read_text()
    example = json.loads(guide.split("```json\n")[1].split("```")[0])
    assert Record.model_validate(example).split == "train"
    for name in Record.model_fields:
        assert f"| `{name}` |" in guide
    for reply in ("Here are the particles [SEG]<where>", "The mean diameter of", "<absent>There are no pores"):
        text = reply + guide.split(reply)[1].split("`")[0]
        assert not parse_reply(text.replace("\n", " ")).notes


def test_a_folder_without_a_data_set_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "bad").mkdir()
    put(tmp_path / "bad", [])
    assert faults(tmp_path / "bad") == [f"{tmp_path / 'bad/metadata.jsonl'} holds no record"]
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError):
            check_folder(place)
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", str(place)])
        assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1


def test_a_broken_dataset_yaml_is_an_error(folder):
    (folder / "dataset.yaml").write_text("concepts: {shell: [particle, particles]}\n")
    assert len(faults(folder)) == 1 and "dataset.yaml" in faults(folder)[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b and b.strip()), min_size=1, max_size=4))
def test_arbitrary_bytes_never_stop_the_check(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "metadata.jsonl").write_bytes(b"\n".join(lines))
    found = check_folder(folder).faults
    assert found and all("metadata.jsonl" in str(fault) for fault in found)


STRANGE = [
    None,
    True,
    -1,
    10**30,
    "",
    "x",
    ".",
    "images",
    "../x",
    "a\0b",
    "a" * 300,
    "labels/0.tif",
    [],
    [1],
    {},
    {"x": "y"},
]


def places(content, path=()):
    """Paths to every value in a JSON content."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_arbitrary_records_never_stop_the_check(folder, data):
    content = row(0, concept_labels={"shell": "labels/1.tif"}, source="s")
    more = [{"mask": "masks/one.png"}, {"instances": [1]}]
    content |= said("u", "The shells [SEG], [SEG], [SEG].", {"concept": "shell"}, *more)
    *way, last = data.draw(st.sampled_from(list(places(content))))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(STRANGE))
    put(folder, [content])
    report = check_folder(folder)
    assert all(str(fault).startswith("metadata.jsonl line 1: ") for fault in report.faults)
    assert summary(report)
