"""Official LISA checkpoints: a small random one in exactly their layout, through the loader and through the published
equations. No trained weights and no network needed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference_official_lisa as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official_lisa_layout import CLIP_NAME, Tiny, pieces, write_lisa, write_sentencepiece, write_shards

import lisa_micro as lm
from lisa_micro.assistant.official import OfficialAssistant, OfficialEngine
from lisa_micro.models import hub
from lisa_micro.models.lisa import presets
from lisa_micro.models.official_lisa import images
from lisa_micro.models.official_lisa import load as official_load
from lisa_micro.models.official_lisa.checkpoint import read_checkpoint
from lisa_micro.models.official_lisa.load import choose_precision, load_official
from lisa_micro.models.official_lisa.prompt import MARKS, OfficialChat, OfficialTokenizer
from lisa_micro.models.official_lisa.settings import OFFICIAL, OfficialConfig, SamSizes, looks_official
from lisa_micro.types import InputError, Micrograph

TINY = Tiny()
TWO = ("▁Sure", ",", "[SEG]", "▁and", "[SEG]")
"""A reply that repeats itself: [SEG] and [SEG] and ..."""
WORDS = "Can you segment the particle in this image?"


def scene(height: int, width: int, seed: int = 0) -> Micrograph:
    """An 8-bit image with structure at all scales."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.RandomState(seed).rand(height, width)
    pixels = 128 + 70 * np.sin(x / 7) * np.cos(y / 5) + 50 * noise
    pixels[0, 0] = 255
    return Micrograph(np.clip(pixels, 0, 255).round().astype(np.float32), pixel_size_nm=0.5)


