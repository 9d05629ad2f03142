"""Programs executed: against a slow executor straight from the pixels, and on scenes written down by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from brute_force import BruteForce, CannotTell, Scene
from hypothesis import given, settings
from hypothesis import strategies as st
from program_strategies import programs

from lisa_micro.assistant.constraints import apply
from lisa_micro.datasets.texts.clause_phrases import draw_clause
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.execution import Instances, LabelledScene, execute
from lisa_micro.io.lazy.compact import compact_labels
from lisa_micro.language import render_clauses
from lisa_micro.language.program import parse_pipeline, parse_program, render_pipeline
from lisa_micro.language.program.syntax import Target

CONCEPTS = ("particle", "neck", "pore", "agglomerate", "core", "crack")


def random_labels(rng: np.random.Generator, shape, most: int) -> np.ndarray:
    """Blobs, rings and specks, some of them touching, cut by the border, or none at all."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    out = np.zeros(shape, np.int32)
    for k in range(1, int(rng.integers(0, most + 1)) + 1):
        y, x, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0.7, 6)
        stretch = rng.uniform(0.5, 2)
        distance = np.hypot((rows - y) * stretch, columns - x)
        blob = distance <= radius
        if rng.random() < 0.25:
            blob &= distance >= radius - 1.5
        out[blob & ((out == 0) | (rng.random() < 0.3))] = k
    return out


@cache
def random_scene(seed: int):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(12, 40)), int(rng.integers(12, 40)))
    labels = {concept: random_labels(rng, shape, 9 if concept == "particle" else 5) for concept in CONCEPTS}
    size = None if rng.random() < 0.25 else float(rng.choice([0.5, 1.0, 2.0]))
    pixels = None if rng.random() < 0.25 else rng.integers(0, 50, shape).astype(np.float32)
    return LabelledScene(labels, size, pixels), Scene(labels, size, pixels)


@settings(max_examples=150, deadline=None)
@given(programs(CONCEPTS), st.integers(0, 60))
def test_selections_equal_those_of_the_slow_executor(program, seed):
    scene, slow = random_scene(seed)
    missing = [c for c in ("substrate", "grain") if c not in slow.spots]
    for concept in missing:
        slow.spots.setdefault(concept, {})
    result = execute(program, scene)
    brute = BruteForce(slow, program.targets)
    for target, selection in zip(program.targets, result.selections, strict=True):
        try:
            expected = brute.select(target.concept, target.pipeline)
        except CannotTell:
            assert selection.problem and selection.count == 0
            continue
        assert not selection.problem
        assert set(selection.table()["label"]) == expected


SIMULATED = (
    "particles [SEG]<where>touching {particle largest 1}</where>",
    "particles [SEG]<where>with {neck largest 3}; except largest 1</where>",
    "particles [SEG]<where>within 6 px of {pore}; largest 2-4</where>",
    "pores [SEG]<where>inside {agglomerate largest 1}</where>",
    "agglomerates [SEG]<where>with >= 4 {particle}</where>",
    "agglomerates [SEG]<where>containing {pore}</where>",
    "particles [SEG]<where>diameter > mean + 1 std | diameter < mean - 1 std</where>",
    "particles [SEG]<where>closest separate pair</where>",
    "necks [SEG]<where>touching {particle touching border}; smallest 3</where>",
    "particles [SEG]<where>nearest 3 to {pore largest 1}</where>",
    "particles [SEG]<where>left of {agglomerate largest 1}</where>",
    "particles [SEG]<where>except touching {particle}</where> "
    "particles [SEG]<where>except among {1}; smallest 5</where>",
)


@cache
def simulated_scene():
    from lisa_micro.evaluate.scenes import scene_with_everything

    scene = scene_with_everything(3)
    labels = {name: scene.labels(name)[::2, ::2] for name in ("particle", "neck", "pore", "agglomerate")}
    return LabelledScene(labels, 1.0), Scene(labels, 1.0, None)


@pytest.mark.parametrize("text", SIMULATED)
def test_selections_on_a_simulated_micrograph(text):
    scene, slow = simulated_scene()
    program = parse_program(text)
    result = execute(program, scene)
    brute = BruteForce(slow, program.targets)
    for target, selection in zip(program.targets, result.selections, strict=True):
        assert set(selection.table()["label"]) == brute.select(target.concept, target.pipeline)


class Runs:
    """A scene whose labels are runs, as those of planes that are read part by part."""

    def __init__(self, scene):
        self.scene, self.shape, self.pixel_size_nm = scene, scene.shape, scene.pixel_size_nm

    def instances_of(self, concept):
        found = self.scene.instances_of(concept)
        return Instances(found.table, compact_labels(found.labels))


