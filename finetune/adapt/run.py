"""Stage ``adapt``: a preset tuned on one's own records, kept as an adapter of a few megabytes."""

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
    fingerprint,
    learnt_replies,
    read_items,
    simulated_items,
    split_records,
    with_concepts,
)
from lisa_micro_finetune.adapt.evaluate import make_cases
from lisa_micro_finetune.adapt.export import adapter_state, card, write_adapter, write_json, write_text
from lisa_micro_finetune.adapt.model import lora_settings
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.adapt.train import Task, start_processes, train_model


def run_adapt(stage: AdaptStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Run the stage, or go on with it; the adapter is ``folder/adapter``.

    Raises:
        InputError: settings, data, base or start cannot be used; all faults of the data at once, with their lines.
    """
    if stage.data is None:
        raise InputError("stage adapt needs your records: --set data=FOLDER, with metadata.jsonl in it")
    machine = start_processes(stage, folder, cache, device_name)
    accelerator, main, log = machine.accelerator, machine.accelerator.is_main_process, machine.log
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
    evaluation = Evaluation(held_back, cases, stage.judge, seed, device_name, log)
    if main:
        evaluation.before(preset, folder)
    accelerator.wait_for_everyone()
    began = time.monotonic()
    scenes: list[Item] = []
    if stage.replay.share:
        if main:
            simulated_items(cache / "replay", stage.replay.scenes, stage.replay.seed, stage.replay.side, config)
        accelerator.wait_for_everyone()
        scenes = simulated_items(cache / "replay", stage.replay.scenes, stage.replay.seed, stage.replay.side, config)
    task = Task(stage, home, begun, config, items + scenes, judged, data, weights, apart)
    model, values, history = train_model(task, machine)
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
    state = {**task.begun_state, **state}
    out = folder / "adapter"
    del model, values
    gc.collect()
    write_adapter(out, adapter, state)
    log(f"the adapter is {out}, {(out / WEIGHTS).stat().st_size / 1e6:.1f} MB")
    training = {"steps": history[0], "seconds": round(time.monotonic() - began, 1), "validation": history[1]}
    metrics = {"training": training, **evaluation.after(out, folder)}
    write_json(out / "metrics.json", metrics)
    write_text(out / "README.md", card(adapter, metrics))
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
