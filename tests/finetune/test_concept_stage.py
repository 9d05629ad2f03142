"""Training on seventeen concepts: crops, prompts, losses, and a run that resumes."""

import numpy as np
import pytest
import torch
from paths import ROOT

from lisa_micro.metrics import centre_line_f1
from lisa_micro.models.checkpoints import read_state, save_module
from lisa_micro.sim.materials import simulate_material
from lisa_micro.types import VISION_CONCEPTS
from lisa_micro_finetune.concepts.batches import ConceptCrops, ConceptMaker, training_window
from lisa_micro_finetune.concepts.choosing import crowding, pick_episode, pick_object, pick_words
from lisa_micro_finetune.concepts.crops import Crop, cut_crop, drowned
from lisa_micro_finetune.concepts.losses import ConceptWeights, centre_line_loss
from lisa_micro_finetune.concepts.network import ConceptModel, export, make_step
from lisa_micro_finetune.concepts.sources import Labelled, of_material, read_labelled, write_labelled
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.schedule import Schedule

PARTICLE, CRACK = VISION_CONCEPTS.index("particle"), VISION_CONCEPTS.index("crack")


def touching(side=200) -> Labelled:
    """Two touching discs and one alone, and a concept that is known to be absent."""
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int16)
    for number, (cx, cy) in enumerate([(60, 60), (80, 79), (140, 150)], 1):
        labels[(x - cx) ** 2 + (y - cy) ** 2 < 16**2] = number
    pixels = np.where(labels > 0, 60, 190).astype(np.uint8)
    return Labelled("discs", "emps", pixels, {"particle": labels}, frozenset({"particle"}), frozenset({"crack"}))


def whole(source: Labelled) -> Crop:
    labels = {c: m.astype(np.int32) for c, m in source.labels.items()}
    valid = np.ones(source.pixels.shape, bool)
    image = source.pixels.astype(np.float32) / 255
    return Crop(image, labels, valid, source.parts, source.absent, source.partial, source.kind)


def test_a_source_comes_back_from_disk_with_what_its_labels_mean(tmp_path):
    scene = simulate_material(7, "core_shell", (96, 96))
    source = of_material("x", scene)
    write_labelled(tmp_path / "x.npz", source)
    back = read_labelled(tmp_path / "x.npz")
    assert (back.kind, back.parts, back.absent) == (source.kind, source.parts, source.absent)
    for concept, mask in source.labels.items():
        np.testing.assert_array_equal(back.labels[concept], mask)
    assert "shell" in back.labels and "shell" not in back.parts and "crack" in back.absent


@pytest.mark.parametrize("scales", [(0.3, 0.3), (1.0, 1.0), (2.0, 2.0)])
def test_a_crop_keeps_image_and_labels_in_register_at_every_scale(scales):
    rng = np.random.default_rng(1)
    for _ in range(4):
        crop = cut_crop(touching(), rng, 128, scales, "particle")
        inside = crop.labels["particle"] > 0
        if 0.02 < inside.mean() < 0.98 and "annotation" not in crop.labels:
            assert abs(crop.image[inside].mean() - crop.image[~inside].mean()) > 0.15


def test_a_crop_beyond_the_edge_counts_each_mirrored_object():
    crop = cut_crop(touching(), np.random.default_rng(3), 128, (0.33, 0.33), "particle")
    assert crop.labels["particle"].max() > 3


def test_thin_lines_survive_a_crop_at_a_third_of_the_size():
    line = np.zeros((300, 300), np.int16)
    line[:, 149:152] = 1
    source = Labelled("line", "nasa-coating", np.where(line, 0, 200).astype(np.uint8), {"crack": line})
    crop = cut_crop(source, np.random.default_rng(0), 96, (0.32, 0.32), "crack")
    mask = crop.labels["crack"] > 0
    assert max(mask.any(0).mean(), mask.any(1).mean()) == 1.0


def test_noise_reaches_the_signal_to_noise_ratio_it_promises():
    source = touching()
    crop = whole(source)
    rng = np.random.default_rng(0)
    inside = crop.labels["particle"] > 0
    ratios = []
    for _ in range(30):
        noisy = drowned(crop.image, crop.labels, rng)
        ratios.append(abs(noisy[inside].mean() - noisy[~inside].mean()) / noisy[~inside].std())
    assert min(ratios) < 0.6 and max(ratios) > 1.5


def test_boxes_mean_objects_in_a_crowd_most_of_the_time():
    crop, rng = whole(touching()), np.random.default_rng(0)
    numbers, shares, _ = crowding(crop.labels["particle"])
    assert dict(zip(numbers, shares > 0, strict=True)) == {1: True, 2: True, 3: False}
    chosen = [pick_object(crop, rng) for _ in range(60)]
    crowded = [bool(c.mask[55, 55] or c.mask[85, 85]) for c in chosen]
    assert np.mean(crowded) > 0.7
    assert all(not (c.mask & c.others).any() for c in chosen)


def test_words_ask_for_what_is_absent_now_and_then_and_never_for_the_unknown():
    crop, rng = whole(touching()), np.random.default_rng(0)
    asked = [pick_words(crop, rng, "particle", 0.3) for _ in range(200)]
    second = [word for words in asked for word in words[1:]]
    assert {word.concept for words in asked for word in words} == {"particle", "crack"}
    assert 0.2 < len(second) / len(asked) < 0.4 and not any(word.labels.any() for word in second)


def test_an_episode_shows_objects_and_what_is_unlike_them():
    crop, rng = whole(touching()), np.random.default_rng(0)
    for _ in range(20):
        episode = pick_episode(crop, rng)
        target = episode.word.labels > 0
        for box, sign in zip(episode.boxes, episode.signs, strict=True):
            x0, y0, x1, y1 = np.round(box).astype(int)
            if sign == 1:
                assert target[y0:y1, x0:x1].mean() > 0.3
            elif sign == -1:
                assert target[y0:y1, x0:x1].mean() < 0.05


