"""Batches of version 2: programs are learnt, words are not; texts without image tokens beside images."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lisa_micro.datasets.texts.programs import sample  # noqa: E402
from lisa_micro.datasets.texts.store import Voice  # noqa: E402
from lisa_micro.language import DEFAULT_VOCABULARY, FULL_VOCABULARY  # noqa: E402
from lisa_micro.language.program import PROGRAM_TOKENS, parse_program  # noqa: E402
from lisa_micro.models.lisa.chat import END, START, ChatFormat  # noqa: E402
from lisa_micro_finetune.data.conversations import IGNORE  # noqa: E402
from lisa_micro_finetune.data.programs import (  # noqa: E402
    NO_IMAGE,
    MixedMaker,
    Mixture,
    Pictures,
    encode_exchanges,
)
from lisa_micro_finetune.stages.programs import LossWeights, compile_layers, kind_words, make_step, teach_kinds  # noqa: E402

IMAGE_TOKENS = 5


@pytest.fixture(scope="module")
def chat():
    """The chat format over a byte-level tokenizer without merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    words = ["particles largest touching diameter neck mean user assistant count"] * 5
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=[START, END])
    model.train_from_iterator(words, trainer)
    model.add_tokens([AddedToken(token, lstrip=True, normalized=False) for token in PROGRAM_TOKENS])
    return ChatFormat(transformers.PreTrainedTokenizerFast(tokenizer_object=model))


def pictures():
    facts = {
        "modality": "SEM",
        "counts": {"particle": 9, "neck": 3},
        "in_contact": 0.5,
        "complete": True,
        "kind": "sim",
    }
    return Pictures([facts, facts], [[0, 1], [2, 3]], np.array([1.0, 1.0]), [("polycrystal",), ()])


def trained_texts(chat, ids, labels):
    """The replies that the labels ask for, as text."""
    assert all(label in (IGNORE, follows) for label, follows in zip(labels, ids[1:], strict=False))
    assert labels[-1] == IGNORE
    tokens = [label for label in labels if label != IGNORE]
    return chat.tokenizer.decode(tokens).split(END)[:-1]


def test_only_programs_have_a_loss(chat):
    exchanges = sample(Voice(np.random.default_rng(4)))
    for image_tokens in (0, IMAGE_TOKENS):
        ids, labels = encode_exchanges(exchanges, chat, image_tokens)
        assert [parse_program(text) for text in trained_texts(chat, ids, labels)] == [e.program for e in exchanges]
        at = len(chat.user_ids("", True)[0])
        assert ids[at : at + image_tokens] == [0] * image_tokens


def test_a_step_has_conversations_with_and_without_images(chat):
    maker = MixedMaker(chat, IMAGE_TOKENS, Mixture(3, 8, longest=600), pictures())
    batches = [maker(step) for step in range(4)]
    batch = batches[0]
    assert sum(b.images.ids.shape[0] for b in batches) == 4 * 3
    assert sum(b.texts.ids.shape[0] for b in batches) == 4 * 8
    assert (batch.texts.image == NO_IMAGE).all() and (batch.images.image >= 0).all()
    for half in (batch.images, batch.texts):
        seg = chat.special["[SEG]"]
        assert all(half.ids[row, position] == seg for row, position in half.seg.tolist())
        assert int((half.ids == seg).sum()) == len(half.seg) == len(half.concept)
        assert (half.concept < len(FULL_VOCABULARY.names)).all()


def test_the_same_step_is_the_same_batch_and_another_is_not(chat):
    first, second = (MixedMaker(chat, IMAGE_TOKENS, Mixture(2, 4, longest=600), pictures()) for _ in range(2))
    assert torch.equal(first(3).texts.ids, second(3).texts.ids) and torch.equal(
        first(3).images.ids, second(3).images.ids
    )
    assert first(3).texts.ids.shape != first(4).texts.ids.shape or not torch.equal(
        first(3).texts.ids, first(4).texts.ids
    )


def test_texts_alone_need_no_pictures(chat):
    maker = MixedMaker(chat, IMAGE_TOKENS, Mixture(0, 4, longest=600))
    assert maker(0).images is None and sum(maker(step).texts.ids.shape[0] for step in range(4)) == 16


def test_concepts_that_a_model_lacks_are_not_drawn(chat):
    maker = MixedMaker(chat, IMAGE_TOKENS, Mixture(0, 12, longest=600), vocabulary=DEFAULT_VOCABULARY)
    batch = maker(1)
    assert (batch.texts.concept < len(DEFAULT_VOCABULARY.names)).all()


