"""Stage ``adapt``: a preset tuned on one's own records, kept as an adapter of a few megabytes."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from finetune.adapt_batches import AdaptMaker
from finetune.adapt_config import AdaptStage
from finetune.adapt_data import (
    Item,
    Records,
    fingerprint,
    learnt_replies,
    read_items,
    simulated_items,
    split_records,
    with_concepts,
)
from finetune.adapt_evaluate import Case, evaluate, make_cases, picture
from finetune.adapt_export import adapter_state, card, load_adapter_state, write_adapter, write_json, write_text
from finetune.adapt_features import FeatureStore
from finetune.adapt_loop import Job, Trainer
from finetune.adapt_losses import adapt_loss
from finetune.adapt_model import FAST, SEEING, AdaptModel, build_model, lora_settings
from finetune.adapt_views import Views
from finetune.device import use_bf16
from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.device import pick_device
from lisa_micro.models.lisa.adapter import (
    WEIGHTS,
    AdapterConfig,
    base_of,
    find_preset,
    fingerprints,
    is_adapter,
    part_of,
    read_parts,
)
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.types import CONCEPTS, InputError

FREE = ("judge", "name", "tensorboard", "start")
"""Settings that may change when a run goes on; of the schedule, those that say when to write."""
FREE_SCHEDULE = ("save_every", "log_every", "workers")
JUDGED_IMAGES = 16
"""Validation images whose loss decides what the best weights are, at most."""


def run_adapt(stage: AdaptStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Run the stage, or go on with it; the adapter is ``folder/adapter``.

    Raises:
        InputError: settings, data, base or start cannot be used; all faults of the data at once, with their lines.
    """
    if stage.data is None:
        raise InputError("stage adapt needs your records: --set data=FOLDER, with metadata.jsonl in it")
    accelerator, device, bf16 = start_processes(stage, device_name)
    main = accelerator.is_main_process
    log: Callable[[str], None] = (lambda text: print(text, flush=True)) if main else (lambda _: None)
    home, begun = find_base(stage)
    base, weights = LisaConfig.read(home), fingerprints(home)
    config = with_concepts(base if begun is None else _with(base, begun[1].concepts), stage.data)
    train, held_back = split_records(stage.data, stage.validation)
    items = read_items(train, config)
    judged = [] if held_back is None else read_items(held_back, config)
    log(f"{len(items)} records to learn from with {learnt_replies(items)} [SEG], {len(judged)} to judge by")
    own_concepts = {n: c.model_dump() for n, c in config.concepts.items() if n not in base.concepts}
    labelled = shown_concepts(items, config.vocabulary.names)
    apart = own_decoder(stage, base, set(own_concepts), labelled, begun and begun[1])
    stage = stage.model_copy(update={"learn": stage.learn.resolved(apart)})
    if apart:
        log(f"the decoder learns for {', '.join(own_concepts)} alone; all else is outlined as {stage.base} does")
    data = fingerprint(train, held_back)
    seed = stage.schedule.seed
    cases = [] if held_back is None else make_cases(held_back, config.vocabulary, stage.judge, seed)
    preset = str(home if begun is None else stage.start)
    if main:
        before(folder, preset, held_back, cases, stage, device_name, log)
    accelerator.wait_for_everyone()
    began = time.monotonic()
    scenes: list[Item] = []
    if stage.replay.share:
        if main:
            simulated_items(cache / "replay", stage.replay.scenes, stage.replay.seed, stage.replay.side, config)
        accelerator.wait_for_everyone()
        scenes = simulated_items(cache / "replay", stage.replay.scenes, stage.replay.seed, stage.replay.side, config)
    model, values, history = train_model(
        *(stage, home, begun, config, items + scenes, judged, data, weights),
        *(accelerator, device, bf16, folder, cache, log, apart),
    )
    if not main:
        accelerator.wait_for_everyone()
        return
    adapter = AdapterConfig(
        name=stage.name,
        base=stage.base if find_name(stage.base) else str(home.resolve()),
        base_sha256=weights,
        lora=lora_settings(stage.lora, base) if stage.learn.language != "no" else begun and begun[1].lora,
        concepts=own_concepts,
        own_decoder=apart,
        data=data,
        trained={"learn": stage.learn.model_dump(), "images": len(items), "settings": stage.model_dump(mode="json")},
    )
    state = adapter_state(model.lisa, values)
    if begun is not None:
        state = {**read_state(begun[0] / WEIGHTS), **state}
    out = folder / "adapter"
    del model, values
    gc.collect()
    write_adapter(out, adapter, state)
    log(f"the adapter is {out}, {(out / WEIGHTS).stat().st_size / 1e6:.1f} MB")
    training = {"steps": history[0], "seconds": round(time.monotonic() - began, 1), "validation": history[1]}
    finish(out, folder, adapter, held_back, cases, stage, device_name, training, log)
    accelerator.wait_for_everyone()


