"""Evaluation of an assistant, with stand-ins whose scores can be worked out by hand.

One knows the truth, one finds nothing, and some are wrong in a known way.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

import lisa_micro
from lisa_micro.cli.main import main
from lisa_micro.datasets.derive import derive_truth
from lisa_micro.datasets.modality import emps_modality
from lisa_micro.datasets.splits import validation_names
from lisa_micro.datasets.texts import describe, held_out_suite
from lisa_micro.evaluate import (
    EvaluationSettings,
    Metric,
    Report,
    SuiteResult,
    evaluate,
    language,
    markdown,
    scenes,
    show,
    show_summary,
    speed,
    values,
)
from lisa_micro.evaluate import context as contexts
from lisa_micro.evaluate.provenance import hardware
from lisa_micro.evaluate.vision import micrographs
from lisa_micro.evaluate.wordings import LISA_WORDINGS, facts_of, foreign_wordings, whole_concept_wordings
from lisa_micro.language.program import render_program
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph, Value

SIZE = 64
NO = Answer("There are none.", declined=True, raw="<absent>There are none.")


def outlined(labels, concept="particle", raw=None, **more):
    """An answer with one segment, or that there is nothing."""
    if not labels.any():
        return NO
    segment = Segmentation(labels.astype(np.int32), concept=concept)
    return Answer("Here.", (segment,), raw=raw or f"Here are the {concept}s [SEG].", **more)


def concepts_of_wordings():
    asked = dict.fromkeys(LISA_WORDINGS, "particle")
    for concept in scenes.ASKED:
        for n, avoid in ((20, ()), (15, micrographs.NOT_DARK)):
            asked |= dict.fromkeys(whole_concept_wordings(concept, n, avoid=avoid), concept)
    return asked


CONCEPT_OF = concepts_of_wordings()


class Knowing:
    """Knows the truth: of the pictures of the fixture ``data`` from their pixels, of simulated scenes from
    their seed."""

    weights_sha256 = "ab" * 32

    def truth(self, image):
        if image.source.startswith("simulated scene"):
            scene = scenes.scene_of(int(image.source.split()[-1]))
            return {concept: scene.labels(concept) for concept in scenes.ASKED}
        return derive_truth(np.rint(image.pixels / 20).astype(np.int32))

    def ask(self, image, prompt):
        concept = CONCEPT_OF.get(prompt)
        return NO if concept is None else outlined(self.truth(image)[concept], concept)


class Blind:
    """Finds nothing, ever."""

    def ask(self, image, prompt):
        return NO


def squares(*boxes, size=SIZE):
    labels = np.zeros((size, size), np.int32)
    for k, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = k
    return labels


TOUCHING = squares((4, 10, 24, 30), (24, 10, 44, 30))
APART = squares((4, 4, 14, 14), (30, 30, 50, 50))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Three EMPS validation images and one for training; two of tem-sintering."""
    names = sorted(validation_names("emps"))[:3]
    for folder in ("emps/images", "emps/segmaps", "tem-sintering/images", "tem-sintering/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for name, labels in zip([*names, "ffffffffff"], [TOUCHING, APART, APART, TOUCHING], strict=True):
        # the labels can be read off the picture
        Image.fromarray((labels * 20).astype(np.uint8)).save(tmp_path / "emps/images" / f"{name}.png")
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "emps/segmaps" / f"{name}.png")
    for name in sorted(validation_names("tem-sintering"))[:2]:
        mask = APART > 0
        Image.fromarray(np.where(mask, 20, 0).astype(np.uint8)).save(tmp_path / "tem-sintering/images" / f"{name}.png")
        label = name.replace("image", "label")
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "tem-sintering/labels" / f"{label}.png")
    monkeypatch.delenv("LISA_MICRO_DATA", raising=False)
    return tmp_path


def suite(name, assistant, **more):
    return evaluate(name, assistant, EvaluationSettings(**more)).results[0]