def test_long_conversations_are_drawn_again(chat):
    batch = MixedMaker(chat, IMAGE_TOKENS, Mixture(0, 6, longest=150))(2)
    assert batch.texts.ids.shape[1] <= 160


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of a hundredth of the size with a fresh adapter, and its chat format."""
    from tiny_preset import write_language_model

    from lisa_micro.models.lisa.build import build_lisa
    from lisa_micro.models.lisa.config import LisaConfig

    folder = tmp_path_factory.mktemp("lm")
    write_language_model(folder)
    config = LisaConfig(
        name="tiny",
        reply_language=2,
        base_lm=str(folder),
        clip_side=1,
        sam_side=1,
        embed_dim=32,
        depth=1,
        work_side=64,
        least_side=64,
        lora={"rank": 2, "alpha": 4, "dropout": 0.0},
    )
    torch.manual_seed(0)
    model, tokenizer = build_lisa(config, lora=True)
    return model, ChatFormat(tokenizer)


def test_a_step_learns_programs_with_and_without_images(tiny):
    model, chat = tiny
    start = len(chat.user_ids("", True)[0])
    mixture = Mixture(1, 2, longest=700)
    batch = MixedMaker(chat, 2, mixture, pictures(), DEFAULT_VOCABULARY)(0)
    clip, sam = model.clip_projector, model.sam_projector
    features = {
        "clip": torch.randn(4, 1, clip.norm.normalized_shape[0]).half(),
        "sam": torch.randn(4, 1, sam.norm.normalized_shape[0]).half(),
    }
    step = make_step(model, features, start, LossWeights(0.1), torch.device("cpu"), False)
    learn = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learn, 1e-2)
    losses = []
    for _ in range(12):
        loss, figures = step(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.15
    assert (
        set(figures) == {"words", "token", "far", "kind", "back"}
        and figures["kind"] == 0
        and 0 <= figures["token"] <= 1
    )
    alone, _ = make_step(model, {}, start, LossWeights(0.1), torch.device("cpu"), False)(batch._replace(images=None))
    assert torch.isfinite(alone)


def test_the_way_back_has_a_loss_on_the_words_alone(tiny):
    model, chat = tiny
    maker = MixedMaker(chat, 2, Mixture(0, 2, longest=600, back_batch=3), vocabulary=DEFAULT_VOCABULARY)
    batch = maker(1).back
    assert batch is not None and (batch.image == NO_IMAGE).all() and not len(batch.seg)
    for ids, labels in zip(batch.ids.tolist(), batch.labels.tolist(), strict=True):
        wanted = [k for k, label in enumerate(labels) if label != IGNORE]
        said = [labels[k] for k in wanted]
        assert wanted == list(range(wanted[0], wanted[0] + len(wanted))) and said[-1] == chat.end
        assert ids[wanted[0] + 1 : wanted[0] + 1 + len(said)] == said
        text = chat.text(ids[: wanted[0] + 1])
        assert text.startswith("<|im_start|>program") and text.endswith("\n<|im_start|>user\n")
    start = len(chat.user_ids("", True)[0])
    step = make_step(model, {}, start, LossWeights(0.1, back=0.5), torch.device("cpu"), False)
    loss, figures = step(maker(1))
    without, _ = step(maker(1)._replace(back=None))
    assert figures["back"] > 0 and float((loss - without).detach()) == pytest.approx(0.5 * figures["back"], rel=1e-4)


def test_the_projector_learns_the_kinds_of_images_first(tiny):
    model, chat = tiny
    given = pictures()
    shown = Pictures(given.facts, given.rows, given.weights, [("polycrystal",), ("fibres",)])
    words = kind_words(model, chat, shown)
    torch.manual_seed(5)
    features = torch.randn(4, 1, model.clip_projector.norm.normalized_shape[0])
    assert teach_kinds(model, features.half(), words, 60, lr=1e-2) < 0.2
    with torch.no_grad():
        assert float(words.distance(model.clip_projector.project(features), torch.arange(4))) < 0.2


def test_image_tokens_learn_to_tell_the_kind_of_image(tiny):
    model, chat = tiny
    start = len(chat.user_ids("", True)[0])
    given = pictures()
    shown = Pictures(given.facts, given.rows, given.weights, [("polycrystal",), ("fibres",)])
    words = kind_words(model, chat, shown)
    assert words.of_row.tolist() == [1, 1, 0, 0] and words.embeddings.shape[0] == 2
    assert kind_words(model, chat, given).of_row.tolist() == [0, 0, -1, -1]
    torch.manual_seed(3)
    features = {
        "clip": torch.randn(4, 1, model.clip_projector.norm.normalized_shape[0]).half(),
        "sam": torch.randn(4, 1, model.sam_projector.norm.normalized_shape[0]).half(),
    }
    step = make_step(model, features, start, LossWeights(0.1, kind=1.0), torch.device("cpu"), False, words)
    maker = MixedMaker(chat, 2, Mixture(2, 1, longest=700), shown, DEFAULT_VOCABULARY)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    for number in range(16):
        loss, _ = step(maker(number))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    rows = torch.arange(4)
    with torch.no_grad():
        tokens = model.image_tokens(features["clip"].float(), features["sam"].float(), pooled=True)[:, :1]
        assert float(words.distance(tokens, rows)) < 0.1
        assert float(words.distance(tokens.flip(0), rows)) > 1
        assert float(kind_words(model, chat, given).distance(tokens[2:], rows[2:])) == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
def test_compiled_layers_give_the_same_loss(tiny):
    model, chat = tiny
    start = len(chat.user_ids("", True)[0])
    batch = MixedMaker(chat, 2, Mixture(0, 2, longest=700, back_batch=1), vocabulary=DEFAULT_VOCABULARY)(0)
    step = make_step(model, {}, start, LossWeights(0.1, back=0.5), torch.device("cpu"), False)
    plain, _ = step(batch)
    names = list(model.state_dict())
    compile_layers(model)
    loss, _ = step(batch)
    loss.backward()
    assert float((loss - plain).detach()) == pytest.approx(0, abs=1e-4) and list(model.state_dict()) == names