def shown_concepts(items: list[Item], names: tuple[str, ...]) -> set[str]:
    """What the masks of some records are of; ``""`` for masks of no whole concept, as of some particles only."""
    labelled = {name for item in items for name in item.labels if name in names}
    goals = [goal for item in items for turn in item.turns for goal in turn.goals if goal.key is not None]
    return labelled | {names[goal.code] if goal.code >= 0 else "" for goal in goals}


def own_decoder(
    stage: AdaptStage, base: LisaConfig, new: set[str], labelled: set[str], begun: AdapterConfig | None = None
) -> bool:
    """Whether what the decoder learns is for concepts that users taught alone.

    Args:
        new: concepts that the base does not know. labelled: see :func:`shown_concepts`. begun: the adapter to go on
            from, which says so.

    Raises:
        InputError: asked for, but there are no new concepts; the records are about a concept for which the base has a
            decoder of its own; or what is asked for is not what the adapter to go on from has.
    """
    learn = stage.learn
    again = sorted(labelled & set(base.own_decoder))
    if again and learn.decoder != "no":
        raise InputError(
            f"{stage.base} outlines {', '.join(again)} by a decoder of its own, which does not learn on: go on from "
            "the adapter that it was merged from (start), or set learn.decoder: no"
        )
    if learn.own_decoder == "yes" and not new:
        raise InputError("learn.own_decoder: yes needs a concept that the base does not know (dataset.yaml)")
    if begun is not None:
        if learn.own_decoder == ("no" if begun.own_decoder else "yes"):
            has = "has a decoder of its own" if begun.own_decoder else "has no decoder of its own"
            raise InputError(f"start: {stage.start} {has}; leave learn.own_decoder at auto")
        if begun.own_decoder and learn.tower == "all":
            raise InputError(f"start: {stage.start} has a decoder of its own, which goes with tower: last or no")
        return begun.own_decoder
    if learn.own_decoder == "no" or learn.decoder == "no" or learn.tower == "all" or base.own_decoder:
        return False
    return bool(new) and (learn.own_decoder == "yes" or bool(labelled & new) and not labelled - new)


def find_name(base: str) -> bool:
    """Whether a base is given by name rather than as a folder."""
    return not Path(base).exists()


