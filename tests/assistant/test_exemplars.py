"""Find all like this: boxes, exemplars of other micrographs, large micrographs, words and bad input."""

import numpy as np
import pytest
from exemplar_model import RidgeAssistant, box, hits, squares_image
from known_engine import KnownEngine

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.exemplar_boxes import windows_of
from lisa_micro.exemplar import read_exemplar
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.types import InputError

BRIGHT = [(16, 16), (64, 24), (120, 40), (32, 96), (96, 112), (152, 120)]
DARK = [(40, 56), (144, 80), (80, 72)]
IMAGE = squares_image(BRIGHT, DARK, nm=2.0)


@pytest.fixture(scope="module")
def assistant():
    return RidgeAssistant()


def test_a_box_around_one_finds_all_that_are_alike_and_measures_them(assistant):
    found = assistant.segment_like(IMAGE, [box(*BRIGHT[0])])
    assert hits(found.labels, BRIGHT) == len(BRIGHT) == found.count
    assert hits(found.labels, DARK) == 0
    table = found.table()
    assert len(table) == found.count and table["score"].between(0.5, 1).all()
    assert table["diameter_nm"].between(20, 34).all()  # 12 px of 2 nm, as a circle of equal area 27 nm
    assert (found.phrase, found.concept, found.where) == ("objects like the example", "object", "")


def test_the_exemplar_of_one_micrograph_serves_another_one_and_comes_back_from_its_file(assistant, tmp_path):
    exemplar = assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])], [box(*DARK[0])])
    assert (exemplar.like, exemplar.unlike, exemplar.source) == (1, 1, "squares.tif")
    places, others = [(20, 40), (100, 20), (60, 120)], [(60, 60), (140, 100)]
    other = squares_image(places, others, seed=5)
    found = assistant.segment_like(other, exemplar=exemplar)
    assert hits(found.labels, places) == 3 == found.count and hits(found.labels, others) == 0
    path = exemplar.save(tmp_path / "example.json")
    assert path.stat().st_size < 200_000
    again = assistant.segment_like(other, exemplar=lm.read_exemplar(path))
    np.testing.assert_array_equal(again.labels, found.labels)
    np.testing.assert_array_equal(again.table()["score"], found.table()["score"])


def test_a_micrograph_without_anything_alike_gives_no_instance_and_says_so(assistant):
    exemplar = assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])])
    found = assistant.segment_like(squares_image([], DARK, seed=3), exemplar=exemplar)
    if found.count == 0:
        assert "Nothing like the example was found in this micrograph." in found.notes
    assert hits(found.labels, DARK) == 0


def test_further_boxes_correct_an_exemplar(assistant):
    exemplar = assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])])
    assert hits(assistant.segment_like(IMAGE, exemplar=exemplar).labels, DARK) == 0
    both = assistant.learn_exemplar(IMAGE, [box(*DARK[0])], exemplar=exemplar)
    assert (both.like, both.unlike) == (2, 0)
    found = assistant.segment_like(IMAGE, exemplar=both)  # a linear score on random features: not all of both kinds
    assert hits(found.labels, BRIGHT) == len(BRIGHT) and hits(found.labels, DARK) > 0
    less = assistant.learn_exemplar(IMAGE, None, [box(*DARK[0])], exemplar=exemplar)
    assert (less.like, less.unlike) == (1, 1)
    assert hits(assistant.segment_like(IMAGE, exemplar=less).labels, BRIGHT) == len(BRIGHT)


def test_pixel_sizes_decide_at_which_scale_another_micrograph_is_seen(assistant):
    exemplar = assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])])  # 24 nm
    own = exemplar.seen_px / exemplar.object_px
    assert exemplar.scale_on(2.0) == pytest.approx(own)
    assert exemplar.scale_on(1.0) == pytest.approx(own / 2) and exemplar.object_on(1.0) == pytest.approx(24)
    assert exemplar.scale_on(None) == pytest.approx(own) and exemplar.object_on(None) == pytest.approx(12)