# ------------------------------------------------------------------------------------------- real micrographs


def test_emps_truth_is_perfect(data):
    result = suite("emps", Knowing(), data=data)
    got = {figure.key: figure.value for figure in result.figures}
    assert got.pop("giou") == pytest.approx(1, abs=1e-6)  # LISA adds 1e-5 to the union
    assert got == pytest.approx(dict.fromkeys(got, 1.0))
    assert result["ap50"].n == 6 and result["neck_f1"].n == 1
    (presence, _) = result.tables.values()
    by_name = {row["asked for"]: row for row in presence}
    assert by_name["neck"]["images with"] == 1 and by_name["neck"]["images without"] == 2
    assert by_name["neck"]["declined"] == 1 and by_name["neck"]["false declines"] == 0
    assert by_name["pore"] == {
        "asked for": "pore", "images without": 3, "declined": 1.0, "images with": 0, "false declines": "-"
    }  # fmt: skip


def test_emps_nothing_found(data):
    result = suite("emps", Blind(), data=data)
    zero = ("giou", "ciou", "ap50", "ap50_per_image", "f1", "coco_ap50", "neck_f1", "neck_f1_from_particles")
    assert all(result[key].value == 0 for key in zero)
    assert result["giou"].verdict == result["ap50"].verdict == "FAIL"
    assert next(iter(result.tables.values()))[0]["false declines"] == 1


def test_emps_by_hand(data):
    class First(Knowing):
        """Outlines the first particle only, and a neck 15 px from the true one, which is 20 px wide."""

        shift = 15

        def ask(self, image, prompt):
            labels = self.truth(image)[CONCEPT_OF[prompt]]
            if CONCEPT_OF[prompt] == "particle":
                return outlined(np.where(labels == 1, 1, 0))
            return outlined(np.roll(labels, self.shift, axis=0), CONCEPT_OF[prompt])

    result = suite("emps", First(), data=data)
    # one of two particles in each: 400 of 800 px, then twice 100 of 500
    assert result["giou"].value == pytest.approx((0.5 + 0.2 + 0.2) / 3, abs=1e-6)
    assert result["ciou"].value == pytest.approx((400 + 100 + 100) / (800 + 500 + 500))
    assert result["ap50"].value == result["ap50_per_image"].value == pytest.approx(0.5)
    assert result["f1"].value == pytest.approx(2 * 3 / (2 * 3 + 3))
    assert result["neck_f1"].value == 1
    First.shift = 25
    assert suite("emps", First(), data=data)["neck_f1"].value == 0


def test_emps_uses_scores(data):
    class Scored(Knowing):
        """One particle right, one false one, with confidences that put the right one first or last."""

        scores = (0.9, 0.1)

        def ask(self, image, prompt):
            labels = np.where(self.truth(image)["particle"] == 1, 1, 0)
            labels[60:, 60:] = 2
            table = pd.DataFrame({"score": self.scores})
            return Answer("", (Segmentation(labels, properties=table),))

    # recall ends at 1/2: 51 of the 101 points of the curve at precision 1, or at 1/2
    assert suite("emps", Scored(), data=data)["coco_ap50"].value == pytest.approx(51 / 101)
    Scored.scores = (0.1, 0.9)
    assert suite("emps", Scored(), data=data)["coco_ap50"].value == pytest.approx(51 / 101 / 2, abs=1e-6)


def test_emps_limit_and_details(data, tmp_path):
    report = evaluate("emps", Knowing(), EvaluationSettings(data=data, limit=1), out=tmp_path / "out")
    assert len(report.results[0].details["emps-images.csv"]) == 1
    assert any("Limited to 1" in note for note in report.results[0].notes)
    rows = list(csv.DictReader((tmp_path / "out/emps-images.csv").open()))
    assert rows[0]["TP"] == "2" and rows[0]["IoU"] == "1.0"