@pytest.mark.parametrize("text", SIMULATED)
def test_runs_in_windows_give_what_labels_in_memory_give(text, monkeypatch):
    scene, _ = simulated_scene()
    program = parse_program(text)
    whole = execute(program, scene)
    monkeypatch.setattr("lisa_micro.execution.outlines.WINDOW", 70)
    for measures in (Runs(scene), scene):
        parts = execute(program, measures)
        for one, other in zip(parts.selections, whole.selections, strict=True):
            assert (one.keep == other.keep).all() and not one.problem
        assert parts.notes == whole.notes


@settings(max_examples=60, deadline=None)
@given(programs(CONCEPTS), st.integers(0, 60))
def test_runs_give_what_labels_in_memory_give_for_any_program(program, seed):
    scene, _ = random_scene(seed)
    whole, runs = execute(program, scene), execute(program, Runs(scene))
    for one, other in zip(runs.selections, whole.selections, strict=True):
        assert (one.keep == other.keep).all() and one.problem == other.problem


def test_ten_thousand_scrambled_replies_are_executed():
    rng = np.random.default_rng(5)
    scene, _ = random_scene(3)
    pieces = [
        "particles [SEG]", "<where>", "</where>", "necks [SEG]<where>", "largest 3", "; ", " | ", "except ", "{neck}",
        "{1}",
        "touching {particle isolated}", "within 4 px of {pore}", "nearest 2 to ", "left edge", "diameter > ",
        "2 mean", "5 nm",
        "in left third", "closest pair", "<value>", "</value>", "count", " of 1", " / ", "mean diameter",
        "distance from 1 to 2",
        "<plot>histogram diameter</plot>", "<unknown>twins", "<cannot>cause", "list area", "among {particle}",
        "with >= 2 {core}",
    ]  # fmt: skip
    for _ in range(10_000):
        text = "".join(pieces[k] for k in rng.integers(len(pieces), size=rng.integers(1, 16)))
        program = parse_program(text)
        result = execute(program, scene)
        assert len(result.selections) == len(program.targets)
        assert len(result.values) == len(program.values) and len(result.plots) == len(program.plots)


# by hand: five particles of 4 x 4, 4 x 4, 6 x 6, 2 x 2 and 3 x 9 px on 40 x 60


def labels_of(*boxes) -> np.ndarray:
    out = np.zeros((40, 60), np.int32)
    for k, (x0, y0, x1, y1) in enumerate(boxes, 1):
        out[y0:y1, x0:x1] = k
    return out


@pytest.fixture
def scene() -> LabelledScene:
    particles = labels_of((2, 2, 6, 6), (8, 2, 12, 6), (30, 18, 36, 24), (50, 30, 52, 32), (20, 0, 29, 3))
    pores = labels_of((32, 20, 34, 22), (40, 5, 46, 8))
    pixels = np.zeros((40, 60), np.float32)
    for k, value in enumerate((10, 20, 30, 40, 50), 1):
        pixels[particles == k] = value
    return LabelledScene({"particle": particles, "pore": pores}, 2.0, pixels)


def selected(scene, where, noun="particles"):
    result = execute(parse_program(f"{noun} [SEG]<where>{where}</where>"), scene)
    return list(result.selections[0].table()["label"]), result


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("largest 2-2", [5]),  # 36, 27, 16, 16, 4 px
        ("largest 2-4", [1, 2, 5]),
        ("largest 3", [1, 3, 5]),  # 1 and 2 are equal: the lower one
        ("except largest 1 | smallest 1", [1, 2, 5]),
        ("highest aspect ratio 1", [5]),
        ("lowest intensity 2", [1, 2]),
        ("touching {particle}", [1, 2]),
        ("touching {particle darkest 1}", [2]),
        ("except touching {particle}", [3, 4, 5]),
        ("in left third", [1, 2]),
        ("in middle column", [3, 5]),
        ("in bottom third", [4]),
        ("in box 0,0,10,10", [1, 2]),
        ("nearest 1 to left edge", [1]),
        ("nearest 1 to bottom edge", [4]),
        ("farthest 1 to centre", [1]),
        ("nearest 2 to {particle largest 1}", [4, 5]),
        ("farthest 1 to {particle largest 1}", [1]),
        ("closest pair", [1, 2]),
        ("closest separate pair", [2, 5]),
        ("contacts = 1", [1, 2]),
        ("area > 1.5 median", [3, 5]),
        ("area > mean + 1 std", [3]),
        ("area > {pore}.max", [3, 5]),
        ("larger than {pore}", [3, 5]),
        ("area > 100 nm2", [3, 5]),
        ("left of {particle largest 1}", [1, 2, 5]),
        ("right of {particle}", [4]),
        ("below {particle largest 1}", [4]),
        ("within 20 nm of {particle smallest 1}", []),
        ("within 40 nm of {particle smallest 1}", [3]),
        ("within 40 nm of >= 3 {particle}", [5]),
        ("with {pore}", [3]),
        ("containing {pore}", [3]),
        ("among {particle isolated}", [3, 4, 5]),
        ("isolated; largest 1", [3]),
        ("largest 1; touching {particle}", []),
        ("in left half | darkest 3", [1, 2, 3, 5]),
    ],
)
def test_constructs_by_hand(scene, where, expected):
    assert selected(scene, where)[0] == expected