def test_the_window_of_a_box_holds_it():
    for box in ([100, 100, 120, 130], [0, 0, 30, 20], [10, 40, 300, 310]):
        window = training_window(np.array(box, float), 20)
        assert 16 * window.x0 <= box[0] and 16 * window.x1 >= box[2] and 0 <= window.y0 < window.y1 <= 20


def test_the_centre_line_counts_more_than_the_width():
    truth = torch.zeros(1, 64, 64)
    truth[:, 30:33] = 1
    wide, beside = torch.full((1, 64, 64), -9.0), torch.full((1, 64, 64), -9.0)
    wide[:, 29:34] = 9
    beside[:, 44:47] = 9
    valid = torch.ones_like(truth)
    assert centre_line_loss(wide, truth, valid).item() < 0.15
    assert centre_line_loss(beside, truth, valid).item() > 0.8


def test_the_score_of_centre_lines_allows_the_tolerance_and_no_more():
    truth = np.zeros((60, 60), bool)
    truth[:, 30:32] = True
    assert centre_line_f1(np.roll(truth, 3, axis=1), truth, 4) == 1
    assert centre_line_f1(np.roll(truth, 6, axis=1), truth, 4) == 0
    assert centre_line_f1(np.zeros_like(truth), truth, 4) == 0
    assert centre_line_f1(np.zeros_like(truth), np.zeros_like(truth), 4) == 1
    half = truth.copy()
    half[30:] = False
    assert centre_line_f1(half, truth, 1) == pytest.approx(2 / 3, abs=0.05)


# --------------------------------------------------------------------------------------------- a run


def model_and_maker():
    torch.manual_seed(0)
    model = ConceptModel(64, 1)
    with torch.no_grad():
        model.new_codes.normal_()
    crops = ConceptCrops(size=160, mix={"emps": 1.0}, scales={"emps": (0.8, 1.0)}, boxes=1, regions=1, points=1)
    return model, ConceptMaker([touching()], crops, 2, 5)


def test_batches_are_a_function_of_the_step(tmp_path):
    _, maker = model_and_maker()
    one, again, other = maker(3), maker(3), maker(4)
    assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)
    prompts = len(one.words) + len(one.exemplar_rows) + len(one.object_rows) + len(one.point_rows)
    assert len(one.targets.mask) == prompts == len(one.concepts)
    absent = one.targets.presence[: len(one.words)] == 0
    assert (one.targets.mask[: len(one.words)][absent] == 0).all()


def test_a_step_trains_new_embeddings_and_leaves_the_first_five(tmp_path):
    model, maker = model_and_maker()
    model.freeze_encoder(2)
    before = model.mask_head.code_book.weight.clone()
    step = make_step(model, ConceptWeights(), torch.device("cpu"), False)
    batch = next(b for b in map(maker, range(20)) if CRACK in b.words.tolist())
    loss, metrics = step(batch)
    loss.backward()
    assert torch.isfinite(loss) and 0 <= metrics["particle"] <= 1
    assert model.new_codes.grad[CRACK - 5].abs().sum() > 0
    assert model.mask_head.code_book.weight.grad is None and torch.equal(model.mask_head.code_book.weight, before)
    assert model.sam_tower.encoder.conv_stem.weight.grad is None


def test_a_run_that_was_stopped_goes_on_and_its_export_starts_another(tmp_path):
    model, maker = model_and_maker()
    step = make_step(model, ConceptWeights(), torch.device("cpu"), False)
    config = Schedule(steps=2, batch_size=2, workers=0, warmup=1, save_every=0.0)
    values = run_loop(model, maker, step, config, tmp_path / "run", log=lambda line: None)
    export(model, values, tmp_path / "weights")
    lines = []
    longer = Schedule(steps=3, batch_size=2, workers=0, warmup=1, save_every=0.0)
    run_loop(model, maker, step, longer, tmp_path / "run", log=lines.append)
    assert lines[0] == "resuming from step 2"
    other, _ = model_and_maker()
    other.start_from(tmp_path / "weights")
    torch.testing.assert_close(other.new_codes, values["new_codes"], atol=2e-3, rtol=0)


def test_a_model_of_five_concepts_lends_its_embeddings(tmp_path):
    model, _ = model_and_maker()
    for part in ("sam_tower", "mask_head"):
        save_module(getattr(model, part).state_dict(), tmp_path / f"{part}.safetensors")
    other = ConceptModel(64, 1)
    other.start_from(tmp_path)
    codes = model.mask_head.code_book.weight
    torch.testing.assert_close(other.mask_head.code_book.weight, codes, atol=2e-3, rtol=0)
    assert other.new_codes.std() > 0.3 * codes.std()
    particle = torch.nn.functional.cosine_similarity(other.new_codes, codes[PARTICLE][None])
    assert particle[VISION_CONCEPTS.index("grain") - 5] > 0.3


def test_the_shipped_parts_of_the_newer_concepts_are_gone_on_with():
    shipped = ROOT / "lisa_micro" / "weights" / "micro"
    model = ConceptModel()
    model.start_from(shipped)
    head, top = (read_state(shipped / f"{part}.safetensors") for part in ("concept_head", "concept_top"))
    codes = head.pop("code_book.weight")
    mine = model.mask_head.state_dict()
    assert all(torch.equal(mine[name], value.float()) for name, value in head.items())
    assert torch.equal(model.new_codes.detach(), codes[5:].float())
    tower = model.sam_tower.state_dict()
    assert all(torch.equal(tower[name], value.float()) for name, value in top.items())