def test_words_narrow_what_is_alike():
    assistant = RidgeAssistant(raw="The particles are [SEG]<where>in left half</where>.")
    found = assistant.segment_like(IMAGE, [box(*BRIGHT[0])], words="all like this in the left half")
    left = [place for place in BRIGHT if place[0] + 6 < 96]
    assert hits(found.labels, BRIGHT) == len(left) == found.count == len(found.table())
    assert found.where == "in left half" and found.table()["label"].tolist() == list(range(1, found.count + 1))
    assistant.raw = "The particles are [SEG]<where>diameter > 900 nm</where>."
    none = assistant.segment_like(IMAGE, [box(*BRIGHT[0])], words="larger than 900 nm")
    assert none.count == 0 and any("matches 'diameter > 900 nm'" in note for note in none.notes)
    assistant.raw = "<absent> There are no flowers."
    every = assistant.segment_like(IMAGE, [box(*BRIGHT[0])], words="flowers")
    assert every.count == len(BRIGHT) and any("No condition was understood" in note for note in every.notes)


def test_a_large_micrograph_is_searched_in_tiles_and_learnt_from_in_windows():
    places = [(60 + 300 * column, 40 + 300 * row) for row in range(4) for column in range(4)]
    others = [(200 + 300 * column, 180 + 300 * row) for row in range(4) for column in range(4)]
    image = squares_image(places, others, (1240, 1260))
    assistant = RidgeAssistant(work_side=512)
    steps = []
    found = assistant.segment_like(
        image, [box(*places[0]), box(*places[-1])], progress=lambda what, done, total: steps.append((done, total))
    )
    assert hits(found.labels, places) == len(places) == found.count and hits(found.labels, others) == 0
    assert found.labels.shape == image.shape and any("tiles of" in note for note in found.notes)
    assert steps and steps[-1][0] == steps[-1][1] > 1
    exemplar = assistant.learn_exemplar(image, [box(*places[0]), box(*places[-1])])
    assert exemplar.like == 2 and exemplar.seen_px == pytest.approx(12, rel=0.1)  # at full resolution
    whole = RidgeAssistant(tiled=False).segment_like(image, [box(*places[0])])
    assert any("scaled down to 1024 px" in note for note in whole.notes)


def test_windows_hold_each_box_once_and_like_boxes_come_first():
    boxes = np.array([[10, 10, 30, 30], [900, 900, 940, 930], [40, 20, 60, 60], [100, 100, 900, 700]], float)
    found = windows_of(boxes, np.array([-1, 1, 1, 1]), (1000, 1200), 200)
    assert sorted(k for _, rows in found for k in rows) == [0, 1, 2, 3]
    for (x0, y0, x1, y1), rows in found:
        assert 0 <= x0 < x1 <= 1200 and 0 <= y0 < y1 <= 1000
        assert (boxes[rows][:, :2] >= [x0, y0]).all() and (boxes[rows][:, 2:] <= [x1, y1]).all()
    assert 0 not in found[0][1][:1]


def test_a_piece_smaller_than_an_example_is_one_instance():
    mask, distance = np.zeros((2, 40, 80), np.float32)
    mask[10:30, 10:70] = 0.95
    x = np.arange(80)
    distance[10:30] = np.abs(np.sin(x * np.pi / 20))[None]  # humps in one piece of 1200 px
    distance *= mask > 0
    plain = SplitConfig(certainty=0.5, peak=0.0)
    assert separate(mask, distance, 0 * mask, plain).max() > 2
    assert separate(mask, distance, 0 * mask, SplitConfig(certainty=0.5, peak=0.0, undivided=1300.0)).max() == 1


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("like", "unlike", "said"),
    [
        ([[300, 300, 320, 320]], None, "outside the image"),
        ([[20, 20, 20, 40]], None, "has no area"),
        ([box(16, 130)], None, "does not differ from its surroundings"),
        ([box(*BRIGHT[0])], [box(*BRIGHT[0])], "both as like and as unlike"),
        (None, [box(*BRIGHT[0])], "no like box"),
        (None, None, "no box"),
        ([[1, 2, 3]], None, "four numbers"),
        ([[1, 2, 3, float("nan")]], None, "not finite"),
    ],
)
def test_boxes_that_cannot_be_used_are_refused_in_one_sentence(assistant, like, unlike, said):
    with pytest.raises(InputError, match=said) as raised:
        # a box without content is told of where it is large enough
        image = squares_image(BRIGHT, DARK, side=12) if said != "does not differ from its surroundings" else FLAT
        assistant.segment_like(image, [[40, 40, 120, 120]] if image is FLAT else like, unlike)
    assert str(raised.value).count(". ") == 0 and str(raised.value).endswith(".")