def start_processes(stage: AdaptStage, device_name: str):
    """accelerate's handle on this and the other processes, the device, and whether to compute in bfloat16."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    device = pick_device(device_name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    bf16 = use_bf16(stage.precision, device)
    handlers = [
        # a batch without [SEG] leaves the decoder unused; the one process that judges keeps the others waiting
        DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        InitProcessGroupKwargs(timeout=timedelta(hours=12)),
    ]
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision="bf16" if bf16 else "no", kwargs_handlers=handlers
    )
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and getattr(plugin, "fsdp_version", 1) != 2:
        raise InputError("FSDP is used in its version 2 only: set fsdp_version: 2 in accelerate's configuration")
    return accelerator, accelerator.device, bf16


def find_base(stage: AdaptStage) -> tuple[Path, tuple[Path, AdapterConfig] | None]:
    """Folder of the base, and the adapter to go on from.

    Raises:
        InputError: the base is an adapter, start is none, or start belongs to another base.
    """
    if stage.start is None:
        home = find_preset(stage.base)
        if is_adapter(home):
            raise InputError(f"base: {stage.base} is an adapter; to go on from it, set start: {stage.base}")
        return home, None
    config = AdapterConfig.read(stage.start)
    home = base_of(stage.start, config)
    if fingerprints(find_preset(stage.base)) != config.base_sha256:
        raise InputError(f"start: {stage.start} is an adapter of {config.base}, not of {stage.base}; set base to that")
    return home, (stage.start, config)


def _with(config: LisaConfig, concepts: dict[str, Any]) -> LisaConfig:
    return LisaConfig.model_validate(
        {**config.model_dump(), "concepts": {**config.model_dump()["concepts"], **concepts}}
    )


def run_settings(stage: AdaptStage, data: dict[str, str], base: dict[str, str], processes: int) -> dict[str, Any]:
    """What a run that goes on must have in common with how it began, as flat plain data."""
    settings = stage.model_dump(mode="json", exclude=set(FREE))
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{k}": v for k, v in value.items() if not (name == "schedule" and k in FREE_SCHEDULE)}
        else:
            flat[name] = value
    flat["data"] = _short(data)
    flat["base"] = _short(base)
    flat["processes"] = processes
    if isinstance(stage.validation, Path):
        flat["validation"] = "a folder"  # its content is in data
    return flat


def _short(content: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def train_model(
    stage: AdaptStage,
    home: Path,
    begun: tuple[Path, AdapterConfig] | None,
    config: LisaConfig,
    items: list[Item],
    judged: list[Item],
    data: dict[str, str],
    weights: dict[str, str],
    accelerator: Any,
    device: torch.device,
    bf16: bool,
    folder: Path,
    cache: Path,
    log: Callable[[str], None],
    apart: bool,
) -> tuple[AdaptModel, dict[str, torch.Tensor], tuple[int, list]]:
    """Build, train, and give back the model, its best weights by name, and (steps done, validation figures)."""
    schedule, learn = stage.schedule, stage.learn
    torch.manual_seed(schedule.seed)
    parts = read_parts(home)
    taught = len(CONCEPTS) + len(parts.config.concepts)
    staged = apart and (learn.tower == "last" or begun is not None and has_own_top(begun[0]))
    live = not staged and learn.tower != "no"
    lisa, tokenizer = build_model(parts, home, config, stage, torch.bfloat16 if bf16 else torch.float32, device, staged)
    if begun is not None:
        load_adapter_state(lisa, read_state(begun[0] / WEIGHTS), begun[1].lora, str(begun[0]))
    if stage.gradient_checkpointing:
        lisa.language.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    chat = ChatFormat(tokenizer)
    sides = [p.side for p in (lisa.clip_projector, lisa.sam_projector) if p is not None]
    opening = len(chat.user_ids("", first=True)[0])
    module = AdaptModel(lisa, opening, taught, exact=learn.language == "qlora").to(device)
    make = _maker(stage, chat, sum(s * s for s in sides), items, config, taught, accelerator, apart)
    key = "+".join(weights.get(p, "") for p in ("sam_tower", "clip_tower"))
    if begun is not None:
        # a tower that the adapter has changed sees otherwise
        key += "+" + _short(
            {n: str(v.double().sum()) for n, v in read_state(begun[0] / WEIGHTS).items() if "tower" in n}
        )
    lies = Views(stage.zoom, (config.least_side, config.work_side))
    key += f"+{config.work_side}+{config.least_side}+{config.clip_side}+{config.sam_side}+{bf16}+{live}+{staged}"
    key += f"+{lies.zoom}"
    store = FeatureStore(lisa, items, cache / "adapt", key, device, bf16, live, staged, lies)
    fixed, own = None, None
    if judged:
        own = FeatureStore(lisa, judged, cache / "adapt", key, device, bf16, live, staged, lies)
        fixed = _maker(stage, chat, sum(s * s for s in sides), judged, config, taught, None, apart)

    def loss_of(
        wrapped: nn.Module, batch: Any, features: FeatureStore = store
    ) -> tuple[torch.Tensor, dict[str, float]]:
        batch = features.fill(batch)
        codes = lisa.mask_head.code_book.weight.detach()
        codes = codes.full_tensor() if hasattr(codes, "full_tensor") else codes
        return adapt_loss(wrapped(batch), batch, codes, stage.loss)

    def judge(wrapped: nn.Module) -> dict[str, float]:
        total: dict[str, float] = {}
        for batch in fixed.validation(JUDGED_IMAGES):
            loss, sums = loss_of(wrapped, batch, own)
            for name, value in {"loss": float(loss), "#loss": 1, **sums}.items():
                total[name] = total.get(name, 0.0) + value
        return total

    settings = run_settings(stage, data, weights, accelerator.num_processes)
    track, close = tracker(folder, stage.tensorboard and accelerator.is_main_process)
    trainer = Trainer(
        accelerator,
        module,
        schedule,
        folder,
        Job(make, loss_of, judge if judged else None, settings),
        factors=((FAST, schedule.fast_lr), (SEEING, schedule.seeing_lr)),
        plain=("lisa.mask_head.code_book",),
        log=log,
        track=track,
    )
    count = sum(p.numel() for p in trainer.parameters.values())
    log(f"{count / 1e6:.2f} million weights learn, on {device.type}, {accelerator.num_processes} process(es)")
    try:
        values = trainer.run()
    finally:
        close()
    return module, values, (trainer.state.step, [{"step": s, **f} for s, f in trainer.state.history])


def has_own_top(adapter: Path) -> bool:
    """Whether an adapter brings a top-down path for its own concepts."""
    return bool(part_of(read_state(adapter / WEIGHTS), "own_top"))


def _maker(
    stage: AdaptStage,
    chat: ChatFormat,
    tokens: int,
    items: list[Item],
    config: LisaConfig,
    taught: int,
    parts: Any,
    apart: bool,
) -> AdaptMaker:
    schedule = stage.schedule
    return AdaptMaker(
        items,
        chat,
        tokens,
        schedule.batch_size,
        schedule.seed,
        crop=stage.crop,
        share=stage.replay.share,
        templates=stage.templates,
        views=stage.views,
        longest=stage.longest,
        vocabulary=config.vocabulary,
        own_from=taught,
        decodes=stage.loss.decodes,
        boxes=stage.loss.box > 0 and stage.learn.seeing,
        keeps=stage.learn.seeing,
        box_weight=stage.loss.box,
        # where the tower learns for all, a window takes a whole image through it
        looks=stage.looks if apart or stage.learn.tower == "no" else 0,
        apart=apart,
        lies=Views(stage.zoom, (config.least_side, config.work_side)),
        rank=0 if parts is None else parts.process_index,
        processes=1 if parts is None else parts.num_processes,
        accumulate=1 if parts is None else schedule.accumulate,
    )


def tracker(folder: Path, wanted: bool) -> tuple[Callable[[str, int, dict[str, float]], None], Callable[[], None]]:
    """Where figures go beside the log: TensorBoard, where it is wanted.

    Raises:
        InputError: it is not installed.
    """
    if not wanted:
        return (lambda *_: None), (lambda: None)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard: true needs the package tensorboard: pip install 'lisa-micro[train]'") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(part: str, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(f"{part}/{name}", value, step)

    return track, writer.close


def _load(preset: str, device_name: str):
    from lisa_micro.assistant import load_assistant

    return load_assistant(preset, device=device_name)


def before(
    folder: Path,
    preset: str,
    part: Records | None,
    cases: list[Case],
    stage: AdaptStage,
    device_name: str,
    log: Callable[[str], None],
) -> None:
    """Judge the model as it is, once a run: ``before.json`` and the masks in ``before.npz``."""
    if not (cases or stage.judge.scenes):
        return
    # what was judged: another model or other requests are judged anew
    key = _short({"preset": preset, "judge": stage.judge.model_dump_json(), "cases": str(_described(cases))})
    if (folder / "before.json").is_file():
        kept = json.loads((folder / "before.json").read_text(encoding="utf-8"))
        if kept.get("key") == key:
            return
    log(f"judging {preset} before: {len(cases)} requests, {stage.judge.scenes} scenes")
    figures, masks = evaluate(_load(preset, device_name), part, cases, stage.judge, stage.schedule.seed)
    folder.mkdir(parents=True, exist_ok=True)
    packed = {f"m{k}": np.packbits(mask) for k, mask in enumerate(masks)}
    np.savez_compressed(folder / "before.npz", **packed)
    write_json(folder / "before.json", {"key": key, **figures})
    gc.collect()


def _described(cases: list[Case]) -> list[tuple]:
    return [(c.image, c.name, c.prompt, c.concept, c.truth.shape, int((c.truth > 0).sum())) for c in cases]


def finish(
    out: Path,
    folder: Path,
    adapter: AdapterConfig,
    part: Records | None,
    cases: list[Case],
    stage: AdaptStage,
    device_name: str,
    training: dict[str, Any],
    log: Callable[[str], None],
) -> None:
    """Judge the adapter and write ``metrics.json``, ``README.md`` and ``cases.png`` into its folder."""
    metrics: dict[str, Any] = {"training": training}
    if cases or stage.judge.scenes:
        log(f"judging {out}")
        figures, masks = evaluate(_load(str(out), device_name), part, cases, stage.judge, stage.schedule.seed)
        was = json.loads((folder / "before.json").read_text(encoding="utf-8"))
        if "own" in figures and "own" in was:
            metrics |= {"before": was["own"], "after": figures["own"]}
            metrics["gain"] = figures["own"]["giou"] - was["own"]["giou"]
            with np.load(folder / "before.npz") as packed:
                former = [
                    np.unpackbits(packed[f"m{k}"], count=case.truth.size).reshape(case.truth.shape) > 0
                    for k, case in enumerate(cases)
                ]
            picture(part, cases, former, masks, out / "cases.png")
            log(f"gIoU on the validation part: {was['own']['giou']:.3f} before, {figures['own']['giou']:.3f} after")
        if "remembered" in figures and "remembered" in was:
            old, new = was["remembered"], figures["remembered"]
            lost = {n: old[n] - new[n] for n in ("giou", "exact") if n in old and n in new}
            metrics["forgetting"] = {"before": old, "after": new, "lost": lost}
            log("forgotten: " + ", ".join(f"{n} {v:+.3f}" for n, v in lost.items()))
    write_json(out / "metrics.json", metrics)
    write_text(out / "README.md", card(adapter, metrics))
