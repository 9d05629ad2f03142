"""The stage ``adapt``: settings, records, batches, losses, and which parts are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_records import write_images, write_own
from paths import ROOT
from tiny_preset import write_preset

from lisa_micro.datasets.records import Record, write_records
from lisa_micro.models.lisa.adapter import read_parts
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.augment import DEFAULT_AUGMENTATION, Augmentation, Window, crop_window
from lisa_micro_finetune.adapt.batches import WHOLE, AdaptMaker
from lisa_micro_finetune.adapt.data import read_items, simulated_items, split_records, with_concepts
from lisa_micro_finetune.adapt.evaluate import make_cases, score
from lisa_micro_finetune.adapt.features import FeatureSettings, FeatureStore
from lisa_micro_finetune.adapt.losses import adapt_loss
from lisa_micro_finetune.adapt.model import AdaptModel, build_model
from lisa_micro_finetune.adapt.plans import Drawing, Prompting, Share
from lisa_micro_finetune.adapt.settings import AdaptStage, Loss
from lisa_micro_finetune.checkpoints import copy_into, gather_tensor
from lisa_micro_finetune.cluster.settings import ClusterSettings
from lisa_micro_finetune.config import CLUSTER, load_config

CONFIG = ROOT / "finetune" / "configs" / "adapt.yaml"


def test_settings_of_the_command_line_replace_those_of_the_file():
    stage = load_config(CONFIG, ["data=some/folder", "schedule.steps=7", "replay=0.1", "learn.tower=last"])
    assert stage.data == Path("some/folder") and stage.schedule.steps == 7 and stage.replay.share == 0.1
    assert stage.learn.tower == "last" and load_config(CONFIG).learn.tower == "auto"
    for wrong, message in (
        ("schedule.stepz=3", "stepz"),
        ("steps", "KEY=VALUE"),
        ("stage.x=1", "not a block"),
        ("crop=100", "multiple of 32"),
        ("validation=1.5", "between 0 and 1"),
        ("learn={language: no, tokens: no, projections: no, decoder: no}", "nothing is trained"),
    ):
        with pytest.raises(InputError, match=message):
            load_config(CONFIG, [wrong])


def test_every_setting_is_in_the_shipped_file():
    import yaml

    written = yaml.safe_load(CONFIG.read_text())
    assert written.pop(CLUSTER).keys() == ClusterSettings.model_fields.keys()
    fields = AdaptStage.model_fields
    assert written.keys() == fields.keys()
    for name, value in written.items():
        if isinstance(value, dict):
            assert value.keys() == fields[name].annotation.model_fields.keys(), name
    for line in CONFIG.read_text().splitlines():
        if line.startswith("  ") and ":" in line:
            assert "#" in line or line.strip().startswith("seed"), f"not explained: {line}"


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    return write_preset(tmp_path_factory.mktemp("preset") / "tiny")


@pytest.fixture(scope="module")
def config(preset) -> LisaConfig:
    return LisaConfig.read(preset)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_own(tmp_path_factory.mktemp("data"), count=4, side=96)


@pytest.fixture(scope="module")
def items(data, config, tmp_path_factory):
    train, _ = split_records(data, 0.25)
    return read_items(train, config) + simulated_items(tmp_path_factory.mktemp("sim"), 2, 90, 64, config)


@pytest.fixture(scope="module")
def built(preset, config):
    torch.manual_seed(0)
    stage = load_config(CONFIG, ["lora={rank: 2, alpha: 4, dropout: 0}"])
    lisa, tokenizer = build_model(read_parts(preset), preset, config, stage, torch.float32, torch.device("cpu"))
    return lisa, ChatFormat(tokenizer)


def maker(items, chat, share=WHOLE, looks=0, replays=False) -> AdaptMaker:
    drawing = Drawing(4, 3, crop=64, longest=900, share=0.5, windows=looks)
    return AdaptMaker(items, chat, 2, drawing, Prompting(replays=replays), share)


def test_the_parts_of_all_processes_make_one_batch(items, built):
    _, chat = built
    whole = maker(items, chat)(5)
    assert len(whole) == 1
    parts = [maker(items, chat, share=Share(r, 2, 2))(5) for r in range(2)]
    assert [len(p) for p in parts] == [2, 2]
    flat = [batch for part in parts for batch in part]
    assert all(batch.totals == whole[0].totals for batch in flat)

    def rows(batches) -> list:
        return sorted((view, ids[ids != 0].tolist()) for b in batches for view, ids in zip(b.views, b.ids, strict=True))

    assert rows(flat) == rows(whole) == rows(maker(items, chat)(5))
    assert rows(maker(items, chat)(6)) != rows(whole)
    kinds = [items[k].kind for k, _ in whole[0].views]
    assert kinds.count("sim") == 2
    with pytest.raises(InputError, match="cannot be divided among 3 processes"):
        maker(items, chat, share=Share(0, 3, 2))


def test_losses_and_gradients_of_the_parts_add_up(items, built, tmp_path):
    lisa, chat = built
    module = AdaptModel(lisa, len(chat.user_ids("", first=True)[0])).eval()
    store = FeatureStore(lisa, items, FeatureSettings(tmp_path, "key", torch.device("cpu")))
    embeddings = lisa.mask_head.code_book.weight.detach()
    weights = Loss()

    def learn(batches) -> tuple[float, dict[str, torch.Tensor]]:
        module.zero_grad()
        total = 0.0
        for batch in batches:
            loss, _ = adapt_loss(module(store.fill(batch)), batch, embeddings, weights)
            loss.backward()
            total += loss.item()
        return total, {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}

    one, gradients = learn(maker(items, chat)(2))
    many, parts = learn([b for r in range(2) for b in maker(items, chat, share=Share(r, 2, 2))(2)])
    assert many == pytest.approx(one, rel=1e-4)
    for name in ("lisa.seg_projector.0.weight", "lisa.mask_head.mask_decoder.mask_tokens.weight"):
        torch.testing.assert_close(parts[name], gradients[name], rtol=1e-3, atol=1e-5)
    assert not any("code_book" in n or "sam_tower" in n or "new_tokens" in n for n in gradients)
    assert any("lora_A" in n for n in gradients)


def test_windows_and_their_maps_lie_on_the_same_pixels(items, built, tmp_path):
    lisa, chat = built
    store = FeatureStore(lisa, items, FeatureSettings(tmp_path, "key", torch.device("cpu")))
    particles = 0
    for step in range(3):
        for window in maker(items, chat)(step)[0].windows:
            item = items[window.item]
            turned = DEFAULT_AUGMENTATION(item, window.view)(item.labels["particle"])
            image = store.image(window.item, window.view)
            assert image.shape[-2:] == DEFAULT_AUGMENTATION(item, window.view)(item.pixels).shape
            with torch.no_grad():
                whole = lisa.see_detail(image)[0]
            w = window.window
            expected = whole.embedding[..., w.y0 : w.y0 + w.h, w.x0 : w.x0 + w.w]
            torch.testing.assert_close(
                store.window(window.item, window.view, w).embedding, expected, atol=2e-2, rtol=2e-2
            )
            part = crop_window(turned, w) > 0
            truth = part.reshape(w.h * 8, 2, w.w * 8, 2).mean((1, 3))
            particles += any(np.allclose(mask, truth) for mask in window.maps.mask[: len(window.seg)].numpy())
    assert particles >= 3


def test_class_embeddings_are_replayed_on_scenes(items, built):
    batch = maker(items, built[1], replays=True)(1)[0]
    by_kind = {kind: [k for k in batch.windows if items[k.item].kind == kind] for kind in ("sim", "record")}
    assert len(by_kind["sim"]) == 2 and all(
        0 in window.concepts and len(window.concepts) == 2 for window in by_kind["sim"]
    )
    assert not any(len(window.concepts) for window in by_kind["record"])
    window = by_kind["sim"][0]
    particles = window.maps.mask[len(window.seg)] > 0.5
    truth = (
        crop_window(
            DEFAULT_AUGMENTATION(items[window.item], window.view)(items[window.item].labels["particle"]), window.window
        )
        > 0
    )
    assert np.array_equal(
        particles.numpy(), truth.reshape(window.window.h * 8, 2, window.window.w * 8, 2).mean((1, 3)) > 0.5
    )


def test_extra_windows_are_prompted_by_class_embeddings_and_divided_among_processes(items, built):
    plain, more = (maker(items, built[1], replays=True, looks=n)(1)[0] for n in (0, 2))
    assert torch.equal(plain.ids, more.ids) and len(more.windows) == len(plain.windows) + 2 * len(more.ids)
    extra = [k for k in more.windows if not len(k.seg)]
    assert len(extra) >= 2 * len(more.ids) and all(len(k.concepts) for k in extra)
    assert {items[k.item].kind for k in extra} == {"record", "sim"}
    assert more.totals["prompts"] > plain.totals["prompts"] and more.totals["tokens"] == plain.totals["tokens"]
    parts = [maker(items, built[1], replays=True, looks=2, share=Share(r, 2))(1)[0] for r in range(2)]
    assert sum(len(p.windows) for p in parts) == len(more.windows)
    assert not any(len(k.concepts) for k in maker(items, built[1], looks=2)(1)[0].windows)


def test_a_window_beyond_the_image_is_padded():
    image = np.arange(40 * 50, dtype=np.int16).reshape(40, 50) % 100 + 1
    part = crop_window(image, Window(1, 2, 3, 2))
    assert part.shape == (32, 48)
    assert (part[:8, :34] == image[32:, 16:]).all() and not part[8:].any() and not part[:, 34:].any()


def test_images_whose_text_mentions_directions_are_never_turned(items):
    item = items[0]
    assert any(DEFAULT_AUGMENTATION(item, view) != DEFAULT_AUGMENTATION(item, 0) for view in range(1, 8))
    said = replace(item.turns[0], user="the particles at the left")
    fixed = replace(item, turns=(said,))
    assert all(DEFAULT_AUGMENTATION(fixed, view) == DEFAULT_AUGMENTATION(item, 0) for view in range(8))


def test_a_view_of_another_size_keeps_labels_on_their_pixels(items):
    item = items[0]
    labels = np.zeros((60, 90), np.int16)
    labels[10:40, 20:70] = 3
    bright = (labels > 0).repeat(2, 0).repeat(2, 1).astype(np.float32)  # the micrograph has twice the pixels
    item = replace(item, labels={"particle": labels}, turns=())
    augmentation = Augmentation(1.6, (64, 120))
    shapes = set()
    for view in range(1, 12):
        seen, image = augmentation(item, view)(labels), augmentation(item, view).pixels(bright)
        assert image.shape == seen.shape and 64 <= max(seen.shape) <= 120 and set(np.unique(seen)) == {0, 3}
        assert ((image > 0.5) == (seen > 0)).mean() > 0.97
        shapes.add(seen.shape)
    assert len(shapes) > 4 and any(h > w for h, w in shapes) and any(h < w for h, w in shapes)
    assert augmentation(item, 0)(labels).shape == labels.shape
    assert augmentation(replace(item, labels={}), 3)(labels).shape in (labels.shape, labels.shape[::-1])


def test_cached_windows_for_a_copy_of_the_top_down_path(items, preset, config, tmp_path):
    stage = load_config(CONFIG, ["learn.language=no", "learn.tower=last"])
    lisa, _ = build_model(read_parts(preset), preset, config, stage, torch.float32, torch.device("cpu"), own_top=True)
    assert {n.split(".")[0] for n, p in lisa.named_parameters() if p.requires_grad} >= {"own_top", "mask_head"}
    assert not any(p.requires_grad for p in lisa.sam_tower.parameters())
    store = FeatureStore(lisa, items, FeatureSettings(tmp_path, "key", torch.device("cpu"), staged=True))
    with torch.no_grad():
        image = store.image(0, 1)
        whole = lisa.see_detail(image)[0]
        cells = whole.embedding.shape[-2:]
        result = lisa.own_top(store.window(0, 1, Window(0, 0, cells[1], cells[0])))
    for one, other in zip((result.embedding, *result.skips), (whole.embedding, *whole.skips), strict=True):
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)
    for part, stage, stride in zip(
        store.window(0, 1, Window(2, 0, 2, 2)), whole.stages, (2, 4, 8, 16, 32), strict=True
    ):
        cell = 32 // stride
        torch.testing.assert_close(part, stage[..., :cell, cell : 2 * cell], atol=2e-2, rtol=2e-2)


def test_records_of_one_source_are_in_one_part(data, tmp_path):
    rows = write_images(tmp_path, 6, 64)
    records = [Record.model_validate({**row, "source": f"s{k // 2}"}) for k, row in enumerate(rows)]
    write_records(tmp_path / "metadata.jsonl", records)
    train, judged = split_records(tmp_path, 0.3)
    parts = [{part.records[k].source for k in part.chosen} for part in (train, judged)]
    assert len(parts[1]) == 1 and not parts[0] & parts[1]
    assert split_records(tmp_path, 0.3)[1].chosen == judged.chosen
    given = [r.model_copy(update={"split": "validation" if k == 4 else "train"}) for k, r in enumerate(records)]
    write_records(tmp_path / "metadata.jsonl", given)
    assert split_records(tmp_path, 0.3)[1].chosen == (4,)
    assert split_records(data, 0.0)[1] is None


def test_only_the_class_embedding_of_a_custom_class_is_trained(preset, config, tmp_path):
    rows = write_images(tmp_path, 2, 64)
    for row in rows:
        row["concept_labels"] = {"shell": row.pop("labels")}
    write_records(tmp_path / "metadata.jsonl", [Record.model_validate(row) for row in rows])
    (tmp_path / "dataset.yaml").write_text("concepts: {shell: [shell, shells]}\n")
    wider = with_concepts(config, tmp_path)
    assert wider.vocabulary.names[-1] == "shell"
    train, _ = split_records(tmp_path, 0.0)
    items = read_items(train, wider)
    stage = load_config(CONFIG, ["learn={language: no, tokens: no, projections: yes, decoder: no}"])
    lisa, tokenizer = build_model(read_parts(preset), preset, wider, stage, torch.float32, torch.device("cpu"))
    chat = ChatFormat(tokenizer)
    drawing = Drawing(2, 0, crop=64, longest=900)
    make = AdaptMaker(items, chat, 2, drawing, Prompting(custom_from=5), vocabulary=wider.vocabulary)
    batch = next(b for step in range(20) for b in make(step) if len(b.concept) and (b.concept == 5).any())
    assert any(5 in window.concepts for window in batch.windows)
    store = FeatureStore(lisa, items, FeatureSettings(tmp_path / "cache", "key", torch.device("cpu")))
    embeddings = lisa.mask_head.code_book.weight
    module = AdaptModel(lisa, len(chat.user_ids("", first=True)[0]))
    adapt_loss(module(store.fill(batch)), batch, embeddings.detach(), Loss())[0].backward()
    assert not embeddings.grad[:5].any() and embeddings.grad[5].any()
    # simulated scenes replay the base's class embeddings, which are frozen
    mixed = items + simulated_items(tmp_path / "sim", 1, 90, 64, wider)
    drawing = Drawing(2, 0, crop=64, longest=900, share=0.5, windows=1)
    prompting = Prompting(custom_from=5, replays=True)
    make = AdaptMaker(mixed, chat, 2, drawing, prompting, vocabulary=wider.vocabulary)
    batch = make(0)[0]
    assert any((window.concepts < 5).any() for window in batch.windows) and any(
        (window.concepts == 5).any() for window in batch.windows
    )
    store = FeatureStore(lisa, mixed, FeatureSettings(tmp_path / "cache", "key", torch.device("cpu")))
    embeddings.grad = None
    adapt_loss(module(store.fill(batch)), batch, embeddings.detach(), Loss())[0].backward()
    assert not embeddings.grad[:5].any() and embeddings.grad[5].any()
    asked = make_cases(train, wider.vocabulary, stage.judge, 0)
    assert {case.concept for case in asked} == {"shell"} and all("shell" in case.prompt.lower() for case in asked)


def test_checkpoints_gather_sharded_tensors(tmp_path):
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "s"), 1), rank=0, world_size=1
    )
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        value = torch.arange(12.0).reshape(4, 3)
        spread = distribute_tensor(value, mesh, [Shard(0)])
        assert isinstance(spread, DTensor) and torch.equal(gather_tensor(spread), value)
        copy_into(spread, value + 1)
        assert torch.equal(gather_tensor(spread), value + 1)
    finally:
        torch.distributed.destroy_process_group()
    plain = torch.zeros(4, 3)
    copy_into(plain, value)
    assert torch.equal(gather_tensor(plain), value)


def test_scores_of_perfect_and_empty_masks(data, config):
    train, _ = split_records(data, 0.0)
    cases = make_cases(train, config.vocabulary, AdaptStage(stage="adapt").judge, 0)
    perfect = score(cases, [case.truth > 0 for case in cases])
    assert perfect["giou"] == pytest.approx(1, abs=1e-3) and perfect["requests"] == len(cases)
    empty = score(cases, [np.zeros(case.truth.shape, bool) for case in cases])
    assert empty["giou"] == 0 and empty["ciou"] == 0
    held_back = {case.prompt for case in cases if case.kind == "held back"}
    assert len(held_back) == 3 and {row["prompt"] for row in perfect["wordings"]} > held_back


def test_a_narrowed_request_is_evaluated_only_by_its_instances(config, tmp_path):
    rows = write_images(tmp_path, 2, 64)
    reply = "Here are the particles [SEG]<where>largest 1</where>."
    for row, target in zip(rows, ({"concept": "particle"}, {"instances": [1]}), strict=True):
        row["conversations"] = [{"user": "the largest one", "assistant": reply, "targets": [target]}]
    write_records(tmp_path / "metadata.jsonl", [Record.model_validate(row) for row in rows])
    train, _ = split_records(tmp_path, 0.0)
    settings = AdaptStage(stage="adapt").judge.model_copy(update={"wordings": 0})
    asked = make_cases(train, config.vocabulary, settings, 0)
    assert [case.image for case in asked] == [1] and asked[0].kind == "record"
