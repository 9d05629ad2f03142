"""Run the stage ``adapt``: tune a preset on records of the user; the result is an adapter of a few megabytes."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

from lisa_micro.models.lisa.adapter import WEIGHTS, AdapterConfig, base_of, find_preset, fingerprints, is_adapter
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.before_after import Evaluation
from lisa_micro_finetune.adapt.data import (
    Item,
    count_targets,
    fingerprint,
    read_items,
    simulated_items,
    split_records,
    with_concepts,
)
from lisa_micro_finetune.adapt.evaluate import make_cases
from lisa_micro_finetune.adapt.export import adapter_state, card, write_adapter, write_json, write_text
from lisa_micro_finetune.adapt.model import lora_settings
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.adapt.train import StartAdapter, Task, start_processes, train_model


def run_adapt(stage: AdaptStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Run the stage, or resume it; the adapter is written to ``folder/adapter``.

    Raises:
        InputError: settings, data, base or start that cannot be used; all faults of the data are listed.
    """
    if stage.data is None:
        raise InputError("Stage adapt needs your records: --set data=FOLDER, where FOLDER has metadata.jsonl.")
    machine = start_processes(stage, folder, cache, device_name)
    accelerator, main, log = machine.accelerator, machine.accelerator.is_main_process, machine.log
    home, start = find_base(stage)
    base, weights = LisaConfig.read(home), fingerprints(home)
    config = with_concepts(base if start is None else _with(base, start.config.concepts), stage.data)
    train, held_out = split_records(stage.data, stage.validation)
    items = read_items(train, config)
    validation = [] if held_out is None else read_items(held_out, config)
    log(f"{len(items)} training records with {count_targets(items)} [SEG], {len(validation)} validation records")
    custom = {n: c.model_dump() for n, c in config.concepts.items() if n not in base.concepts}
    labelled = labelled_concepts(items, config.vocabulary.names)
    custom_decoder = needs_custom_decoder(stage, base, set(custom), labelled, start)
    stage = stage.model_copy(update={"learn": stage.learn.resolved(custom_decoder)})
    if custom_decoder:
        log(f"training a mask decoder for {', '.join(custom)} only; other masks stay those of {stage.base}")
    data = fingerprint(train, held_out)
    seed = stage.schedule.seed
    cases = [] if held_out is None else make_cases(held_out, config.vocabulary, stage.judge, seed)
    preset = str(home if start is None else start.folder)
    evaluation = Evaluation(held_out, cases, stage.judge, seed, device_name, log)
    if main:
        evaluation.before(preset, folder)
    accelerator.wait_for_everyone()
    began = time.monotonic()
    scenes: list[Item] = []
    if stage.replay.share:
        replay = stage.replay
        if main:
            simulated_items(cache / "replay", replay.scenes, replay.seed, replay.side, config)
        accelerator.wait_for_everyone()
        scenes = simulated_items(cache / "replay", replay.scenes, replay.seed, replay.side, config)
    task = Task(stage, home, start, config, items + scenes, validation, data, weights, custom_decoder)
    trained = train_model(task, machine)
    if not main:
        accelerator.wait_for_everyone()
        return
    adapter = AdapterConfig(
        name=stage.name,
        base=stage.base if is_name(stage.base) else str(home.resolve()),
        base_sha256=weights,
        lora=lora_settings(stage.lora, base) if stage.learn.language != "no" else start and start.config.lora,
        concepts=custom,
        own_decoder=custom_decoder,
        data=data,
        trained={"learn": stage.learn.model_dump(), "images": len(items), "settings": stage.model_dump(mode="json")},
    )
    state = {**task.start_state, **adapter_state(trained.module.lisa, trained.values)}
    training = {
        "steps": trained.steps,
        "seconds": round(time.monotonic() - began, 1),
        "validation": trained.history,
    }
    out = folder / "adapter"
    del trained
    gc.collect()
    write_adapter(out, adapter, state)
    log(f"wrote the adapter {out}, {(out / WEIGHTS).stat().st_size / 1e6:.1f} MB")
    metrics = {"training": training, **evaluation.after(out, folder)}
    write_json(out / "metrics.json", metrics)
    write_text(out / "README.md", card(adapter, metrics))
    accelerator.wait_for_everyone()


def labelled_concepts(items: list[Item], names: tuple[str, ...]) -> set[str]:
    """Concepts that the records have masks of; ``""`` for a mask that is no whole concept, such as some particles."""
    labelled = {name for item in items for name in item.labels if name in names}
    goals = [goal for item in items for turn in item.turns for goal in turn.goals if goal.key is not None]
    return labelled | {names[goal.concept] if goal.concept >= 0 else "" for goal in goals}


def needs_custom_decoder(
    stage: AdaptStage, base: LisaConfig, new: set[str], labelled: set[str], start: StartAdapter | None = None
) -> bool:
    """Whether a copy of the mask decoder is trained for custom classes alone.

    Args:
        stage: settings.
        base: configuration of the base.
        new: concepts that the base does not know.
        labelled: see :func:`labelled_concepts`.
        start: the adapter from which training continues; it decides.

    Raises:
        InputError: ``own_decoder: yes`` without a new concept; records of a concept whose decoder is part of the base;
            or settings that contradict the adapter from which training continues.
    """
    learn = stage.learn
    frozen = sorted(labelled & set(base.own_decoder))
    if frozen and learn.decoder != "no":
        raise InputError(
            f"{stage.base} has a separate mask decoder for {', '.join(frozen)}, which cannot be trained further; "
            "continue from the adapter that was merged into it (start), or set learn.decoder: no."
        )
    if learn.own_decoder == "yes" and not new:
        raise InputError("learn.own_decoder: yes needs a concept that the base does not know (dataset.yaml).")
    if start is not None:
        has = start.config.own_decoder
        if learn.own_decoder == ("no" if has else "yes"):
            what = "has a separate mask decoder" if has else "has no separate mask decoder"
            raise InputError(f"start: {stage.start} {what}; leave learn.own_decoder at auto.")
        if has and learn.tower == "all":
            raise InputError(f"start: {stage.start} has a separate mask decoder, which needs tower: last or no.")
        return has
    if learn.own_decoder == "no" or learn.decoder == "no" or learn.tower == "all" or base.own_decoder:
        return False
    return bool(new) and (learn.own_decoder == "yes" or bool(labelled & new) and not labelled - new)


def is_name(base: str) -> bool:
    """Whether a base is given by its name and not as a folder."""
    return not Path(base).exists()


def find_base(stage: AdaptStage) -> tuple[Path, StartAdapter | None]:
    """Find the folder of the base, and the adapter from which training continues.

    Raises:
        InputError: the base is an adapter, start is not one, or start belongs to another base.
    """
    if stage.start is None:
        home = find_preset(stage.base)
        if is_adapter(home):
            raise InputError(f"base: {stage.base} is an adapter; to continue from it, set start: {stage.base}.")
        return home, None
    config = AdapterConfig.read(stage.start)
    home = base_of(stage.start, config)
    if fingerprints(find_preset(stage.base)) != config.base_sha256:
        raise InputError(
            f"start: {stage.start} is an adapter of {config.base}, not of {stage.base}; set base: {config.base}."
        )
    return home, StartAdapter(stage.start, config)


def _with(config: LisaConfig, concepts: dict[str, Any]) -> LisaConfig:
    return LisaConfig.model_validate(
        {**config.model_dump(), "concepts": {**config.model_dump()["concepts"], **concepts}}
    )