FLAT = squares_image([(200, 200)], shape=(256, 256))


def test_a_model_without_an_exemplar_encoder_says_so():
    assistant = Assistant(KnownEngine("The particles are [SEG]."), "known", "")
    assert not assistant.capabilities.exemplars
    for call in (assistant.segment_like, assistant.learn_exemplar):
        with pytest.raises(InputError, match="'known' cannot find what is like an example"):
            call(IMAGE, [box(*BRIGHT[0])])


def test_an_exemplar_of_other_weights_is_refused(assistant):
    exemplar = RidgeAssistant(seed=1).learn_exemplar(IMAGE, [box(*BRIGHT[0])])
    with pytest.raises(InputError, match="other weights"):
        assistant.segment_like(IMAGE, exemplar=exemplar)
    with pytest.raises(InputError, match="different weights"):
        assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])]).joined(exemplar)


def broken(content):
    """Files that are no exemplar of this version, by what is wrong with them."""
    yield "no JSON", "not json", "not an exemplar"
    yield "deep", "[" * 200_000, "not an exemplar"
    yield "a list", [1, 2], "not an exemplar"
    yield "another format", content | {"format": "other"}, "not an exemplar"
    yield "version", content | {"version": 99}, "version 99"
    yield "no version", {k: v for k, v in content.items() if k != "version"}, "version None"
    yield "no numbers", {k: v for k, v in content.items() if k != "numbers"}, "damaged"
    yield "numbers", content | {"numbers": "!!"}, "damaged"
    yield "few numbers", content | {"numbers": content["numbers"][:400]}, "damaged"
    yield "not finite", content | {"numbers": "AADAfw==" + content["numbers"][8:]}, "damaged"
    yield "size", content | {"channels": 10**9}, "damaged"
    yield "shape", content | {"tokens": [3, -64]}, "damaged"
    yield "boxes", content | {"like": 0}, "damaged"
    yield "length", content | {"object_px": "12"}, "damaged"
    yield "pixel size", content | {"pixel_size_nm": -1.0}, "damaged"
    yield "model", content | {"model": 5}, "damaged"


def test_files_that_are_no_exemplar_are_refused_in_one_sentence(assistant, tmp_path):
    import json

    content = assistant.learn_exemplar(IMAGE, [box(*BRIGHT[0])]).plain()
    path = tmp_path / "x.json"
    for what, wrong, said in broken(content):
        path.write_text(wrong if isinstance(wrong, str) else json.dumps(wrong), encoding="utf-8")
        with pytest.raises(InputError, match=said) as raised:
            read_exemplar(path)
        assert str(raised.value).startswith("x.json") and len(str(raised.value)) < 200, what
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not an exemplar"):
        read_exemplar(path)
    path.write_bytes(b" " * (5 * 1024 * 1024))
    with pytest.raises(InputError, match="too large"):
        read_exemplar(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_exemplar(tmp_path / "missing.json")


@pytest.mark.slow
def test_the_shipped_model_finds_particles_from_one_of_them():
    assistant = lm.load_assistant("micro", device="cpu")
    assert assistant.capabilities.exemplars
    from paths import ROOT

    image = lm.read_micrograph(ROOT / "data" / "samples" / "isolated_tem.tif")
    found = assistant.segment_like(image, [[8, 274, 68, 336]])
    assert 12 <= found.count <= 15  # it shows 14
    narrowed = assistant.segment_like(image, [[8, 274, 68, 336]], words="only those larger than 13 nm")
    assert 0 < narrowed.count < found.count and (narrowed.table()["diameter_nm"] > 13).all()