def test_tem_sintering_spread(data):
    odd = LISA_WORDINGS[0]

    class Moody(Knowing):
        def ask(self, image, prompt):
            return NO if prompt == odd else super().ask(image, prompt)

    result = suite("tem-sintering", Knowing(), data=data)
    assert result["iou"].value == 1 and result["spread"].value == 0 and result["spread"].verdict == "aim"
    result = suite("tem-sintering", Moody(), data=data)
    wordings = len(result.tables["By wording"])
    assert wordings >= 12 + 3 and result["iou"].n == 2 * wordings
    assert result["iou"].value == pytest.approx((wordings - 1) / wordings)
    assert result["spread"].value == 1 and result["spread"].verdict == "FAIL"
    assert result.tables["By wording"][-1]["wording"] == odd


def test_tem_sintering_edges_count_outside_the_band_only(data):
    class Thin(Knowing):
        """Every particle without its outermost pixels: 8 x 8 of 10 x 10 and 18 x 18 of 20 x 20."""

        def ask(self, image, prompt):
            from scipy.ndimage import binary_erosion

            return outlined(binary_erosion(self.truth(image)["particle"] > 0, np.ones((3, 3))))

    result = suite("tem-sintering", Thin(), data=data)
    assert result["iou"].value == pytest.approx((64 + 324) / 500)
    assert result["iou_outside_band"].value == 1


def test_recipe_finds_dark_discs():
    rows, columns = np.mgrid[:256, :256]
    disc = np.hypot(rows - 128, columns - 128) < 60
    noise = np.random.default_rng(0).normal(0, 10, disc.shape)
    mask = micrographs.recipe(np.where(disc, 80.0, 160.0) + noise)
    assert (mask & disc).sum() / (mask | disc).sum() > 0.98


def test_wordings():
    words = whole_concept_wordings("particle", 15)
    assert len(set(words)) == 15 and words == whole_concept_wordings("particle", 15)
    assert words[:5] == whole_concept_wordings("particle", 5)
    dark = whole_concept_wordings("particle", 15, avoid=micrographs.NOT_DARK)
    assert not any("bright" in wording.lower() for wording in dark)
    assert len(set(foreign_wordings(31))) == 31
    with pytest.raises(LookupError):
        whole_concept_wordings("substrate", 100000)


# ---------------------------------------------------------------------------------------------- language


class Parrot:
    """Answers the requests of a suite with the replies expected, but for every ``wrong``-th."""

    def __init__(self, items, wrong=0, reply="Here are the pores [SEG]<where>largest 77</where>."):
        self.replies = {(item.prompt, item.history): render_program(item.expected) for item in items}
        if wrong:
            for key in list(self.replies)[::wrong]:
                self.replies[key] = reply

    def parse(self, micrograph, prompt, history=()):
        assert micrograph is None or micrograph.shape == (512, 512)
        return self.replies[prompt, tuple(history)]


class Forgetful(Parrot):
    def parse(self, micrograph, prompt):
        return self.replies[prompt, ()]


def test_language_by_hand():
    items = held_out_suite(60)
    assert any(item.history for item in items)
    assert suite("language", Parrot(items), limit=60)["exact"].value == 1
    result = suite("language", Parrot(items, 4), limit=60)
    assert result["exact"].value == result["targets"].value == pytest.approx(0.75)
    assert result["parse_failures"].value == 0 and result["wrong_declines"].value == 0
    failures = result.details["language-failures.csv"]
    assert len(failures) == 15 and failures[0]["read"] == "pores [SEG]<where>largest 77</where>"
    assert result.tables["Held-out requests by category"][-1]["n"] == 60


def test_language_declines_and_noise():
    items = held_out_suite(60)
    foreign = [item for item in items if language.is_decline(item.expected)]
    result = suite("language", Parrot(items, 1, "<unknown>cats"), limit=60)
    assert result["declined"].value == 1 and result["declined"].n == len(foreign) > 0
    assert result["wrong_declines"].value == 1 and result["wrong_declines"].n == 60 - len(foreign)
    result = suite("language", Parrot(items, 1, "the [SEG]<where>nonsense</where>"), limit=60)
    assert result["parse_failures"].value == 1 and result["declined"].value == 0
    assert result["exact"].value == 0


