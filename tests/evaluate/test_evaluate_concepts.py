"""The suites concepts and exemplars: what they count, on eyes that know the truth and on eyes that see nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lisa_micro.datasets.splits import validation_names
from lisa_micro.evaluate import EvaluationSettings, evaluate
from lisa_micro.evaluate.vision import concepts as suite
from lisa_micro.evaluate.vision import exemplars as like_suite
from lisa_micro.evaluate.vision.decoder import Seen, best_and_worst, picture
from lisa_micro.evaluate.vision.exemplars import negative_boxes, positive_boxes
from lisa_micro.types import InputError


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def blobs(shift=0):
    y, x = np.mgrid[:120, :160]
    labels = np.zeros((120, 160), np.uint16)
    for number, (cx, cy) in enumerate([(30, 30), (46, 47), (120, 80)], 1):
        labels[(x - cx - shift) ** 2 + (y - cy) ** 2 < 14**2] = number
    return labels


@pytest.fixture
def data(tmp_path):
    """A powder and an EMPS micrograph, both of the validation parts; grey values tell the instances."""
    powder = sorted(validation_names("powder"))[0]
    emps = sorted(validation_names("emps"))[0]
    labels = blobs()
    folder = tmp_path / "materials" / "powder"
    write(folder / "images" / f"{powder}.png", (60 * labels).astype(np.uint8))
    for concept in ("particle", "satellite"):
        write(folder / "labels" / concept / f"{powder}.png", labels)
    write(tmp_path / "emps" / "images" / f"{emps}.png", (60 * labels).astype(np.uint8))
    write(tmp_path / "emps" / "segmaps" / f"{emps}.png", labels)
    return tmp_path


class Knowing:
    """Answers with the truth of ``blobs``."""

    def __init__(self, assistant):
        self.config = SimpleNamespace(work_side=640)
        self.knows_exemplars = True

    def knows(self, concept):
        return True

    def concept(self, pixels, concept, tiled=False):
        return blobs().astype(np.int32)

    def boxes(self, pixels, boxes):
        centres = (boxes[:, :2] + boxes[:, 2:]).astype(int) // 2
        return np.stack([blobs() == blobs()[y, x] for x, y in centres])

    def like(self, pixels, boxes, signs):
        return blobs().astype(np.int32)


class Blind(Knowing):
    """Sees nothing."""

    def knows(self, concept):
        return concept != "satellite"

    def concept(self, pixels, concept, tiled=False):
        return np.zeros((120, 160), np.int32)

    def boxes(self, pixels, boxes):
        return np.zeros((len(boxes), 120, 160), bool)

    like = concept


@pytest.fixture
def run(data, monkeypatch):
    tasks = tuple(t for t in suite.TASKS if t.source == "powder")
    monkeypatch.setattr(suite, "TASKS", tasks)
    monkeypatch.setattr(like_suite, "MATERIALS", {"powder": like_suite.MATERIALS["powder"]})

    def run(eyes, name="concepts", **more):
        monkeypatch.setattr(suite, "Eyes", eyes)
        monkeypatch.setattr(like_suite, "Eyes", eyes)
        return evaluate(name, object(), EvaluationSettings(data=data), **more)

    return run


def test_the_truth_scores_one_and_its_pictures_are_written(run, tmp_path):
    result = run(Knowing, out=tmp_path / "out").results[0]
    assert result["powder_particle"].value == result["satellite"].value == 1
    assert result["box_alone"].value == result["box_crowd"].value == 1
    assert result["box_crowd"].n + result["box_alone"].n == 3 and result["box_crowd"].n >= 1
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == set(result.pictures)
    assert Image.open(tmp_path / "out" / "concepts-boxes.png").size[0] > 1000


def test_what_is_not_seen_scores_nothing_and_is_said(run):
    result = run(Blind).results[0]
    assert result["powder_particle"].value == result["box_alone"].value == 0
    assert "satellite" in result.notes[0]


def test_particles_on_letters_are_counted(run):
    class Reading(Knowing):
        """Takes all that is burnt in for a particle."""

        def concept(self, pixels, concept, tiled=False):
            grey = blobs() * 60 / 180
            return (np.abs(pixels - grey) > 0.2).astype(np.int32) if pixels.max() <= 1 else blobs().astype(np.int32)

    assert run(Knowing).results[0]["on_annotation"].value == 0
    assert run(Reading).results[0]["on_annotation"].value > 0.5


def test_exemplars_score_both_ways_of_showing(run):
    assert run(Knowing, "exemplars").results[0]["several"].value == 1
    assert run(Blind, "exemplars").results[0]["one"].value == 0


def test_instances_of_other_diameters_do_not_count():
    truth = blobs().astype(np.int32)
    found = np.where(truth == 1, truth, 0)
    assert suite.found_of(found, truth, (20, 40)) == (1, 3)
    assert suite.found_of(found, truth, (40, 90)) == (0, 0)


def test_example_boxes_hold_the_concept_and_negative_ones_do_not():
    rng = np.random.default_rng(0)
    labels = blobs().astype(np.int32)
    like = positive_boxes(labels, "particle", 3, rng)
    assert len(like) == 3
    for x0, y0, x1, y1 in like.astype(int):
        assert (labels[y0:y1, x0:x1] > 0).mean() > 0.6
    unlike = negative_boxes(labels, like, 3, rng)
    assert len(unlike) == 3
    for x0, y0, x1, y1 in unlike.astype(int):
        assert (labels[y0:y1, x0:x1] > 0).mean() < 0.06
    line = np.zeros((100, 100), np.int32)
    line[:, 50] = 1
    x0, y0, x1, y1 = positive_boxes(line, "crack", 1, rng)[0].astype(int)
    assert line[y0:y1, x0:x1].any() and x1 - x0 == 1
    assert negative_boxes(np.ones((50, 50), np.int32), like, 3, rng).shape == (0, 4)


def test_pictures_show_the_best_and_the_worst():
    cases = [
        Seen(str(k), k / 10, np.linspace(0, 1, 2400).reshape(40, 60), blobs()[:40, :60], blobs(3)[:40, :60])
        for k in range(9)
    ]
    assert [case.score for case in best_and_worst(cases, 2)] == [0.8, 0.7, 0.1, 0.0]
    assert picture(cases[:2]).shape[0] == 2 * picture(cases[:1]).shape[0]


def test_models_without_class_embeddings_are_refused(data, monkeypatch):
    with pytest.raises(InputError, match="LISA-micro model"):
        evaluate("concepts", object(), EvaluationSettings(data=data))
