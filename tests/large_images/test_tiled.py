"""Large micrographs in tiles: no instance is cut, and everything is measured on the whole.

Most tests use the decoder of :mod:`known_engine`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from known_engine import KnownEngine, ask, discs, expected, same, scene, whole
from scipy import ndimage

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.targets import ImageView
from lisa_micro.assistant.tiling import TILED_ABOVE
from lisa_micro.cli.main import main
from lisa_micro.datasets.derive import derive_truth, enclosed_background
from lisa_micro.geometry import feathered_tiles, tiles
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.large_images.cascade import plan_crops
from lisa_micro.large_images.split import LargeView, agglomerate_labels, separate_large
from lisa_micro.measure import neck_labels, particle_properties
from lisa_micro.metrics import match
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.sim import simulate_large, simulate_scene
from lisa_micro.types import CONCEPTS, InputError, Micrograph

# ------------------------------------------------------------------------------------------------------- seams


def seams(shape, tile=64, halo=16) -> tuple[list[int], list[int]]:
    """Rows and columns at which the core of a tile begins, without the first ones."""
    parts = [part.core for part in tiles(shape, tile, halo)]
    return sorted({p[0] for p in parts} - {0}), sorted({p[2] for p in parts} - {0})


def test_weights_of_tiles_add_up_to_one():
    for shape, size, halo in (((300, 260), 64, 16), ((100, 70), 128, 20), ((65, 200), 64, 31), ((99, 99), 40, 0)):
        total = np.zeros(shape)
        for part, down, across in feathered_tiles(shape, size, halo):
            y0, y1, x0, x1 = part.outer
            total[y0:y1, x0:x1] += down[:, None] * across[None]
            inner = [
                w for w, low, high, n in ((down, y0, y1, shape[0]), (across, x0, x1, shape[1])) if low and high < n
            ]
            assert halo == 0 or all(w[0] == w[-1] == 0 for w in inner)  # the rim of a tile is never used
        assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("radius", [9, 14, 28, 70])
def test_an_instance_on_a_seam_or_a_corner_of_four_tiles_is_one(radius):
    shape = (300, 260)
    rows, columns = seams(shape)
    for x, y in ((columns[3], 150), (120, rows[4]), (columns[3], rows[4])):
        pixels = discs(shape, (x, y, radius))
        labels = ask(pixels).segments[0].labels
        assert labels.max() == 1
        assert (labels == whole(pixels).segments[0].labels).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("tile", "halo"), [(64, 16), (80, 0), (100, 30), (127, 40), (1000, 100)])
def test_tiles_give_the_same_instances_as_the_whole(seed, tile, halo):
    pixels = scene(seed)  # 300 x 260 is not a multiple of any of these tiles
    labels = ask(pixels, tile=tile, halo=halo).segments[0].labels
    assert labels.dtype == np.int32 and labels.shape == pixels.shape
    if tile < 300:
        assert same(labels, expected(pixels))
    else:
        assert (labels == whole(pixels).segments[0].labels).all()


def test_two_touching_particles_at_a_seam_stay_two():
    shape = (300, 260)
    rows, columns = seams(shape)
    for x in range(columns[3] - 3, columns[3] + 4):
        pixels = discs(shape, (x - 14, rows[4], 15), (x + 14, rows[4], 15))
        labels = ask(pixels).segments[0].labels
        assert labels.max() == 2 and same(labels, expected(pixels))
        areas = np.bincount(labels.ravel())[1:]
        assert areas.max() - areas.min() <= 31  # one column


def test_an_instance_larger_than_a_tile_comes_out_whole():
    pixels = discs((400, 400), (200, 200, 150), (30, 30, 12))
    labels = ask(pixels, tile=64, halo=16).segments[0].labels
    assert labels.max() == 2 and (labels == whole(pixels).segments[0].labels).all()


def test_pieces_are_separated_as_in_the_whole_and_large_ones_at_a_reduced_size():
    for seed in range(4):
        pixels = scene(seed, n=70)
        maps = np.stack([pixels > 0.2, np.clip((pixels - 0.4) / 0.6, 0, 1) * (pixels > 0.2), 0 * pixels])
        kept = np.rint(255 * maps).astype(np.uint8)
        once = separate(*(kept.astype(np.float32) / 255))
        assert same(separate_large(kept, SplitConfig()), once)
        reduced = separate_large(kept, SplitConfig(), budget=100 * 100)
        assert (reduced > 0)[once > 0].mean() > 0.99 and not reduced[once == 0].any()
        assert abs(int(reduced.max()) - int(once.max())) <= 0.1 * once.max()


# ------------------------------------------------------------------------------- measures of the whole image


def test_a_constraint_refers_to_the_whole():
    sizes = [8, 20, 9, 18, 10, 19, 11]
    pixels = discs((200, 420), *((30 + 60 * k, 40 + 110 * (k % 2), r) for k, r in enumerate(sizes)))
    answer = ask(pixels, "The largest are [SEG]<where>largest 3</where>.")
    s = answer.segments[0]
    assert s.count == 3 and sorted(s.table()["diameter_px"].round()) == [36, 38, 40]
    assert same(s.labels, whole(pixels, "The largest are [SEG]<where>largest 3</where>.").segments[0].labels)
    left = ask(pixels, "[SEG]<where>in left half; largest 1</where>.").segments[0]
    assert left.count == 1 and left.table()["centroid_x_px"][0] == pytest.approx(90, abs=0.5)


def test_values_refer_to_the_whole():
    pixels = discs((200, 420), *((30 + 60 * k, 40 + 110 * (k % 2), 8 + k) for k in range(7)))
    reply = (
        "There are <value>count</value> particles [SEG], <value>mean diameter</value>, <value>area fraction</value>."
    )
    answer, once = ask(pixels, reply, nm=0.5), whole(pixels, reply, nm=0.5)
    assert [v.text for v in answer.values] == [v.text for v in once.values] and answer.values[0].value == 7
    assert answer.text == once.text
    s = answer.segments[0]
    table = particle_properties(s.labels, pixels)
    for name in ("area", "x", "y", "perimeter", "gap", "intensity"):
        assert s.table()[lm.measure_particles(s.labels).columns[0]].tolist() == list(range(1, 8))
        assert sorted(table[name]) == pytest.approx(sorted(particle_properties(once.segments[0].labels, pixels)[name]))


@pytest.mark.parametrize("concept", ["neck", "pore", "agglomerate", "substrate"])
def test_structures_defined_by_particles_are_exact_across_seams(concept):
    # no symmetry: a pixel with the same distance to two particles can be assigned to either
    ring = [(130.3 + 62 * np.cos(a), 150.6 + 62 * np.sin(a), 25 + a / 9) for a in 0.1 + np.arange(8) * np.pi / 4]
    pixels = discs((300, 260), *ring, (20.2, 20.7, 15), (48.1, 21.4, 15.6), (230, 280, 10))
    reply = {
        "neck": "The necks are [SEG].",
        "pore": "The pores are [SEG].",
        "agglomerate": "The agglomerates are [SEG].",
        "substrate": "The substrate is [SEG].",
    }[concept]
    segments = ask(pixels, reply).segments
    assert [s.concept for s in segments] == [concept]
    labels = segments[0].labels
    assert labels.max() == {"neck": 9, "pore": 1, "agglomerate": 1, "substrate": 1}[concept]
    particles = ask(pixels).segments[0].labels
    assert same(particles, expected(pixels))
    if concept == "substrate":  # the known decoder gives the same map for every word
        assert ((labels > 0) == (particles > 0)).all()
    elif concept == "pore":
        assert (labels == enclosed_background(particles)).all()
    else:
        assert (labels == derive_truth(particles)[concept]).all()
    if concept == "neck":
        widths = [2 * neck.x_px for neck in neck_labels(particles)[1]]
        assert sorted(segments[0].table()["neck_width_px"]) == pytest.approx(sorted(widths))


@pytest.mark.parametrize("seed", [3, 8])
def test_structures_of_a_large_view_are_those_of_a_small_one(seed):
    particles = simulate_scene(seed, (400, 300), kind="agglomerate", annotate=False).particles
    probability = np.clip(np.random.default_rng(seed).normal(0.4, 0.3, particles.shape), 0, 1).astype(np.float32)
    probability = np.rint(255 * ndimage.gaussian_filter(probability, 3)).astype(np.uint8)
    features = SimpleNamespace(shape=particles.shape, work=particles.shape)
    small, large = ImageView(None, particles, features), LargeView(None, particles, features, particles)
    small._particles = particles
    for concept in ("neck", "pore", "agglomerate"):
        one, extra = large.structures(concept, probability)
        other, expected = small._structures(concept, probability / np.float32(255))
        assert (one == other).all() and extra.keys() == expected.keys()
        assert all((extra[name] == expected[name]).all() for name in extra)


def test_agglomerates_in_bands_of_rows(monkeypatch):
    particles = simulate_scene(5, (300, 300), kind="dense_fine", annotate=False).particles
    expected = agglomerate_labels(particles)
    for height in (7, 50):
        monkeypatch.setattr("lisa_micro.large_images.split._BAND", height)
        assert (agglomerate_labels(particles) == expected).all()
    # by its module: the package has a function of the same name
    monkeypatch.setattr(sys.modules["lisa_micro.measure.contacts"], "BAND_PX", 2000)
    assert (agglomerate_labels(particles) == expected).all()


def test_measures_in_bands_of_rows(monkeypatch):
    pixels = scene(1)
    labels = whole(pixels).segments[0].labels
    once = particle_properties(labels, pixels)
    monkeypatch.setattr(sys.modules["lisa_micro.measure.contacts"], "BAND_PX", 1000)
    for name, values in particle_properties(labels, pixels).items():
        assert values == pytest.approx(once[name], rel=1e-12), name


# -------------------------------------------------------------------------------------------- absent concepts


def test_an_absent_concept_gives_an_empty_answer():
    for pixels, presence in ((scene(), 0.1), (np.zeros((200, 200), np.float32), 0.99)):
        for how in ("tiled", "cascade"):
            answer = ask(pixels, presence=presence, tiling=how)
            assert answer.declined and not answer.segments and "no particles" in answer.text
    alone = discs((200, 200), (60, 60, 20), (150, 140, 15))
    answer = ask(alone, "The necks are [SEG].")
    assert answer.declined and "no necks" in answer.text


def test_a_reply_without_targets_segments_nothing():
    answer = ask(scene(), "<absent> I see no cats here.")
    assert answer.declined and not answer.segments and not any("tiles" in note for note in answer.notes)


def test_presence_is_decided_where_an_instance_lies():
    """A tile without the concept removes the instances whose centre it holds, never parts of them."""
    pixels = discs((200, 420), (60, 100, 20), (204, 100, 20), (360, 100, 20))
    engine = KnownEngine("The particles are [SEG].")
    outputs = engine._outputs

    def dim_is_absent(part, n):
        out = outputs(part, n)
        return out._replace(presence=torch.full((n,), 4.0 if part.max() > 0.8 else -4.0))

    engine._outputs = dim_is_absent
    pixels[:, 300:] *= 0.6
    answer = lm.segment_large(
        Assistant(engine, "", "", tiled_segmenter), Micrograph(pixels), "x", tiling="tiled", tile=64, halo=16
    )
    assert answer.segments[0].count == 2
    assert not answer.segments[0].labels[:, 300:].any()


# ------------------------------------------------------------------------------------------------- tiling modes


def test_small_micrographs_are_segmented_at_once_and_large_ones_in_tiles():
    engine = KnownEngine("The particles are [SEG].")
    assistant = Assistant(engine, "", "", tiled_segmenter)
    small = Micrograph(scene())
    answer, plain = lm.segment_large(assistant, small, "x"), assistant.ask(small, "x")
    assert (answer.segments[0].labels == plain.segments[0].labels).all() and answer.notes == plain.notes
    assert len(engine.seen) == 1  # encoded once, kept for the second answer
    for size in (300, 1000):
        assert len(ask(scene(), tile=size, halo=10).notes) == 0  # one tile holds the micrograph
    wide = np.zeros((140, TILED_ABOVE + 1), np.float32)
    wide[:, 1000:1260] = scene(shape=(140, 260), n=20)
    told: list[tuple] = []
    large = lm.segment_large(assistant, Micrograph(wide), "x", progress=lambda *step: told.append(step))
    assert "tiles of 128 px with a halo of 19 px" in large.notes[0]
    counted = Counter(what for what, *_ in told)
    assert counted["Segmenting tiles"] == told[-2][2] > 10 and told[-2][1:] == (told[-2][2],) * 2
    assert engine.prefilled == 2  # the words are read with the micrograph as a whole, once each


def test_a_model_that_cannot_tile_segments_at_once():
    assistant = Assistant(KnownEngine("The particles are [SEG]."), "another", "")
    assert not assistant.capabilities.tiling
    wide = Micrograph(np.tile(scene(shape=(40, 300), n=4), (1, 7)))
    assert wide.shape[1] > TILED_ABOVE and not lm.segment_large(assistant, wide, "x").notes
    with pytest.raises(InputError, match="'another' cannot segment in tiles; choose the tiling mode auto or off"):
        lm.segment_large(assistant, wide, "x", tiling="tiled")


def test_every_way_to_ask_follows_the_same_tiling_rule():
    assistant = Assistant(KnownEngine("The particles are [SEG]."), "", "", tiled_segmenter)
    wide = np.zeros((140, TILED_ABOVE + 1), np.float32)
    wide[:, 1000:1260] = scene(shape=(140, 260), n=20)
    image = Micrograph(wide)
    answers = [
        assistant.ask(image, "x"),
        assistant.chat(image).ask("x"),
        assistant.open_conversation(image).ask("x"),
        assistant.open_conversation(image, "tiled").ask("x"),
        lm.segment_large(assistant, image, "x"),
    ]
    assert all("tiles of 128 px" in answer.notes[0] for answer in answers)
    first = answers[0].segments[0].labels
    assert all((answer.segments[0].labels == first).all() for answer in answers)
    assert not assistant.open_conversation(image, "off").ask("x").notes


def test_large_particles_get_larger_tiles():
    few = ((150, 150, 120), (450, 450, 130))
    assert "in 2 tiles of 832 px with a halo of 124 px" in ask(discs((600, 1000), *few), tile=None, halo=None).notes[0]
    once = discs((600, 600), *few)  # one tile would hold it
    answer, plain = ask(once, tile=None, halo=None), whole(once)
    assert answer.notes == () and (answer.segments[0].labels == plain.segments[0].labels).all()


def test_a_second_request_continues_the_conversation():
    assistant = Assistant(KnownEngine("[SEG]"), "", "", tiled_segmenter)
    chat = assistant.open_conversation(Micrograph(scene()), "tiled", tile=64, halo=16)
    assert chat.ask("one").segments[0].count == chat.ask("two").segments[0].count
    assert [answer.prompt for answer in chat.answers] == ["one", "two"] and all(a.notes for a in chat.answers)


def test_a_conversation_continues_an_earlier_one():
    class Turns(KnownEngine):
        def prefill_turn(self, cache, text, reply, first):
            turns.append((text, reply, first))

    turns: list[tuple] = []
    assistant = Assistant(Turns("[SEG]"), "", "", tiled_segmenter)
    image = Micrograph(scene())
    earlier = assistant.chat(image)
    earlier.ask("one")
    later = assistant.open_conversation(image, history=earlier.answers)
    later.ask("two")
    assert turns == [("one", "[SEG]", True)]
    assert [answer.prompt for answer in later.answers] == ["one", "two"] and len(earlier.answers) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 0}, "A tile of 0 px is too small"),
        ({"tile": -64}, "too small"),
        ({"tile": 64, "halo": 32}, "too large for a tile"),
        ({"tile": None, "halo": 400}, "too large for a tile"),
        ({"tile": 64, "halo": -1}, "negative"),
        ({"tile": 64.5}, "whole number"),
        ({"tile": True}, "whole number"),
        ({"tiling": "sideways"}, "choose auto, off, tiled or cascade"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, message):
    for how in ("tiled", "cascade"):
        with pytest.raises(InputError, match=message) as caught:
            ask(scene(), **{"tiling": how, "tile": 64, "halo": 16, **settings})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("tiles", "note"), [("tiled", "tiles of 128 px"), ("off", None), ("auto", None)])
def test_the_command_line_passes_the_mode_on(tmp_path, monkeypatch, capsys, tiles, note):
    tifffile.imwrite(tmp_path / "film.tif", scene())
    assistant = Assistant(KnownEngine("The particles are [SEG]."), "known", "", tiled_segmenter)
    monkeypatch.setattr(lm, "load_assistant", lambda preset, **how: assistant, raising=False)
    arguments = ["segment", str(tmp_path / "film.tif"), "words", "--out", str(tmp_path / "out"), "--tiles"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, tiles])
    assert stop.value.code == 0
    notes = json.loads((tmp_path / "out" / "answer.json").read_text())["notes"]
    assert any(note in one for one in notes) if note else not any("tiles" in one for one in notes)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "many"])
    assert stop.value.code == 2 and "'auto', 'off', 'tiled', 'cascade'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ cascade


def test_every_box_lies_in_one_crop_with_its_surroundings():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 2900, (300, 2))
    boxes = np.hstack([corner, np.minimum(corner + rng.uniform(5, 90, (300, 2)), 3000)])
    boxes = np.vstack([boxes, [[100, 200, 1500, 900]]])  # larger than a crop
    crops = plan_crops(boxes, (3000, 3000), side=384, margin=32)
    assert sorted(np.concatenate([crop.boxes for crop in crops]).tolist()) == list(range(301))
    for crop in crops:
        (y0, y1), (x0, x1), mine = crop.rows, crop.columns, crop.boxes
        assert 0 <= y0 < y1 <= 3000 and 0 <= x0 < x1 <= 3000
        near = np.maximum(boxes[mine, :2] - 32, 0) >= [x0, y0]
        far = np.minimum(boxes[mine, 2:] + 32, 3000) <= [x1, y1]
        assert near.all() and far.all()
        assert max(y1 - y0, x1 - x0) <= 384 or mine.tolist() == [300]
    assert plan_crops(np.zeros((0, 4)), (100, 100)) == []


def test_a_cascade_segments_crops_and_gives_labels_without_overlap(monkeypatch):
    monkeypatch.setattr("lisa_micro.large_images.cascade.DETECT_SIDE", 300)
    pixels = discs((600, 600), (100, 100, 30), (160, 100, 31), (450, 500, 40), (600, 300, 25))
    answer, once = ask(pixels, tiling="cascade", tile=None, halo=None), whole(pixels)
    labels = answer.segments[0].labels
    assert "4 particles were detected at 300 x 300 px and segmented in" in answer.notes[0]
    assert labels.max() == 4 and np.unique(labels).tolist() == [0, 1, 2, 3, 4]
    assert min(iou for *_, iou in match(labels, once.segments[0].labels)) > 0.9
    necks = ask(pixels, "The necks are [SEG].", tiling="cascade", tile=None, halo=None)
    assert necks.segments[0].count == 1
    largest = ask(pixels, "[SEG]<where>largest 1</where>", tiling="cascade", tile=None, halo=None).segments[0]
    assert largest.labels[500, 450] == 1 and largest.count == 1


# ---------------------------------------------------------------------------------------------- the simulator


def test_a_large_scene_does_not_depend_on_the_windows(monkeypatch):
    made = []
    for window in (1152, 320):
        monkeypatch.setattr("lisa_micro.sim.large.WINDOW", window)
        made.append(simulate_large(4, (640, 512), 30, 20))
    one, other = made
    assert one.pixels.shape == (640, 512) and one.pixels.dtype == np.float32
    assert one.pixels.min() >= 0 and one.pixels.max() <= 1
    assert (one.particles != other.particles).mean() < 1e-4  # rounding of float32 coordinates
    assert one.particles.max() == other.particles.max() == len(one.radii) > 20
    assert (one.contacts == other.contacts).all() and len(one.neck_table) == len(other.neck_table) > 0
    assert (simulate_large(4, (640, 512), 30, 20).pixels == other.pixels).all()
    with pytest.raises(InputError, match="find room"):
        simulate_large(0, (256, 256), 500, 40)
    for wrong in ({"shape": (10, 10)}, {"modality": "X"}, {"radius": 1000}, {"pixel_size_nm": 0}):
        with pytest.raises(InputError):
            simulate_large(0, **{"shape": (256, 256), **wrong})


# ------------------------------------------------------------------------------------------- the shipped weights


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tiled", "cascade"])
def test_small_particles_of_a_large_micrograph_are_found(how):
    truth = simulate_large(2, (1280, 1280), 60, 18, modality="SEM")
    image = Micrograph(truth.pixels, truth.pixel_size_nm)
    assistant = lm.load_assistant("micro", device="cpu")
    answer = lm.segment_large(assistant, image, "segment all particles", tiling=how)
    segment = answer.segments[0]
    found = match(segment.labels, truth.particles)
    assert len(found) >= 0.8 * truth.particles.max() and segment.count <= 1.2 * truth.particles.max()
    assert np.mean([iou for *_, iou in found]) > 0.8
    assert "diameter_nm" in segment.table().columns and segment.concept in CONCEPTS