def test_language_without_history_leaves_follow_ups_out():
    items = held_out_suite(60)
    result = suite("language", Forgetful(items), limit=60)
    single = [item for item in items if not item.history]
    assert result["exact"].n == len(single) and result["exact"].value == 1
    assert str(60 - len(single)) in result.notes[0]


def test_language_asks_where_there_is_no_parse():
    items = held_out_suite(20)
    parrot = Parrot(items)
    asking = SimpleNamespace(ask=lambda image, prompt: Answer("", raw=parrot.parse(image, prompt)))
    assert suite("language", asking, limit=20)["exact"].value == 1


def test_language_of_a_file(tmp_path):
    path = tmp_path / "prompts.yaml"
    path.write_text(
        "- {about: outline, say: necks pls, expect: 'Here are the necks [SEG].'}\n"
        "- about: follow-up\n"
        "  before: [[necks, 'Here are the necks [SEG].']]\n"
        "  say: the widest\n"
        "  expect: Here is the neck [SEG]<where>largest 1</where>.\n"
    )
    items = language.read_prompts(path)
    assert items[1].history == (("necks", "necks [SEG]"),)
    assert render_program(items[1].expected) == "necks [SEG]<where>largest 1</where>"
    both = Parrot([*held_out_suite(2), *items])
    result = suite("language", both, limit=2, prompts=path)
    assert result["file_exact"].value == 1 and result["file_exact"].n == 2
    assert len(result.tables["Requests of the file by category"]) == 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("{}", "no list"),
        ("- {say: a}", "request 1: it needs"),
        ("- {say: a, expect: 'x [SEG]<where>foo</where>'}", "request 1: what is expected"),
        ("- {say: a, expect: b, colour: c}", "unknown key 'colour'"),
        ("- {say: a, expect: b, before: [[c]]}", "request 1"),
        ("- {say", "cannot be read"),
    ],
)
def test_bad_prompts(tmp_path, text, said):
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        evaluate("language", Blind(), EvaluationSettings(prompts=path))


# ------------------------------------------------------------------------------------------------- declines


def test_declines():
    result = suite("declines", Knowing(), limit=4)
    assert result["declined"].value == 1 and result["false_declines"].value == 0
    assert result["declined"].verdict == result["false_declines"].verdict == "aim"
    assert result["declined_foreign"].n == 4 * scenes.FOREIGN_PER_SCENE
    assert result["declined"].n == result["declined_foreign"].n + result["declined_absent"].n
    blind = suite("declines", Blind(), limit=4)
    assert blind["declined"].value == 1 and blind["false_declines"].value == 1
    assert blind["false_declines"].verdict == "FAIL"

    class Eager:
        def ask(self, image, prompt):
            return outlined(np.ones(image.shape, int))

    eager = suite("declines", Eager(), limit=4)
    assert eager["declined"].value == 0 and eager["false_declines"].value == 0
    assert len(eager.details["declines-failures.csv"]) == eager["declined"].n


def test_an_empty_answer_is_no_decline():
    assert not contexts.declined(Answer("")) and contexts.came_back_empty(Answer(""))
    empty = Segmentation(np.zeros((4, 4), np.int32))
    assert contexts.came_back_empty(Answer("", (empty,)))
    full = Segmentation(np.ones((4, 4), np.int32))
    assert not contexts.declined(Answer("", (full,), declined=True))


def test_small_things_are_asked_for_in_neither_way():
    scene = SimpleNamespace(labels=lambda concept: squares((0, 0, 3, 3)))
    assert scenes.is_there(scene, "pore") is None
    scene = SimpleNamespace(labels=lambda concept: squares((0, 0, 4, 4)))
    assert scenes.is_there(scene, "pore") is True
    scene = SimpleNamespace(labels=lambda concept: squares())
    assert scenes.is_there(scene, "pore") is False


