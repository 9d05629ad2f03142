"""Boxes around examples as a prompt of the mask decoder."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lisa_micro.models.checkpoints import save_module
from lisa_micro.models.lisa.build import build_vision, load_parts
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.exemplars import ExemplarBoxes, ExemplarEncoder, side_for
from lisa_micro.models.towers.sam import SamFeatures
from lisa_micro.types import CONCEPTS, VISION_CONCEPTS, InputError


def scene(positions, side=128, radius=9):
    """Bright discs at ``positions`` (x, y) and dark ones at their mirror images; the mask of the bright ones."""
    y, x = np.mgrid[:side, :side]
    image, mask = np.full((side, side), 0.5, np.float32), np.zeros((side, side), bool)
    for cx, cy in positions:
        disc = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        image[disc], mask[disc] = 0.9, True
        image[(x - (side - cx)) ** 2 + (y - cy) ** 2 < radius**2] = 0.1
    return torch.tensor(image)[None, None], torch.tensor(mask)


def features_of(image):
    """Features that hold the image's grey values, as a tower's might."""
    sizes, strides = (192, 48, 24, 24), (16, 8, 4, 2)
    generator = torch.Generator().manual_seed(0)
    maps = []
    for channels, stride in zip(sizes, strides, strict=True):
        grey = F.avg_pool2d(image, stride)
        mix = torch.randn(channels, 2, generator=generator)
        maps.append(torch.einsum("cd,dhw->chw", mix, torch.cat([grey[0], grey[0] ** 2]))[None])
    return SamFeatures(maps[0], tuple(maps[1:]))


def given(mask, boxes, signs):
    halves = F.avg_pool2d(mask[None, None].float(), 2)[0]
    return ExemplarBoxes(
        torch.tensor([boxes], dtype=torch.float32), torch.tensor([signs]), halves.expand(1, len(boxes), -1, -1)
    )


@pytest.fixture
def encoder():
    torch.manual_seed(3)
    return ExemplarEncoder().eval()


POSITIONS = [(20, 20), (24, 60), (36, 104), (50, 36)]


def test_the_mask_prompt_marks_what_looks_like_the_example(encoder):
    image, mask = scene(POSITIONS)
    with torch.no_grad():
        prompt = encoder(features_of(image), image, given(mask, [[11, 11, 29, 29]], [1]))
    assert prompt.tokens.shape == (1, 3, 192)
    found = prompt.areas[0, 0] > 0.5
    truth = F.avg_pool2d(mask[None, None].float(), 4)[0, 0]
    assert found[truth == 1].float().mean() > 0.9  # the three others, which no box shows
    assert found[truth == 0].float().mean() < 0.1  # dark discs and background


def test_a_negative_box_lowers_what_it_shows(encoder):
    image, mask = scene(POSITIONS)
    features = features_of(image)
    dark = [99, 11, 117, 29]
    both = torch.ones_like(mask) & (image[0, 0] != 0.5)
    with torch.no_grad():
        alone = encoder(features, image, given(both, [[11, 11, 29, 29]], [1])).areas
        against = encoder(features, image, given(both, [[11, 11, 29, 29], dark], [1, -1])).areas
    place = (slice(0, 1), slice(0, 1), slice(4, 6), slice(26, 28))
    assert against[place].mean() < alone[place].mean()


def test_unused_boxes_change_nothing(encoder):
    image, mask = scene(POSITIONS)
    features = features_of(image)
    with torch.no_grad():
        one = encoder(features, image, given(mask, [[11, 11, 29, 29]], [1]))
        padded = encoder(features, image, given(mask, [[11, 11, 29, 29], [0, 0, 8, 8]], [1, 0]))
    torch.testing.assert_close(one.areas, padded.areas)
    torch.testing.assert_close(one.tokens, padded.tokens)


def test_gradients_reach_all_weights(encoder):
    image, mask = scene(POSITIONS)
    prompt = encoder(features_of(image), image, given(mask, [[11, 11, 29, 29], [90, 90, 110, 110]], [1, -1]))
    (prompt.areas.mean() + prompt.tokens.square().mean() + prompt.fine.square().mean()).backward()
    without = [n for n, p in encoder.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not without


# --------------------------------------------------------------------------------------------- model folders


def small(**more) -> LisaConfig:
    return LisaConfig(embed_dim=64, depth=1, **more)


def write_folder(folder, config, parts):
    torch.manual_seed(0)
    model = build_vision(config)
    for part in parts:
        save_module(getattr(model, part).state_dict(), folder / f"{part}.safetensors")
    return model


def test_a_folder_from_before_keeps_five_concepts_and_the_rows_of_taught_ones(tmp_path):
    content = {"embed_dim": 64, "depth": 1, "concepts": {"shell": {"nouns": ["shell", "shells"]}}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = LisaConfig.read(tmp_path)
    assert config.built_in == CONCEPTS and not config.exemplars
    assert config.code_number("shell") == 5 and config.code_number("crack") == -1
    write_folder(tmp_path, config, ("sam_tower", "mask_head"))
    model = build_vision(config)
    load_parts(model, tmp_path, ("sam_tower", "mask_head", "exemplar_encoder"))  # it has none, and needs none
    assert model.exemplar_encoder is None and model.mask_head.code_book.num_embeddings == 6


def test_a_taught_concept_goes_before_a_built_in_one_of_the_same_name():
    config = small(built_in=VISION_CONCEPTS, concepts={"shell": {"nouns": ("shell", "shells")}})
    assert config.code_number("shell") == 17 and config.code_number("crack") == VISION_CONCEPTS.index("crack")
    assert build_vision(config).mask_head.code_book.num_embeddings == 18


def test_built_in_concepts_must_begin_with_those_that_the_language_names():
    with pytest.raises(ValueError, match="built_in must begin with particle"):
        small(built_in=("crack", *CONCEPTS))


def test_a_missing_exemplar_encoder_is_an_error(tmp_path):
    config = small(built_in=VISION_CONCEPTS, exemplars=True)
    write_folder(tmp_path, config, ("sam_tower", "mask_head", "exemplar_encoder"))
    load_parts(build_vision(config), tmp_path, ("sam_tower", "mask_head", "exemplar_encoder"))
    (tmp_path / "exemplar_encoder.safetensors").unlink()
    with pytest.raises(InputError, match="exemplar_encoder"):
        load_parts(build_vision(config), tmp_path, ("exemplar_encoder",))
    shutil.copy(tmp_path / "mask_head.safetensors", tmp_path / "exemplar_encoder.safetensors")
    with pytest.raises(InputError, match="does not fit exemplar_encoder"):
        load_parts(build_vision(config), tmp_path, ("exemplar_encoder",))


def test_words_never_mean_a_concept_that_the_language_does_not_name():
    model = build_vision(small(built_in=VISION_CONCEPTS)).eval()
    with torch.no_grad():
        codes = model.mask_head.code_book.weight
        assert model.nearest_concepts(codes[:5]) == [0, 1, 2, 3, 4]
        named = set(model.config.vocabulary.names)
        assert all(VISION_CONCEPTS[k] in named for k in model.nearest_concepts(codes))


def test_a_decoder_of_their_own_leaves_the_first_five_concepts_as_they_were():
    plain, parted = (
        build_vision(small(built_in=VISION_CONCEPTS)),
        build_vision(small(built_in=VISION_CONCEPTS, exemplars=True, concept_decoder=True)),
    )
    for part in ("sam_tower", "mask_head"):
        getattr(parted, part).load_state_dict(getattr(plain, part).state_dict())
    image, crack = torch.rand(1, 1, 128, 128), VISION_CONCEPTS.index("crack")
    with torch.no_grad():
        seen, again = plain.eval().encode_image(image), parted.eval().encode_image(image)
        for number in range(len(CONCEPTS)):
            assert torch.equal(plain.decode_code(seen, number).mask, parted.decode_code(again, number).mask)
        boxes = torch.tensor([[10.0, 10, 60, 70]])
        assert torch.equal(plain.decode_boxes(seen, boxes).mask, parted.decode_boxes(again, boxes).mask)
        assert not torch.equal(plain.decode_code(seen, crack).mask, parted.decode_code(again, crack).mask)
        # several at once come back in their order
        codes = parted.mask_head.code_book.weight[[crack, 0]]
        both = parted.decode_prompts(again, codes, [crack, 0]).mask
        torch.testing.assert_close(both[1], parted.decode_code(again, 0).mask[0])
        torch.testing.assert_close(both[0], parted.decode_code(again, crack).mask[0])
        parted.config = parted.config.model_copy(update={"concept_boxes": True})
        assert not torch.equal(plain.decode_boxes(seen, boxes).mask, parted.decode_boxes(again, boxes).mask)


def test_boxes_by_the_concepts_decoder_need_one():
    with pytest.raises(ValueError, match="concept_boxes needs concept_decoder"):
        small(concept_boxes=True)


def test_exemplars_on_a_micrograph_of_any_size_give_maps_of_its_size():
    model = build_vision(small(built_in=VISION_CONCEPTS, exemplars=True)).eval()
    image = torch.rand(1, 1, 150, 210)
    with torch.no_grad():
        features = model.encode_image(image)
        boxes, signs = torch.tensor([[10.0, 10, 40, 30], [100, 50, 140, 90]]), torch.tensor([1, -1])
        out = model.decode_exemplars(features, image, boxes, signs)
        assert model.to_micrograph(out.mask, features).shape == (1, 150, 210)
        assert torch.isfinite(out.mask).all()


def test_small_examples_are_seen_enlarged_as_far_as_the_micrograph_goes():
    large, small = np.array([[0.0, 0, 200, 200]]), np.array([[0.0, 0, 12, 12]])
    assert side_for(large, (1024, 1536), 640) == 640
    assert side_for(small, (1024, 1536), 640) == 1024  # the frame
    assert side_for(small, (700, 800), 640) == 800  # no more than there is
    assert side_for(np.array([[0.0, 0, 26, 26]]), (900, 1000), 640) == 769
    model = build_vision(config := small_model()).eval()
    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 1, 90, 100), tokens=False, side=128)
    # below the least side a micrograph is enlarged all the same
    assert features.work == (230, 256) and config.work_side == 640


def small_model() -> LisaConfig:
    return small(built_in=VISION_CONCEPTS, exemplars=True)