def test_earlier_targets(scene):
    text = "particles [SEG]<where>isolated</where> particles [SEG]<where>except among {1}</where>"
    result = execute(parse_program(text), scene)
    assert [list(s.table()["label"]) for s in result.selections] == [[3, 4, 5], [1, 2]]


def test_labels_of_a_selection(scene):
    result = execute(parse_program("particles [SEG]<where>isolated</where>"), scene)
    labels = result.selections[0].labels()
    assert labels.max() == 3 and labels[20, 32] == 1 and labels[3, 3] == 0


def test_inside_holes_counts():
    ring = labels_of((10, 10, 20, 20))
    ring[13:17, 13:17] = 0
    pore = labels_of((13, 13, 17, 17), (30, 30, 34, 34))
    scene = LabelledScene({"agglomerate": ring, "pore": pore})
    assert selected(scene, "inside {agglomerate}", "pores")[0] == [1]
    assert selected(scene, "containing {pore}", "agglomerates")[0] == [1]
    assert selected(scene, "with = 0 {pore}", "agglomerates")[0] == []


@pytest.mark.parametrize(
    ("where", "note"),
    [
        ("largest 9", "Asked for 9, but there are only 5."),
        ("largest 8-8", "Asked for number 8, but there are only 5."),
        ("touching {neck}", "There are no necks to compare with."),
        ("diameter > {neck}.max", "There are no necks to compare with."),
        ("largest 1; closest pair", "There is no pair of particles to compare."),
        ("largest 1; area > mean + 2 std", "Too few instances are left to apply 'area > mean + 2 std'."),
        ("diameter > 5", "'diameter > 5' was taken in nm."),
    ],
)
def test_notes(scene, where, note):
    assert note in selected(scene, where)[1].notes


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("thickness > 5 nm", "the thickness of particles was not measured"),
        ("among {pore}", "particles cannot be among pores"),
        ("nonsense", "the constraint 'nonsense' was not understood"),
    ],
)
def test_what_cannot_be_applied_selects_nothing_and_says_why(scene, where, problem):
    labels, result = selected(scene, where)
    assert labels == [] and result.selections[0].problem == problem


def test_nanometres_without_a_pixel_size_are_refused_not_ignored(scene):
    scene.pixel_size_nm = None
    labels, result = selected(scene, "diameter > 5 nm")
    assert labels == [] and "give the pixel size or ask in px" in result.selections[0].problem
    assert selected(scene, "diameter > 5 px")[0] == [3, 5]
    labels, result = selected(scene, "diameter > 5")
    assert labels == [3, 5] and result.notes == ("'diameter > 5' was taken in px.",)


def test_only_what_a_program_refers_to_is_measured(scene):
    asked = []

    class Counting:
        shape, pixel_size_nm = scene.shape, scene.pixel_size_nm

        def instances_of(self, concept):
            asked.append(concept)
            return scene.instances_of(concept)

    execute(parse_program("particles [SEG]<where>largest 3</where>"), Counting())
    assert set(asked) == {"particle"}
    execute(parse_program("particles [SEG]<where>touching {pore}</where>"), Counting())
    assert set(asked) == {"particle", "pore"}


def test_instances_without_outlines(scene):
    class Tracks:
        shape, pixel_size_nm = scene.shape, None

        def instances_of(self, concept):
            return Instances(scene.instances_of(concept).table)

    program = parse_program("particles [SEG]<where>largest 2</where> particles [SEG]<where>touching {particle}</where>")
    result = execute(program, Tracks())
    assert result.selections[0].count == 2
    assert result.selections[1].problem == "the particles have no outlines to compare"