# -------------------------------------------------------------------------------------------------- values

PICTURE = Micrograph(np.full((SIZE, SIZE), 7.0, np.float32), 2.0)
MEAN_NM = 2 * (np.sqrt(4 * 100 / np.pi) + np.sqrt(4 * 400 / np.pi)) / 2


def value(measure, number, unit, text, target=1):
    return Value(measure, number, unit, text, target)


def check(one, labels=APART, raw="The particles [SEG].", micrograph=PICTURE, **more):
    segment = Segmentation(labels, concept=more.pop("concept", "particle"), **more)
    return values.check_value(one, Answer(f"It is {one.text}.", (segment,), raw=raw), micrograph)


@pytest.mark.parametrize(
    "one",
    [
        value("count", 2.0, "", "2"),
        value("mean diameter", MEAN_NM, "nm", f"{MEAN_NM:.1f} nm"),
        value("mean radius", MEAN_NM / 2, "nm", f"{MEAN_NM / 2:.2f} nm"),
        value("total area", 2000.0, "nm2", "2000 nm²"),
        value("area fraction", 100 * 500 / 4096, "%", "12.2 %"),
        value("number density", 2 / (4096 * 4e-6), "1/um2", "122 per µm²"),
        value("std area", np.std([400, 1600], ddof=1), "nm2", "849 nm²"),
        value("D10 area", 400 + 0.1 * 1200, "nm2", "520 nm²"),
        value("mean intensity", 7.0, "", "7"),
        value("max contacts", 0.0, "", "0"),
        value("mean circularity", math.nan, "", "no value (nothing was found)"),
    ],
)
def test_right_values(one):
    labels = np.zeros_like(APART) if math.isnan(one.value) else APART
    row = check(one, labels)
    assert row["right"] and row["by"] == "labels", row


@pytest.mark.parametrize(
    "one",
    [
        value("count", 3.0, "", "3"),
        value("mean diameter", MEAN_NM, "nm", f"{MEAN_NM + 0.2:.1f} nm"),  # the text says something else
        value("mean diameter", MEAN_NM / 2, "px", f"{MEAN_NM / 2:.1f} px"),  # the pixel size is known
        value("mean diameter", MEAN_NM * 1.001, "nm", f"{MEAN_NM * 1.001:.1f} nm"),
        value("std area", np.std([400, 1600]), "nm2", "600 nm²"),
        value("mean diameter", math.nan, "nm", "no value"),
        value("mean nonsense", 1.0, "", "1"),
    ],
)
def test_wrong_values(one):
    assert not check(one)["right"]


def test_values_of_neighbours_come_from_the_table():
    one = value("mean gap", 12.0, "nm", "12 nm")
    table = pd.DataFrame({"gap_px": [6.0], "gap_nm": [12.0]})
    # the labels hold one particle, and cannot tell how far the next one was
    row = check(one, squares((4, 4, 14, 14)), where="largest 1", properties=table)
    assert row["right"] and row["by"] == "table"
    assert not check(one, squares((4, 4, 14, 14)), where="largest 1", properties=table * 2)["right"]
    width = value("mean neck width", 20.0, "nm", "20 nm")  # measured on the particles that the neck joins
    table = pd.DataFrame({"neck_width_nm": [20.0]})
    neck = squares((4, 4, 14, 9))
    assert check(width, neck, "The necks [SEG].", concept="neck", properties=table)["right"]
    assert not check(width, neck, "The necks [SEG].", concept="neck")["right"]
    half = value("mean neck radius", 10.0, "nm", "10 nm")
    assert check(half, neck, "The necks [SEG].", concept="neck", properties=table)["right"]