def rgb_of(image: Micrograph) -> np.ndarray:
    return np.repeat(image.pixels.astype(np.uint8)[..., None], 3, axis=-1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder and tensors of a checkpoint that answers "Sure, [SEG] and [SEG] ..."."""
    folder = tmp_path_factory.mktemp("lisa") / "LISA-tiny"
    return folder, write_lisa(folder, TINY, chain=TWO)


@pytest.fixture(scope="module")
def assistant(checkpoint) -> OfficialAssistant:
    assistant = lm.load_assistant(str(checkpoint[0]), device="cpu", precision="fp32")
    assistant.engine.max_tokens = 6
    return assistant


@pytest.fixture
def broken(tmp_path):
    """A checkpoint to break, and its tensors as written."""
    folder = tmp_path / "LISA-broken"
    write_lisa(folder, TINY)
    # copies, because the mapped files are going to be damaged
    return folder, {name: value.clone() for name, value in read_checkpoint(folder).items()}


# ------------------------------------------------------------------------------------------------- equations


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (64, 64), (130, 33), (1, 5)])
def test_replies_states_and_masks_are_those_of_the_published_equations(assistant, checkpoint, shape):
    image = scene(*shape)
    engine = assistant.engine
    before, _ = engine.chat.user_ids("", first=True)
    _, after = engine.chat.user_ids(WORDS, first=True)
    square = images.clip_input(rgb_of(image), TINY.clip_side)
    ids, masks, states = reference.lisa(
        checkpoint[1], TINY, rgb_of(image), square, before, after, engine.seg_id, engine.max_tokens
    )
    prepared = assistant.prepared(image)
    generated, _ = engine.generate(prepared.cache.fork(), WORDS, first=True)
    assert generated.ids == ids and ids.count(engine.seg_id) == 2
    torch.testing.assert_close(generated.states, states, atol=1e-4, rtol=1e-4)
    out = engine.decode_words(prepared.view, generated.states)
    ours = torch.from_numpy(engine.on_micrograph(out.mask, prepared.view))
    assert ours.dtype == torch.float32 and ours.shape == (2, *shape)
    scale = float(masks.abs().max())
    torch.testing.assert_close(ours / scale, masks / scale, atol=1e-4, rtol=0)
    # the two targets are not the same, and not everything or nothing
    assert float((masks[0] - masks[1]).abs().max()) > 1e-3 * scale


def test_an_answer_holds_the_published_masks(assistant, checkpoint):
    image = scene(50, 80)
    answer = assistant.ask(image, WORDS)
    before, _ = assistant.engine.chat.user_ids("", first=True)
    _, after = assistant.engine.chat.user_ids(WORDS, first=True)
    square = images.clip_input(rgb_of(image), TINY.clip_side)
    _, masks, _ = reference.lisa(checkpoint[1], TINY, rgb_of(image), square, before, after, assistant.engine.seg_id, 6)
    assert answer.text == answer.raw == "Sure, [SEG] and [SEG] and"
    assert [s.target for s in answer.segments] == [1, 2]
    for segment, mask in zip(answer.segments, masks, strict=True):
        decided = mask.abs() > 1e-6
        assert (torch.from_numpy(segment.mask) == (mask > 0))[decided].all()
        assert 0 < segment.mask.mean() < 1 and segment.count >= 1
        # instances are connected components
        assert len(segment.table()) == segment.count and "diameter_nm" in segment.table()
        assert 0 < segment.score < 1 and segment.where == "" and segment.pixel_size_nm == 0.5
    assert not answer.values and not answer.declined and set(answer.seconds) == {"encode", "language", "masks"}


def test_a_seg_in_the_request_prompts_a_mask_as_in_the_official_code(assistant, checkpoint):
    image, words = scene(50, 80), "Is [SEG] the particle, or [SEG]?"
    engine = assistant.engine
    before, _ = engine.chat.user_ids("", first=True)
    _, after = engine.chat.user_ids(words, first=True)
    assert after.count(engine.seg_id) == 2
    square = images.clip_input(rgb_of(image), TINY.clip_side)
    ids, masks, states = reference.lisa(
        checkpoint[1], TINY, rgb_of(image), square, before, after, engine.seg_id, engine.max_tokens
    )
    generated, _ = engine.generate(assistant.prepared(image).cache.fork(), words, first=True)
    assert generated.ids == ids and len(generated.states) == len(states) == 2 + ids.count(engine.seg_id)
    assert generated.from_request == 2
    torch.testing.assert_close(generated.states, states, atol=1e-4, rtol=1e-4)
    answer = assistant.ask(image, words)
    assert [segment.target for segment in answer.segments] == [0, 0, 1, 2]
    for segment, mask in zip(answer.segments, masks, strict=True):
        decided = mask.abs() > 1e-6
        assert (torch.from_numpy(segment.mask) == (mask > 0))[decided].all()
    assert any("[SEG] in the request prompted 2" in note for note in answer.notes)


def test_a_seg_of_the_last_reply_is_not_taken_for_one_of_the_request(assistant, monkeypatch):
    monkeypatch.setattr(
        assistant.engine, "max_tokens", 3
    )  # the reply ends with [SEG], which is read with the next turn
    chat = assistant.chat(scene(40, 60))
    assert chat.ask(WORDS).raw.endswith("[SEG]")
    assert not any("in the request" in note for note in chat.ask("and the pore?").notes)


def test_boxes_and_points_go_through_the_same_decoder(assistant, checkpoint):
    image, w = scene(50, 80), checkpoint[1]
    square, work = reference.sam_image(rgb_of(image), TINY.sam_side)
    embedding = reference.sam_encoder(w, square, TINY)
    segmenter = assistant._segmenter(image)
    scale = np.array([work[1] / 80, work[0] / 50])
    box, point = np.array([10.0, 8.0, 52.0, 40.0]), np.array([33.0, 21.0])
    prompts = {
        "boxes": (reference.box_prompt(w, tuple(box * np.tile(scale, 2)), TINY.sam_side), box[None]),
        "points": (reference.point_prompt(w, tuple(point * scale), TINY.sam_side), point[None, None]),
    }
    for kind, (tokens, given_) in prompts.items():
        logits, quality = reference.sam_decoder(w, embedding, tokens)
        expected = reference.full_size(logits, TINY.sam_side, work, image.shape)
        got = segmenter.predict(**{kind: given_})
        decided = (expected.abs() > 1e-5).numpy()
        assert (got.masks[0] == (expected > 0).numpy())[decided].all(), kind
        assert got.scores[0] == pytest.approx(float(quality.clamp(1e-4, 1 - 1e-4)), abs=1e-4)
    assert assistant.segment_boxes(image, [box]).labels.max() <= 1
    assert assistant.segment_points(image, [point]).labels.shape == image.shape
    both = segmenter.predict(points=point[None, None], boxes=box[None])
    assert both.masks.shape == (1, *image.shape)
    with pytest.raises(InputError, match="takes no masks"):
        segmenter.predict(mask_inputs=np.ones((1, 8, 8), bool))
    with pytest.raises(InputError, match="one image only"):
        segmenter.encode(image)


def test_everything_and_a_flat_image(assistant):
    found = assistant.segment_everything(scene(40, 40))
    assert found.labels.shape == (40, 40)
    flat = Micrograph(np.full((20, 30), 7.0, np.float32))
    assert assistant.segment_everything(flat).count == 0
    assert assistant.ask(flat, WORDS).text.startswith("Sure")


# ------------------------------------------------------------------------------------------------ tokens, words


@pytest.mark.parametrize("seg_first", [False, True])
def test_the_seg_id_comes_from_the_tokenizer(tmp_path, seg_first):
    write_lisa(tmp_path, TINY, chain=TWO[:3] + (".", "</s>"), seg_first=seg_first)
    loaded = load_official(tmp_path, precision="fp32")
    base = len(pieces())
    # as in LISA-13B-llama2-v1, where [SEG] was added first, and as in LISA-7B-v1
    assert loaded.tokenizer.seg == (base if seg_first else base + 3)
    engine = OfficialEngine(loaded, torch.device("cpu"))
    answer = OfficialAssistant(engine, "tiny", tmp_path).ask(scene(30, 40), WORDS)
    assert answer.text == "Sure, [SEG]." and len(answer.segments) == 1


def test_the_prompt_is_exactly_the_official_one(checkpoint):
    tokenizer = OfficialTokenizer.read(checkpoint[0], 1000)
    names = {number: piece for number, (piece, _) in enumerate(pieces())} | {v: k for k, v in tokenizer.added.items()}
    chat = OfficialChat(tokenizer)
    before, after = chat.user_ids("Can you see it?", first=True)
    assert before[0] == 1 and before.count(1) == 1
    assert names[before[-1]] == "<im_start>" and names[after[0]] == "<im_end>"
    # white space beside an added token is removed, and the text after it begins with a space of its own
    assert "".join(names[i] for i in before[1:-1]).replace("▁", " ") == (
        " A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions. USER:"
    )
    assert "".join(names[i] for i in after[1:]) == "▁Can▁you▁see▁it?▁ASSISTANT:"
    nothing, again = chat.user_ids("and the pores?", first=False)
    assert nothing == [] and "".join(names[i] for i in again) == "▁USER:▁and▁the▁pores?▁ASSISTANT:"
    assert chat.reply_ids("Sure, [SEG].") == [*tokenizer.ids("Sure, [SEG]."), 2]

    llama2 = OfficialChat(tokenizer, "llava_llama_2")
    before, after = llama2.user_ids("x", first=True)
    assert tokenizer.base.decode(before[1:-1]) == (
        "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand the visual "
        "content that the user provides, and assist the user with a variety of tasks using natural language.\n<</SYS>>"
    )
    assert "".join(names[i] for i in after[1:]) == "▁x▁[/INST]"
    assert llama2.user_ids("y", first=False)[1][0] == 1
    with pytest.raises(InputError, match="llava_v1, llava_llama_2"):
        OfficialChat(tokenizer, "vicuna")


def test_merges_bytes_and_added_tokens(checkpoint):
    tokenizer = OfficialTokenizer.read(checkpoint[0], 1000)
    ids = {piece: number for number, (piece, _) in enumerate(pieces())} | tokenizer.added
    assert tokenizer.ids("Sure") == [ids["▁Sure"]]
    assert tokenizer.ids("the particle") == [ids["▁the"], ids["▁particle"]]
    # µ is not in this vocabulary, so its bytes are used
    assert tokenizer.ids("µ") == [ids["▁"], ids["<0xC2>"], ids["<0xB5>"]]
    assert tokenizer.ids("it is  [SEG] , and") == [
        ids["▁it"],
        ids["▁is"],
        ids["[SEG]"],
        ids["▁"],
        ids[","],
        ids["▁and"],
    ]
    assert tokenizer.ids("[SEG][SEG]") == [ids["[SEG]"]] * 2 and tokenizer.ids("  ") == tokenizer.ids("  ")
    assert tokenizer.text(tokenizer.ids("it is [SEG]. And [SEG] and µm")) == "it is [SEG]. And [SEG] and µm"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(MARKS), st.just("[SE<s>G]")), max_size=6))
def test_marks_are_removed_from_words(parts):
    chat = OfficialChat(TOKENIZER)
    clean = chat.clean("".join(parts))
    assert not any(mark in clean for mark in MARKS)
    ids = chat.user_ids("".join(parts), first=True)[1]
    assert ids.count(TOKENIZER.seg) == 0 and all(0 <= i < 1000 for i in ids)
    assert len(TOKENIZER.ids(chat.clean(chat.shortened("".join(parts), 5)))) <= 5 + 3  # a cut word may merge otherwise


@pytest.fixture(scope="module", autouse=True)
def _tokenizer(tmp_path_factory):
    global TOKENIZER
    folder = tmp_path_factory.mktemp("tokenizer")
    base = write_sentencepiece(folder / "tokenizer.model")
    (folder / "added_tokens.json").write_text(json.dumps({"[SEG]": base, "<im_start>": base + 1, "<im_end>": base + 2}))
    TOKENIZER = OfficialTokenizer.read(folder, base + 3)


TOKENIZER: OfficialTokenizer


def test_unusable_tokenizers(tmp_path):
    base = write_sentencepiece(tmp_path / "tokenizer.model")
    added = tmp_path / "added_tokens.json"
    good = {"[SEG]": base, "<im_start>": base + 1, "<im_end>": base + 2}

    def refused(match: str, vocabulary: int = base + 3) -> None:
        with pytest.raises(InputError, match=match) as caught:
            OfficialTokenizer.read(tmp_path, vocabulary)
        assert "\n" not in str(caught.value)

    refused("added_tokens.json is missing")
    added.write_text(json.dumps({k: v for k, v in good.items() if k != "[SEG]"}))
    refused(r"lacks \[SEG\]")
    added.write_text(json.dumps(good))
    refused("outside the vocabulary", base + 2)
    whole = (tmp_path / "tokenizer.model").read_bytes()
    for content in (b"", b"not a model", whole[: len(whole) // 2], whole[:-12]):
        (tmp_path / "tokenizer.model").write_bytes(content)
        if content != whole[:-12]:
            refused("SentencePiece")
    (tmp_path / "tokenizer.model").unlink()
    refused("neither tokenizer.model nor tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    refused("not a readable tokenizer")


def test_a_converted_tokenizer_gives_the_same(tmp_path, checkpoint):
    slow = OfficialTokenizer.read(checkpoint[0], 1000)
    slow.base.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "added_tokens.json").write_text(json.dumps(slow.added))
    fast = OfficialTokenizer.read(tmp_path, 1000)
    for text in ("Sure, it is [SEG].", "naïve 🔬 <im_end>\n the particle"):
        assert fast.ids(text) == slow.ids(text)


# ----------------------------------------------------------------------------------------------------- errors


def rewrite(folder: Path, state: dict) -> None:
    write_shards(folder, state, TINY)


@pytest.mark.parametrize(
    "name",
    [
        "model.text_hidden_fcs.0.2.bias",
        "model.mm_projector.weight",
        "model.visual_model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "model.layers.1.mlp.up_proj.weight",
        "lm_head.weight",
    ],
)
def test_a_missing_key_is_named(broken, name):
    folder, state = broken
    rewrite(folder, {n: v for n, v in state.items() if n != name})
    with pytest.raises(InputError, match="does not fit") as caught:
        load_official(folder, precision="fp32")
    assert f"1 missing ({name})" in str(caught.value) and "unexpected" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model.text_hidden_fcs.1.0.weight", "model.vision_tower.x", "model.mm_projector.2.bias"]
)
def test_an_unexpected_key_is_named(broken, name):
    folder, state = broken
    rewrite(folder, state | {name: torch.zeros(3)})
    with pytest.raises(InputError, match="does not fit") as caught:
        load_official(folder, precision="fp32")
    assert f"1 unexpected ({name})" in str(caught.value)


def test_another_shape_is_named(broken):
    folder, state = broken
    rewrite(folder, state | {"model.norm.weight": torch.zeros(3)})
    with pytest.raises(InputError, match=r"1 of another shape \(model.norm.weight\)"):
        load_official(folder, precision="fp32")
    # without its own entry in the configuration, SAM must be ViT-H
    write_lisa(folder, TINY, sam_in_config=False)
    with pytest.raises(InputError, match="visual_model.image_encoder.blocks.10"):
        load_official(folder, precision="fp32")
    assert load_official(folder, precision="fp32", sam=SamSizes(**TINY.visual_model)).model.sam_tower.multiple == 64


def test_files_that_are_missing_or_damaged(broken):
    folder, state = broken
    second = folder / "pytorch_model-00002-of-00002.bin"
    whole = second.read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            load_official(folder, precision="fp32")
        assert "\n" not in str(caught.value)

    second.write_bytes(whole[:1000])
    refused("is not readable")
    torch.save({"step": 3}, second)
    refused("not a dictionary of tensors")
    torch.save({"model.norm.weight": torch.zeros(64)}, second)
    refused("differ from their index")
    second.unlink()
    refused("lacks pytorch_model-00002-of-00002.bin")
    (folder / "pytorch_model.bin.index.json").write_text("[")
    refused("not a readable index")
    (folder / "pytorch_model.bin.index.json").unlink()
    refused("has no weights")
    torch.save(state, folder / "pytorch_model.bin")
    load_official(folder, precision="fp32")
    (folder / CLIP_NAME.split("/")[1] / "model.safetensors").write_bytes(b"x")
    refused("CLIP tower in .* could not be loaded")


def test_configurations_of_other_models(broken):
    folder, _ = broken
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for change, match in (
        ({"model_type": "llama"}, "model_type"),
        ({"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature"),
        ({"mm_use_im_start_end": False}, "mm_use_im_start_end"),
        ({"hidden_size": None}, "hidden_size"),
        ({"visual_model": {"width": 33, "heads": 2}}, "visual_model"),
        ({"mm_hidden_size": 48}, "another shape .model.mm_projector.weight"),
        ({"mm_vision_tower": "no/where/at/all"}, "No CLIP tower at no/where"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises(InputError, match=match):
            load_official(folder, precision="fp32")
    path.unlink()
    with pytest.raises(InputError, match="config.json is missing"):
        load_official(folder)
    with pytest.raises(InputError, match="No folder"):
        load_official(folder / "not" / "here")
    assert not looks_official(folder)


def test_official_sizes_without_an_entry_in_the_configuration():
    config = {"model_type": "llava", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    config |= {"num_attention_heads": 32, "vocab_size": 32004}
    parts = official_load._skeletons(OfficialConfig.model_validate(config))
    sam = parts["sam"]
    # Llama 7B with four more tokens has 9 keys per layer and 3 more; SAM ViT-H
    assert sum(p.numel() for p in parts["language"].parameters()) == 6_738_415_616 + 4 * 2 * 4096
    assert len(parts["language"].state_dict()) == 9 * 32 + 3
    assert sum(p.numel() for p in sam.parameters()) == 641_090_608
    assert sam["image_encoder"].img_size == 1024 and len(sam["image_encoder"].blocks) == 32
    assert {i for i, block in enumerate(sam["image_encoder"].blocks) if block.window_size == 0} == {7, 15, 23, 31}
    assert sam["mask_decoder"].iou_prediction_head.layers[0].out_features == 256


# ------------------------------------------------------------------------------------------------------ images


def test_sam_side_is_padded_with_zeros_after_normalising():
    rgb = np.empty((30, 60, 3), np.uint8)
    rgb[:] = (10, 130, 250)
    x, work = images.sam_input(rgb, 64)
    assert x.shape == (1, 3, 64, 64) and work == (32, 64)
    expected = (torch.tensor([10.0, 130, 250]) - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
        [58.395, 57.12, 57.375]
    )
    torch.testing.assert_close(x[0, :, 5, 7], expected)
    assert (x[0, :, :32] == x[0, :, :1, :1]).all() and (x[0, :, 32:] == 0).all()


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (224, 224), (40, 41), (31, 30)])
def test_clip_side_is_that_of_its_own_processor(shape):
    clip = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    rgb = np.random.RandomState(0).randint(0, 256, (*shape, 3), np.uint8)
    processor = clip.CLIPImageProcessorPil()
    expected = processor(rgb, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    torch.testing.assert_close(images.clip_input(rgb, 224), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400), st.integers(1, 400))
def test_any_shape_fits_both_sides(height, width):
    rgb = np.full((height, width, 3), 9, np.uint8)
    x, work = images.sam_input(rgb, 64)
    assert x.shape == (1, 3, 64, 64) and max(work) == 64 and min(work) >= 1
    assert images.clip_input(rgb, 28).shape == (1, 3, 28, 28)


def test_eight_bit_images_are_not_rescaled():
    pixels = np.array([[0, 100], [200, 255]], np.float32)
    np.testing.assert_allclose(images.photo_range(pixels), pixels / 255)
    for other in (pixels / 255, pixels * 200, pixels - 1, pixels + np.nan, np.zeros((2, 2))):
        assert images.photo_range(other) is None
    square = images.to_rgb(torch.from_numpy(pixels / 255)[None, None])
    assert square.dtype == np.uint8 and (square == pixels[..., None]).all()


# ------------------------------------------------------------------------------------------------ 4 and 8 bits


@pytest.mark.parametrize("precision", ["4bit", "8bit", "bf16"])
def test_a_quantised_language_model_does_not_change_masks(checkpoint, assistant, precision):
    if precision != "bf16":
        pytest.importorskip("bitsandbytes")
    small = lm.load_assistant(str(checkpoint[0]), device="cpu", precision=precision)
    small.engine.max_tokens = 6
    model, whole = small.engine.model, assistant.engine.model
    layer = model.language.model.layers[0].mlp.up_proj
    assert layer.weight.dtype == {"4bit": torch.uint8, "8bit": torch.int8, "bf16": torch.bfloat16}[precision]
    # projections, neck and decoder in float32, bit for bit those of the file
    for part in ("sam_tower", "mask_head", "seg_projector", "clip_tower", "clip_projector"):
        ours, theirs = getattr(model, part).state_dict(), getattr(whole, part).state_dict()
        assert all(v.dtype == torch.float32 for v in ours.values())
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs), part
    image = scene(50, 80)
    answer, exact = small.ask(image, WORDS), assistant.ask(image, WORDS)
    assert answer.raw == exact.raw
    for segment, expected in zip(answer.segments, exact.segments, strict=True):
        assert 0 < segment.mask.mean() < 1
        assert (segment.mask == expected.mask).mean() > 0.9
    box = [[10, 8, 52, 40]]
    np.testing.assert_array_equal(small.segment_boxes(image, box).labels, assistant.segment_boxes(image, box).labels)


def test_a_checkpoint_in_bfloat16_is_read_as_float32(tmp_path):
    state = write_lisa(tmp_path, TINY, dtype=torch.bfloat16)
    model = load_official(tmp_path, precision="fp32").model
    torch.testing.assert_close(model.seg_projector[2].weight, state["model.text_hidden_fcs.0.2.weight"])
    assert model.language.dtype == torch.float32
    neck = model.sam_tower.image_encoder.neck[0].weight
    assert neck.dtype == torch.float32 and not neck.requires_grad


def test_precisions(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(official_load, "fast_bf16", lambda device: False)
    assert choose_precision("auto", cpu, 10**6) == "fp32"
    assert choose_precision("auto", cpu, 7 * 10**9) == "bf16"
    assert choose_precision("auto", torch.device("cuda"), 7 * 10**9) == "fp16"
    monkeypatch.setattr(official_load, "fast_bf16", lambda device: True)
    assert choose_precision("auto", cpu, 10**6) == "bf16" and choose_precision("4bit", cpu, 1) == "4bit"
    with pytest.raises(InputError, match="Unknown precision 'int4'; choose one of auto, fp32"):
        choose_precision("int4", cpu, 1)


# ----------------------------------------------------------------------------------------------- conversations


def test_a_full_conversation_starts_over_with_its_last_turns(assistant, monkeypatch):
    image = scene(40, 60)
    chat = assistant.chat(image)
    engine = assistant.engine
    first, second = chat.ask(WORDS), chat.ask("and the pore?")
    assert first.prompt == WORDS and len(second.segments) == 2
    start = assistant.prepared(image).cache
    spoken = len(engine.turn_ids(start.fork(), WORDS, True))
    assert chat._cache.length > start.length + spoken + engine.max_tokens
    length = chat._cache.length
    # the same turns prefilled at once give the same reply
    cache = start.fork()
    engine.prefill_turn(cache, WORDS, "Sure, [SEG] and [SEG] and", first=True)
    again, _ = engine.generate(cache, "and the pore?", first=False)
    assert again.raw == second.raw
    third = chat.ask("and it?")
    assert chat._cache.length > length and third.raw
    monkeypatch.setattr(engine, "context", chat._cache.length + 5)
    fourth = chat.ask("and it?")
    assert fourth.raw and chat._cache.length <= engine.context
    monkeypatch.setattr(engine, "context", start.length + 40)
    assert len(chat.ask("x").raw) > 0 and chat._cache.length <= engine.context


def test_notes_of_an_answer(assistant, tmp_path):
    image = scene(30, 30)
    with pytest.raises(InputError, match="prompt is empty"):
        assistant.ask(image, "  ")
    silent = lm.load_assistant(str(write(tmp_path / "a", ("▁Sure", "4", "</s>"))), "cpu", "fp32")
    answer = silent.ask(image, WORDS)
    assert answer.text == "Sure4" and not answer.segments
    assert any("no [SEG]" in note for note in answer.notes) and any("not measured" in note for note in answer.notes)
    repeating = lm.load_assistant(str(write(tmp_path / "b", TWO)), "cpu", "fp32")
    repeating.engine.max_tokens = 80
    answer = repeating.ask(image, WORDS)
    assert len(answer.segments) <= 32 and any("masks are made of the first 32" in note for note in answer.notes)


def test_a_large_micrograph_is_scaled_down_with_a_note(assistant):
    known = assistant.capabilities
    assert known.words and known.follow_ups and known.boxes and known.largest_side == TINY.sam_side
    assert not (known.tiling or known.reply_language or known.video or known.video_questions or known.concepts)
    image = scene(40, 2100)
    chat = assistant.open_conversation(image)
    for words in (WORDS, "and the pore?"):
        answer = chat.ask(words)
        assert f"(2100 x 40 px) was scaled down to {TINY.sam_side} px on its longest side" in answer.notes[-1]
        assert all(segment.labels.shape == image.shape for segment in answer.segments)
    assert not assistant.chat(scene(40, TINY.sam_side)).notes
    with pytest.raises(InputError, match="cannot segment in tiles; choose the tiling mode auto or off"):
        assistant.open_conversation(image, "tiled")


def write(folder: Path, chain: tuple[str, ...]) -> Path:
    write_lisa(folder, TINY, chain=chain)
    return folder


def test_the_record_identifies_the_weights(checkpoint, assistant, broken):
    other = lm.load_assistant(str(broken[0]), device="cpu", precision="fp32")
    assert len(assistant.weights_sha256) == 64 and assistant.preset == str(checkpoint[0])
    assert other.weights_sha256 != assistant.weights_sha256
    assert assistant.encode(scene(20, 20)) > 0


def test_hub_names_without_a_network_give_one_sentence(monkeypatch):
    import huggingface_hub

    def unreachable(*args, **kwargs):
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    for name in (*OFFICIAL, "smollm2-360m", "smollm2-1.7b"):
        with pytest.raises(InputError, match="connect to a network once") as caught:
            lm.load_assistant(name, device="cpu")
        assert "\n" not in str(caught.value)
        assert presets.BASE_MODELS.get(name, name) in str(caught.value)
    assert hub.is_hub_name("xinlai/LISA-7B-v1") and not hub.is_hub_name("/a/b") and not hub.is_hub_name("a/b/c")


def test_a_hub_name_is_fetched_and_loaded(monkeypatch, checkpoint):
    import huggingface_hub

    asked = []

    def fetched(name, allow_patterns):
        asked.append(name)
        return str(checkpoint[0])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assistant = lm.load_assistant("xinlai/LISA-7B-v1", device="cpu", precision="fp32")
    assert asked == ["xinlai/LISA-7B-v1"] and isinstance(assistant, OfficialAssistant)
    assert assistant.preset == "xinlai/LISA-7B-v1"


def test_the_clip_tower_is_found_in_three_places(broken, monkeypatch):
    import shutil

    import huggingface_hub

    folder, _ = broken
    inside = folder / CLIP_NAME.split("/")[1]
    outside = folder.parent / inside.name
    shutil.move(inside, outside)
    load_official(folder, precision="fp32")
    elsewhere = folder.parent / "hub" / "clip"
    elsewhere.parent.mkdir()
    shutil.move(outside, elsewhere)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(elsewhere))
    load_official(folder, precision="fp32")

    def unreachable(*args, **kwargs):
        raise OSError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(InputError, match="CLIP tower openai/clip-vit-large-patch14.*put its folder at"):
        load_official(folder, precision="fp32")


# ------------------------------------------------------------------------------------------------------ presets


@pytest.fixture
def tiny_base(tmp_path, monkeypatch) -> Path:
    """A base language model with a chat tokenizer in place of SmolLM2-360M."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path / "base"
    words = ["<unk>", "<|im_start|>", "<|im_end|>", "user", "assistant", "the", "particles"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), tie_word_embeddings=True, **sizes)).save_pretrained(folder)
    monkeypatch.setitem(presets.BASE_MODELS, "smollm2-360m", str(folder))
    return folder