@pytest.mark.parametrize("seed", range(12))
def test_constraints_of_version_1_select_what_they_always_did(seed):
    rng = np.random.default_rng(seed)
    scene, _ = random_scene(seed)
    particles = scene.instances_of("particle")
    props = {name: particles.table[name].to_numpy() for name in particles.table}
    for _ in range(40):
        kind = None if scene.pixel_size_nm else ("rank", "flag", "region", "nearest")[int(rng.integers(4))]
        clauses = tuple(draw_clause(Voice(rng), "particle", kind=kind).clause for _ in range(int(rng.integers(1, 4))))
        text = render_clauses(clauses)
        steps, bad = parse_pipeline(text)
        assert not bad and render_pipeline(steps) == text
        old, _ = apply(clauses, props, scene.shape, scene.pixel_size_nm)
        selection = execute(parse_program(f"particles [SEG]<where>{text}</where>"), scene).selections[0]
        if selection.problem:
            assert "intensity" in selection.problem  # version 1 showed everything instead
            continue
        assert list(selection.keep) == list(old), text


# values and plots


def number(scene, slot, before="particles [SEG]"):
    (value,) = execute(parse_program(f"{before}<value>{slot}</value>"), scene).values
    return value.number


TWO = "particles [SEG]<where>isolated</where> particles [SEG]"


@pytest.mark.parametrize(
    ("before", "slot", "value", "unit"),
    [
        ("particles [SEG]", "count", 5, ""),
        ("particles [SEG]", "total area", 99 * 4, "nm2"),
        ("particles [SEG]", "area fraction", 99 / 24, "%"),
        ("particles [SEG]", "number density", 5 / (2400 * 4e-6), "1/um2"),
        (TWO, "count of 1 / count of 2", 3 / 5, ""),
        (TWO, "total area of 1 / total area of 2", 67 / 99, ""),
        (TWO, "max area of 2 - max area of 1", 0, "nm2"),
        (TWO, "mean intensity of 1 - mean intensity of 2", 10, ""),
        (
            "particles [SEG]<where>darkest 1</where> pores [SEG]",
            "distance from 1 to 2",
            2 * (np.hypot(15, 27) - 1),
            "nm",
        ),
        (TWO, "mean diameter of 1 - count of 2", np.nan, ""),
        ("particles [SEG]<where>largest 1</where>", "std diameter", np.nan, "nm"),
        ("particles [SEG]", "mean thickness", np.nan, ""),
        ("particles [SEG]", "mean diameter rate", np.nan, ""),
        ("particles [SEG]<where>nonsense</where>", "count", np.nan, ""),
        ("necks [SEG]", "mean neck width", np.nan, "nm"),
    ],
)
def test_values(scene, before, slot, value, unit):
    found = number(scene, slot, before)
    assert found.value == pytest.approx(value, nan_ok=True) and found.unit == unit
    assert bool(found.why) == bool(np.isnan(value))


def test_values_in_px_without_a_pixel_size(scene):
    scene.pixel_size_nm = None
    assert number(scene, "max diameter").unit == "px" and number(scene, "number density").unit == "1/px2"


def test_lists_and_plots(scene):
    plots = "<plot>histogram area of 1 and 2</plot><plot>scatter area against diameter of 2</plot>"
    text = f"{TWO}<value>list area of 1</value>{plots}"
    result = execute(parse_program(text), scene)
    assert list(result.values[0].entries) == [144, 16, 108] and result.values[0].unit == "nm2"
    histogram, scatter = result.plots
    assert [list(s.values) for s in histogram.series] == [[144, 16, 108], [64, 64, 144, 16, 108]]
    assert [s.name for s in histogram.series] == ["the isolated particles", "the particles"]
    assert (scatter.unit, scatter.against_unit) == ("nm2", "nm")
    assert scatter.series[0].against == pytest.approx(np.sqrt(4 * scatter.series[0].values / np.pi))


def test_targets_without_a_noun_take_the_concept_that_is_given(scene):
    program = parse_program("Here they are [SEG].")
    assert program.parts[0] == Target(None)
    assert execute(program, scene, concepts=["pore"]).selections[0].concept == "pore"
    assert execute(program, scene).selections[0].concept == "particle"


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_tiny_images(shape):
    labels = np.ones(shape, np.int32)
    text = (
        "particles [SEG]<where>in centre; closest pair | nearest 1 to {particle} | with {pore}</where>"
        "<value>area fraction</value><value>mean gap</value><plot>cumulative gap</plot>"
    )
    result = execute(parse_program(text), LabelledScene({"particle": labels}))
    assert len(result.values) == 2 and result.plots[0].series[0].values.size == 0