def test_values_find_their_target():
    particles, pores = Segmentation(APART, concept="particle"), Segmentation(TOUCHING, concept="pore")
    raw = "The particles [SEG], the necks [SEG] and the pores [SEG]."
    answer = Answer("", (particles, pores), raw=raw)
    found = [values.segment_of(value("count", 0, "", "", k), answer) for k in (1, 2, 3, 4)]
    assert found[0] is particles and found[1] is None and found[2] is pores and found[3] is None
    second = Segmentation(APART, concept="particle", target=2)  # of two of a kind, the first left nothing over
    answer = Answer("", (second,), raw="The particles [SEG]<where>area > 9 um2</where> and the particles [SEG].")
    assert values.segment_of(value("count", 0, "", "", 1), answer) is None
    assert values.segment_of(value("count", 0, "", "", 2), answer) is second


def test_stray_numbers():
    raw = "The number of particles [SEG]<where>diameter > 20 nm</where> is <value>count</value>."
    text = "The number of particles with diameter above 20 nm is 3, all 5 nm2 and D10."
    answer = Answer(text, raw=raw, values=(value("count", 3.0, "", "3"),))
    assert values.stray_numbers(answer) == ["5"]


def test_values_suite():
    class Counting:
        """Counts the particles right, whatever was asked; ``off`` makes it wrong."""

        off = 0

        def ask(self, image, prompt):
            labels = Knowing().truth(image)["particle"]
            n = int(labels.max()) + self.off
            segment = Segmentation(labels, concept="particle")
            raw = "The number of particles [SEG] is <value>count</value>."
            return Answer(f"There are {n}.", (segment,), raw=raw, values=(value("count", float(n), "", str(n)),))

    result = suite("values", Counting(), limit=2)
    assert result["values_right"].value == 1 and result["stray_numbers"].value == 0
    assert result["values_right"].n == 2 * values.REQUESTS_PER_SCENE
    Counting.off = 1
    result = suite("values", Counting(), limit=2)
    assert result["values_right"].value == 0 and result["values_right"].verdict == "FAIL"
    assert len(result.details["values-wrong.csv"]) == 2 * values.REQUESTS_PER_SCENE


def test_measure_requests_are_about_what_is_there():
    facts = facts_of(scenes.scene_of(scenes.FIRST_SEED))
    turns = [values.measure_request(np.random.default_rng(k), facts) for k in range(20)]
    assert all(turn.category == "measure" and turn.targets for turn in turns)


# --------------------------------------------------------------------------------------------------- speed


def test_speed_summary_by_hand():
    one = {"load_s": 2.0, "cold_s": [9.0], "first_s": [1.0, 2.0, 6.0], "further_s": [0.5], "peak_gb": 1.0}
    two = {"load_s": 5.0, "cold_s": [8.0], "first_s": [1.0], "further_s": [0.7], "peak_gb": 2.0}
    result = speed.summary([{**record, "cores": 2, "threads": 2} for record in (one, two)])
    got = {figure.key: figure.value for figure in result.figures}
    assert got == pytest.approx({"first_answer": 1.5, "further_answers": 0.6, "load": 3.5, "peak_memory": 2.0})
    assert result["first_answer"].verdict == "aim" and result["peak_memory"].verdict == "pass"
    assert result.tables["Speed"][0] == {"what": "load, s", "n": 2, "best": 2.0, "median": 3.5, "worst": 5.0}


def test_speed_measures():
    class Slow:
        asked: list = []

        def chat(self, image):
            assert image.shape == (48, 48)
            return SimpleNamespace(ask=self.asked.append)

    record = speed.measure(Slow(), shape=(48, 48))
    assert len(record["cold_s"]) == 1 and len(record["first_s"]) == speed.IMAGES
    assert len(record["further_s"]) == speed.IMAGES * len(speed.FURTHER)
    assert len(Slow.asked) == (speed.IMAGES + 1) * (1 + len(speed.FURTHER))
    assert 0.01 < record["peak_gb"] < 50