def test_larger_presets_share_the_towers(tiny_base, tmp_path):
    from lisa_micro.models.checkpoints import read_state, save_module

    shipped = Path(lm.__file__).parent / "weights" / "micro"
    with pytest.warns(UserWarning, match="projectors of smollm2-360m are untrained"):
        model, tokenizer = presets.build_preset("smollm2-360m", shipped)
    assert model.config.name == "smollm2-360m" and model.config.base_lm == str(tiny_base)
    assert model.language.config.hidden_size == 16 and model.clip_projector.layers[2].out_features == 16
    head = read_state(shipped / "mask_head.safetensors")
    torch.testing.assert_close(model.mask_head.state_dict()["code_book.weight"], head["code_book.weight"])

    given = tmp_path / "projectors"
    for part in presets.BETWEEN:
        save_module(getattr(model, part).state_dict(), given / f"{part}.safetensors", torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again, _ = presets.build_preset("smollm2-360m", shipped, projectors=given)
    for part in presets.BETWEEN:
        for name, value in getattr(model, part).state_dict().items():
            torch.testing.assert_close(getattr(again, part).state_dict()[name], value)
    with pytest.raises(InputError, match="there is no folder"):
        presets.build_preset("smollm2-360m", shipped, projectors=tmp_path / "none")
    with pytest.raises(InputError, match="does not fit clip_projector"):
        presets.build_preset("smollm2-360m", shipped, projectors=shipped)
    with pytest.raises(InputError, match="smollm2-360m, smollm2-1.7b"):
        presets.preset_config("smollm2-7b", shipped)
