"""Corrections by hand: what each action does, that a log repeats them, and what follows for numbers and training."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.assistant.answering import values_of
from lisa_micro.cli.main import main
from lisa_micro.correction import examples, remeasure, replay, split
from lisa_micro.correction.actions import Log, read_action
from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.datasets.records import read_records
from lisa_micro.execution import LabelledScene, execute, tell
from lisa_micro.execution.telling import significant
from lisa_micro.geometry import rle_encode
from lisa_micro.io import read_micrograph, write_labels
from lisa_micro.language.program import parse_program
from lisa_micro.measure import measure_particles
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError, Micrograph


def disc(shape, x, y, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


SHAPE = (80, 120)
LEFT, RIGHT, FAR = disc(SHAPE, 30, 40, 20), disc(SHAPE, 62, 40, 15), disc(SHAPE, 100, 40, 10)
FUSED = np.where(FAR, 2, np.where(LEFT | RIGHT, 1, 0)).astype(np.int32)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def done(labels, *actions):
    return replay.replay(np.asarray(labels), actions)


def refused(labels, action, match):
    with pytest.raises(InputError, match=match):
        replay.apply(replay.begin(labels), action)


# ----------------------------------------------------------------------------------------------------- actions


@pytest.mark.parametrize("line", [None, [[48.5, 0.0], [48.5, 79.0]], [[44, -5], [50, 60], [53, 90]]])
def test_a_fused_pair_is_split_into_its_particles(line):
    action = {"action": "split", "instance": 1} | ({} if line is None else {"line": line})
    split = done(FUSED, action)
    assert set(np.unique(split.labels)) == {0, 1, 2, 3}
    assert np.array_equal(split.labels > 0, FUSED > 0)  # not a pixel is lost
    assert iou(split.labels == 1, LEFT) > 0.9 and iou(split.labels == 3, RIGHT & ~LEFT) > 0.85
    assert split.said == ("Split 1 into 1 and 3",)


def test_an_incomplete_line_and_a_round_particle_are_refused():
    refused(FUSED, {"action": "split", "instance": 2}, "does not show where")
    refused(FUSED, {"action": "split", "instance": 1, "line": [[48, 0], [48, 40]]}, "right across")
    refused(FUSED, {"action": "split", "instance": 1, "line": [[100, 0], [100, 79]]}, "right across")
    refused(
        FUSED,
        {"action": "split", "instance": 1, "line": [[1, 2], [float("nan"), 3]]},
        "line.1.0: input should be a finite number",
    )
    refused(FUSED, {"action": "split", "instance": 1, "line": [[1, 2]]}, "no action")


def test_a_diagonal_line_leaves_no_bridge_and_other_pieces_stay():
    labels = np.zeros((30, 60), np.int32)
    labels[2:22, 2:22] = 1
    labels[5:9, 50:54] = 1  # a piece apart that the cut does not touch
    split = done(labels, {"action": "split", "instance": 1, "line": [[0, 0], [24, 24]]})
    assert split.labels.max() == 2 and split.labels[6, 51] == 1
    ones = split.labels[2:22, 2:22] == 1
    assert 150 <= ones.sum() <= 250


def test_remove_merge_and_add_never_reuse_a_number():
    mask = disc(SHAPE, 100, 60, 12)
    state = done(
        FUSED,
        {"action": "split", "instance": 1},
        {"action": "remove", "instances": [3]},
        {"action": "add", "mask": rle_encode(mask), "box": [88, 48, 112, 72]},
        {"action": "merge", "instances": [4, 1]},
    )
    assert set(np.unique(state.labels)) == {0, 1, 2} and state.highest == 4
    assert (state.labels[mask & FAR] == 2).all() and (state.labels[mask & ~FAR] == 1).all()
    assert state.summary == "1 split, 1 removed, 1 added, 1 merged"
    assert set(np.unique(done(FUSED, {"action": "remove", "instances": [1]}).result())) == {0, 1}


def test_impossible_actions_are_refused_and_change_nothing():
    start = replay.begin(FUSED)
    refused(FUSED, {"action": "remove", "instances": [2, 9]}, "no instance 9")
    refused(FUSED, {"action": "merge", "instances": [2, 2]}, "two different")
    refused(FUSED, {"action": "add", "mask": rle_encode(LEFT)}, "belong to other")
    refused(FUSED, {"action": "add", "mask": rle_encode(LEFT & False)}, "empty")
    refused(FUSED, {"action": "add", "mask": rle_encode(LEFT[:9])}, "must be alike")
    refused(FUSED, {"action": "add", "mask": {"size": list(SHAPE), "counts": [3]}}, "do not fill")
    for wrong in ({}, {"action": "explode"}, None, {"action": "remove", "instances": []}, [], "remove"):
        refused(FUSED, wrong, "no action")
    with pytest.raises(InputError, match="action 2: There is no instance 7"):
        replay.replay(start, [{"action": "remove", "instances": [1]}, {"action": "remove", "instances": [7]}])
    assert np.array_equal(start.labels, FUSED)


def test_a_line_selects_the_instance_under_it():
    assert replay.instance_on_line(FUSED, [[48, 0], [48, 79]]) == 1
    assert replay.instance_on_line(FUSED, [[75, 40], [119, 40]]) == 2
    assert replay.instance_on_line(FUSED, [[0, 1], [119, 1]]) == 0
    with pytest.raises(InputError, match="two points"):
        split.line_pixels([[1, 2, 3]], SHAPE)


# -------------------------------------------------------------------------------------------------------- logs

_POINT = st.tuples(st.floats(-9, 129), st.floats(-9, 89)).map(list)
_NUMBERS = st.lists(st.integers(1, 9), min_size=1, max_size=3)
_ACTIONS = st.one_of(
    st.builds(lambda n: {"action": "remove", "instances": n}, _NUMBERS),
    st.builds(lambda n: {"action": "merge", "instances": n}, _NUMBERS),
    st.builds(lambda k: {"action": "split", "instance": k}, st.integers(1, 9)),
    st.builds(
        lambda k, p: {"action": "split", "instance": k, "line": p},
        st.integers(1, 9),
        st.lists(_POINT, min_size=2, max_size=4),
    ),
    st.builds(
        lambda x, y, r: {"action": "add", "mask": rle_encode(disc(SHAPE, x, y, r))},
        st.integers(0, 119),
        st.integers(0, 79),
        st.integers(1, 20),
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_ACTIONS, max_size=8))
def test_a_log_gives_the_same_labels_again(actions):
    state = replay.begin(FUSED)
    for action in actions:
        try:
            state = replay.apply(state, action)
        except InputError:
            continue
    assert state.labels.shape == SHAPE and state.labels.min() >= 0
    text = replay.log_text(replay.make_log(FUSED, state, image="film.tif"))
    log = Log.model_validate(json.loads(text))
    again = replay.replay_log(FUSED, log)
    assert np.array_equal(again.labels, state.labels) and again.said == state.said
    numbers = np.unique(again.result())
    assert np.array_equal(numbers, np.arange(len(numbers))) or numbers.min() > 0


def test_a_log_of_an_earlier_release_is_replayed(tmp_path):
    labels = np.zeros((24, 32), np.int32)
    labels[3:11, 3:13], labels[12:20, 16:28] = 1, 2
    (tmp_path / "log.json").write_text(
        """{
 "format": "lisa-micro corrections 1",
 "image": "film.tif",
 "prompt": "particles",
 "phrase": "the particles",
 "concept": "particle",
 "labels_sha256": "5392e914dfee6c10e013ac543208cd9f4bf8a2bb423ae6594b1ee376e849b3d4",
 "result_sha256": "33e1e4c231814d31f94d482847fe103cbbea713b326465f34fe6aab70b2f4754",
 "actions": [
  {"action": "split", "instance": 2, "line": [[22.5, 0.0], [22.0, 23.5]]},
  {"action": "merge", "instances": [1, 3]},
  {"action": "add", "mask": {"size": [24, 32], "counts": [481, 2, 22, 2, 22, 2, 22, 2, 213]}, "box": [20, 1, 24, 3]},
  {"action": "remove", "instances": [2]}
 ]
}"""
    )
    log = replay.read_log(tmp_path / "log.json")
    again = replay.replay_log(labels, log)
    assert again.said == ("Split 2 into 2 and 3", "Merged 1 and 3 into 1", "Added 4", "Removed 2")
    assert np.bincount(again.result().ravel()).tolist() == [640, 120, 8]
    assert replay.make_log(labels, again).result_sha256 == log.result_sha256
    with pytest.raises(InputError, match=r"^log\.json: These are not the labels"):
        replay.replay_log(labels + 1, log, "log.json")


def scene_files(tmp_path):
    scene = simulate_scene(5, (128, 128))
    image = tmp_path / "film.tif"
    tifffile.imwrite(image, scene.pixels.astype(np.float32), imagej=True, resolution=(2, 2), metadata={"unit": "nm"})
    before = scene.particles.astype(np.int32)
    write_labels(tmp_path / "before.tif", before, 0.5)
    return image, before


def test_the_command_replays_a_correction_log(tmp_path, capsys):
    image, before = scene_files(tmp_path)
    numbers = [int(n) for n in np.unique(before)[1:]]
    mask = (before == 0) & disc(before.shape, 64, 64, 30)
    state = replay.begin(before)
    for action in (
        {"action": "remove", "instances": numbers[:1]},
        {"action": "add", "mask": rle_encode(mask), "points": [[64, 64]], "point_labels": [1]},
    ):
        state = replay.apply(state, action)
    log = tmp_path / "log.json"
    log.write_text(replay.log_text(replay.make_log(before, state, concept="particle", phrase="particles")))
    arguments = ["correct", str(image), str(tmp_path / "before.tif"), str(log), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "labels.tif"), state.result())
    record = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert record["segments"][0]["notes"] == ["Corrected by hand: 1 removed, 1 added."]
    assert record["segments"][0]["instances"] == len(numbers)
    rows = (tmp_path / "out" / "instances.csv").read_text().splitlines()
    assert len(rows) == len(numbers) + 1 and "diameter_nm" in rows[0]
    assert "Removed 1" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2  # results are there already


def test_a_log_that_does_not_fit_is_refused(tmp_path, capsys):
    image, before = scene_files(tmp_path)
    log, out = tmp_path / "log.json", str(tmp_path / "out")
    made = replay.make_log(before, replay.begin(before))
    changed = made.model_copy(update={"actions": (read_action({"action": "remove", "instances": [1]}),)})
    cases = {
        "{": "not JSON",
        "[1]": "no log",
        '{"labels_sha256": "x", "actions": [{"action": "fly"}]}': "no log",
        "[" * 100_000: "not JSON",
        replay.log_text(replay.make_log(before + 1, replay.begin(before))): "not the labels",
        replay.log_text(changed): "other labels here",
    }
    for text, said in cases.items():
        log.write_text(text)
        with pytest.raises(SystemExit) as stop:
            main(["correct", str(image), str(tmp_path / "before.tif"), str(log), "--out", out])
        assert stop.value.code == 2 and said in capsys.readouterr().err
    with pytest.raises(InputError, match="cannot be read"):
        replay.read_log(tmp_path / "none.json")


# ------------------------------------------------------------------------------------------------ measurements


def particles(labels=FUSED, nm=0.5, **fields):
    pixels = np.random.default_rng(1).integers(0, 60_000, SHAPE).astype(np.float32)
    image = Micrograph(pixels, nm, "film.tif", modality="BF-TEM")
    fields = {"concept": "particle", "phrase": "particles", "target": 1} | fields
    return image, Segmentation(labels, pixel_size_nm=nm, properties=measure_particles(labels, nm, pixels), **fields)


def test_tables_and_the_numbers_of_the_reply_follow_the_corrected_labels():
    image, segment = particles()
    raw = "particles [SEG]<value>count</value><value>mean area</value>"
    result = execute(parse_program(raw), LabelledScene({"particle": FUSED}, 0.5))
    answer = Answer(tell(result), (segment,), "how many?", raw, values_of(result), result=result)
    assert answer.text.startswith("There are 2 particles and the mean area is ")
    state = done(FUSED, {"action": "split", "instance": 1})
    new = remeasure.corrected_answer(answer, 0, state.result(), image, state.summary)
    assert len(new.segments[0].table()) == 3 and "Corrected by hand: 1 split." in new.segments[0].notes
    mean = (FUSED > 0).sum() / 3 * 0.25
    assert new.values[0].value == 3 and new.values[1].value == pytest.approx(mean)
    assert new.text == f"There are 3 particles and the mean area is {significant(mean)} nm²."
    assert new.segments[0].table()["area_nm2"].sum() == pytest.approx((FUSED > 0).sum() * 0.25)
    with pytest.raises(InputError, match="no such segment"):
        remeasure.corrected_answer(answer, 1, state.result(), image)
    with pytest.raises(InputError, match="must be alike"):
        remeasure.corrected_answer(answer, 0, state.result()[:9], image)


def test_an_unchanged_neck_keeps_its_width():
    image, segment = particles(concept="neck")
    table = segment.table().assign(neck_width_px=[7.0, 9.0], neck_ratio=[0.4, 0.5])
    segment = Segmentation(FUSED, concept="neck", pixel_size_nm=0.5, properties=table)
    labels = done(FUSED, {"action": "split", "instance": 1}).result()
    widths = remeasure.corrected_segment(segment, labels, image).table()
    assert widths["neck_width_px"].isna().tolist() == [True, False, True] and widths["neck_width_nm"][1] == 4.5


# ------------------------------------------------------------------------------------------- training examples


def test_a_training_example_is_read_back_unchanged(tmp_path):
    image, segment = particles()
    largest = Segmentation(np.where(LEFT | RIGHT, 1, 0).astype(np.int32), concept="particle", where="largest", target=1)
    neck = Segmentation(np.where(LEFT & RIGHT, 1, 0).astype(np.int32), concept="neck", target=1)
    answers = [
        Answer("Here are the particles.", (segment,), "all particles", "The particles are [SEG]."),
        Answer("The largest.", (largest,), "the largest", "The largest [SEG]<where>largest</where>."),
        Answer("The necks.", (neck,), "necks", "The necks are [SEG]."),
        Answer("There are no pores.", (), "pores", "<absent>There are no pores."),
    ]
    saved = examples.save_example(tmp_path, image, answers, "../my film")
    assert (saved.name, saved.count, saved.replaced) == ("my_film-1", 1, False)
    (example,) = read_record_folder(tmp_path)
    assert np.array_equal(example.micrograph.pixels, image.pixels)
    assert example.micrograph.pixel_size_nm == pytest.approx(0.5)
    assert np.array_equal(example.labels, segment.labels)
    assert [turn.user for turn in example.turns] == ["all particles", "the largest", "necks", "pores"]
    targets = [turn.targets for turn in example.turns]
    assert targets[0][0].concept == "particle" and targets[1][0].instances == (1,) and targets[3] == ()
    assert np.array_equal(example.target_labels(targets[1][0]), largest.labels)
    assert targets[2][0].concept == "neck"  # labels of its own, which go before what the particles would tell
    assert np.array_equal(example.target_labels(targets[2][0]), neck.labels)
    (record,) = read_records(tmp_path)
    assert record.concept_labels == {"neck": "labels/my_film-1_neck.tif"} and record.source == "my_film"
    assert record.modality == "BF-TEM" and tifffile.imread(tmp_path / record.file_name).dtype == np.uint16


def test_finetune_reads_the_saved_folder(tmp_path):
    from lisa_micro.models.lisa.config import LisaConfig
    from lisa_micro_finetune.adapt.data import read_items, read_part

    image, segment = particles()
    drawn = np.where(disc(SHAPE, 47, 40, 4), 1, 0).astype(np.int32)
    neck = Segmentation(drawn, concept="neck", target=1)
    merged = Segmentation((FUSED > 0).astype(np.int32), concept="particle", where="smallest", target=1)
    answers = [
        Answer("Here are the particles.", (segment,), "all particles", "The particles are [SEG]."),
        Answer("The smallest.", (merged,), "the smallest", "The particles are [SEG]<where>smallest</where>."),
        Answer("The necks.", (neck,), "necks", "The necks are [SEG]."),
        Answer("There are no pores.", (), "pores", "<absent>There are no pores."),
    ]
    examples.save_example(tmp_path, image, answers, "film")
    config = LisaConfig.read(Path(examples.__file__).parents[1] / "weights" / "micro")
    (item,) = read_items(read_part(tmp_path), config)
    assert [turn.user for turn in item.turns] == ["all particles", "the smallest", "necks", "pores"]
    # a constraint is executed on all particles, so these are what it is learnt from
    assert [[goal.key for goal in turn.goals] for turn in item.turns] == [["particle"], ["particle"], ["neck"], []]
    assert item.instances and item.labels["particle"].max() == 2 and item.labels["neck"].max() == 1


def test_examples_are_appended_and_replaced_by_several_threads(tmp_path):
    image, segment = particles(nm=None)
    answer = Answer("Particles.", (segment,), "particles")  # a model that has no reply language
    threads = [
        threading.Thread(target=examples.save_example, args=(tmp_path, image, [answer], "film")) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read_records(tmp_path)
    assert len({record.file_name for record in records}) == 8
    assert records[0].conversations[0].assistant == "Particles. [SEG]"
    changed = remeasure.corrected_answer(answer, 0, done(FUSED, {"action": "remove", "instances": [1]}).result(), image)
    saved = examples.save_example(tmp_path, image, [changed], "film", instead="film-3")
    assert saved.replaced and saved.name == "film-3" and saved.count == 8
    saved_now = {example.name: example for example in read_record_folder(tmp_path)}
    assert saved_now["film-3"].labels.max() == 1 and saved_now["film-4"].labels.max() == 2
    assert not list(tmp_path.glob("**/.lisa-micro-*"))


def test_pixels_of_any_type_are_kept(tmp_path):
    _, segment = particles()
    answer = Answer("x", (segment,), "x", "[SEG]")
    rng = np.random.default_rng(0)
    for name, pixels in {
        "bytes": rng.integers(0, 255, SHAPE).astype(np.float32),
        "negative": rng.normal(0, 50, SHAPE).astype(np.float32),
        "broken": np.where(LEFT, np.nan, 3.5).astype(np.float32),
    }.items():
        saved = examples.save_example(tmp_path, Micrograph(pixels, 1.25), [answer], name)
        again = read_micrograph(tmp_path / "images" / f"{saved.name}.tif")
        assert np.array_equal(again.pixels, pixels, equal_nan=True) and again.pixel_size_nm == pytest.approx(1.25)


def test_a_folder_that_cannot_take_examples_is_refused(tmp_path):
    image, segment = particles()
    answer = Answer("x", (segment,), "x", "[SEG]")
    with pytest.raises(InputError, match="no accepted answer"):
        examples.save_example(tmp_path, image, [])
    (tmp_path / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="metadata.jsonl line 1: file_name: field required"):
        examples.save_example(tmp_path, image, [answer])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        examples.save_example(tmp_path / "file", image, [answer])
    assert not (tmp_path / "images").exists()