def test_speed_process(monkeypatch, capsys):
    """What a fresh process runs, in this one."""
    silent = SimpleNamespace(chat=lambda image: SimpleNamespace(ask=lambda prompt: None))
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, device: silent, raising=False)
    monkeypatch.setattr(sys, "argv", ["-c", "micro", "auto", "1000", "answers", json.dumps(sys.path)])
    exec(speed.PROCESS, {})
    record = json.loads(capsys.readouterr().out)
    assert record["load_s"] > 0 and speed.summary([record])["load"].n == 1


def test_speed_in_processes(monkeypatch):
    monkeypatch.setattr(
        speed,
        "PROCESS",
        "import json, os, sys\n"
        "assert os.environ['OMP_NUM_THREADS'] == sys.argv[3] == '2' and sys.argv[1:3] == ['micro', 'auto']\n"
        "print('noise of some library')\n"
        "print(json.dumps(dict(load_s=1.0, cold_s=[1.0], first_s=[1.0], further_s=[1.0], peak_gb=1.0,"
        " cores=2, threads=2)))",
    )
    report = evaluate("speed", settings=EvaluationSettings(limit=1))
    assert report.results[0]["load"].value == 1 and report.results[0]["load"].n == 1


def test_speed_says_why_a_preset_cannot_be_loaded(monkeypatch):
    text = "class InputError(Exception): __module__ = 'lisa_micro.types'\nraise InputError('no such preset')"
    monkeypatch.setattr(speed, "PROCESS", text)
    with pytest.raises(InputError, match="of its own: no such preset$"):
        evaluate("speed", settings=EvaluationSettings(preset="nothing"))


# -------------------------------------------------------------------------------------------------- reports


def test_verdicts():
    def verdict(number, **more):
        return Metric("k", "n", number, "", 0.9, 0.98, **more).verdict

    assert [verdict(v) for v in (0.5, 0.9, 0.98, math.nan)] == ["FAIL", "pass", "aim", ""]
    assert [verdict(v, lower=True) for v in (0.99, 0.95, 0.5)] == ["FAIL", "FAIL", "aim"]
    assert Metric("k", "n", 1.0, "").verdict == ""
    assert Metric("k", "n", 0.1 + 0.2, "", 0.3, lower=True).verdict != "FAIL"
    assert Metric("k", "n", 0.975, "", 0.9, unit="%").limit(0.9) == ">= 90 %"


def test_report_files(data, tmp_path):
    out = tmp_path / "out"
    shown = []
    report = evaluate("tem-sintering", Knowing(), EvaluationSettings(data=data, limit=1), show=shown.append, out=out)
    record = json.loads((out / "evaluation.json").read_text())
    assert record["provenance"]["seed"] == 0 and record["provenance"]["weights_sha256"] == "ab" * 32
    assert set(record["provenance"]) >= {"version", "commit", "hardware", "preset", "limit"}
    assert record["suites"][0]["figures"][0]["value"] == 1 and record["suites"][0]["figures"][0]["definition"]
    text = (out / "evaluation.md").read_text()
    assert "| nanoparticles, mask IoU | 1 | >= 0.93 | >= 0.97 | aim |" in text
    assert shown == list(report.results)
    assert str(tmp_path) not in text  # a report is for others too


def test_tables_on_a_terminal():
    figures = (Metric("a", "a [b] figure", 0.1, "what|it is", 0.5, 0.6), Metric("c", "c", math.nan, "", 1))
    rows = [{"name": "x|y<z>", "share": 0.25}]
    result = SuiteResult("suite", figures, {"Table": rows}, notes=("[note]",))
    report = Report((result,), {"version": "1", "hardware": "none", "weights_sha256": None})
    console = Console(width=200, record=True, file=io.StringIO())
    show(result, console)
    show_summary(report, console)
    text = console.export_text()
    assert "a [b] figure" in text and "x|y<z>" in text and "[note]" in text
    assert "0 of 1 metrics reach their must" in text and "FAIL  a [b] figure: 0.1 (must be >= 0.5)" in text
    assert "x\\|y&lt;z>" in markdown(report)
    narrow = Console(width=80, record=True, file=io.StringIO())
    show(result, narrow)
    assert "a [b] figure: what|it is" in narrow.export_text()


def test_hardware_names_the_cores():
    assert "cores" in hardware() and "\n" not in hardware()


def test_data_is_needed(data, monkeypatch):
    for name in ("emps", "tem-sintering", "all"):
        with pytest.raises(InputError, match="LISA_MICRO_DATA"):
            evaluate(name, Blind())
    monkeypatch.setenv("LISA_MICRO_DATA", str(data))
    assert suite("emps", Blind(), limit=1)["ap50"].value == 0


def test_bad_requests():
    with pytest.raises(InputError, match="no suite 'nothing'"):
        evaluate("nothing", Blind())
    with pytest.raises(InputError, match="at least 1"):
        evaluate("declines", Blind(), EvaluationSettings(limit=0))


def test_defects_count_as_wrong(data):
    class Fragile(Knowing):
        def ask(self, image, prompt):
            if prompt == LISA_WORDINGS[2]:
                raise RuntimeError("boom")
            return super().ask(image, prompt)

    class Broken:
        asked = 0

        def ask(self, image, prompt):
            self.asked += 1
            raise RuntimeError("boom")

    result = suite("tem-sintering", Fragile(), data=data)
    assert result["spread"].value == 1 and "2 of" in result.notes[0] and "boom" in result.notes[0]
    broken = Broken()
    with pytest.raises(RuntimeError, match="boom"):
        evaluate("tem-sintering", broken, EvaluationSettings(data=data))
    assert broken.asked == 3


def test_labels_of_several_segments():
    one, two = Segmentation(squares((0, 0, 4, 4))), Segmentation(squares((2, 0, 6, 4), (10, 10, 12, 12)))
    other_size = Segmentation(np.ones((3, 3), np.int32))
    labels = Answer("", (one, two, other_size)).labels((SIZE, SIZE))
    assert np.bincount(labels.ravel())[1:].tolist() == [16, 8, 4]
    assert not NO.labels((5, 7)).any()


def test_command_line(data, tmp_path, capsys, monkeypatch):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", *arguments])
        return stop.value.code, capsys.readouterr()

    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, device: Knowing(), raising=False)
    assert run("list")[0] == 0
    code, text = run("nothing")
    assert code == 2 and "'nothing'" in text.err and "'emps'" in text.err
    code, text = run("emps")
    assert code == 2 and "LISA_MICRO_DATA" in text.err
    out = tmp_path / "out"
    code, text = run("tem-sintering", "--data", str(data), "--limit", "1", "--out", str(out))
    assert code == 0 and "evaluation.json" in text.out and "3 of 3 metrics reach their must" in text.out
    code, text = run("tem-sintering", "--data", str(data), "--limit", "1", "--out", str(out))
    assert code == 2 and "--force" in text.err


def test_scene_descriptions_by_hand(data):
    class Seer(Knowing):
        """Knows the number of particles of the pictures of ``data`` and calls everything SEM."""

        def parse(self, image, prompt):
            if image.source.startswith("simulated scene"):
                facts = facts_of(scenes.scene_of(int(image.source.split()[-1])))
                return describe(facts)
            return "An SEM micrograph with a few particles, all isolated."

    result = suite("scene", Seer(), data=data, limit=2)
    assert result["all_simulated"].value == 1 and result["all_simulated"].n == 2
    known = [n for n in sorted(validation_names("emps"))[:3] if n in emps_modality()][:2]
    sem = [emps_modality()[n] == "SEM" for n in known]
    assert result["modality_emps"].n == len(known)
    assert result["modality_emps"].value == pytest.approx(np.mean(sem))
    assert result["number_emps"].value == 1
    mute = SimpleNamespace(ask=None, parse=lambda image, prompt: "Hello!")
    assert suite("scene", mute, data=data, limit=2)["number_simulated"].value == 0
