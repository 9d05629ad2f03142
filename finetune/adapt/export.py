"""The adapter folder: what learnt, what it belongs to, and a card that says both."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from lisa_micro.models.checkpoints import misfit, save_module
from lisa_micro.models.lisa.adapter import WEIGHTS, AdapterConfig, part_of, readable
from lisa_micro.models.lisa.build import add_lora_weights
from lisa_micro.models.lisa.config import LoraSettings
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError

PREFIX = "lisa."


def adapter_state(model: LisaModel, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Learnt values by their names in training -> by their names in an adapter's file."""
    language = PREFIX + "language."
    lora = {n[len(language) :]: v for n, v in values.items() if n.startswith(language)}
    state = {n[len(PREFIX) :]: v for n, v in values.items() if not n.startswith(language)}
    if lora:
        from peft import get_peft_model_state_dict

        lora = get_peft_model_state_dict(model.language, state_dict=lora)
        state |= {f"lora.{name}": value for name, value in lora.items()}
    return state


def load_adapter_state(model: LisaModel, state: dict[str, Tensor], settings: LoraSettings | None, what: str) -> None:
    """Go on from an adapter: its values into a model that is built for training. Its LoRA goes into the one that
    learns, or, where the language model is not to learn, into its weights.

    Args:
        settings: of the adapter's LoRA. what: what an error calls the adapter.

    Raises:
        InputError: it does not fit; another rank, say.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    lora = part_of(state, "lora")
    if lora and settings is not None and not hasattr(model.language, "peft_config"):
        add_lora_weights(model.language, lora, settings, what)
    elif lora:
        own = get_peft_model_state_dict(model.language)
        shapes = (n for n in own.keys() & lora.keys() if own[n].shape != lora[n].shape)
        wrong = misfit(own.keys() - lora.keys(), lora.keys() - own.keys(), shapes)
        if wrong:
            raise InputError(f"start: {what} does not fit the LoRA of this run ({wrong}); set lora.rank to its own")
        set_peft_model_state_dict(model.language, lora)
    parameters = dict(model.named_parameters())
    for name, value in state.items():
        if name.startswith("lora."):
            continue
        if name not in parameters or parameters[name].shape[1:] != value.shape[1:]:
            raise InputError(f"start: {what} has {name}, which does not fit the base")
        # a code book that has grown since keeps its new rows
        parameters[name].data[: len(value)] = value if value.ndim else value.reshape(())


def write_adapter(folder: Path, config: AdapterConfig, state: dict[str, Tensor]) -> None:
    """Write an adapter folder (float16), in the place of one that was there only when all is written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_module(state, scratch / WEIGHTS)
        (scratch / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
        readable(scratch)
        old = folder.with_name(f".{folder.name}-old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(scratch, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, renamed into its place."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, renamed into its place."""
    write_text(path, json.dumps(content, indent=2))


def card(config: AdapterConfig, metrics: dict[str, Any]) -> str:
    """The adapter's model card, README.md."""
    parts = ", ".join(f"{k}: {v}" for k, v in config.trained.get("learn", {}).items())
    lines = [
        "---",
        "library_name: lisa-micro",
        f"base_model: {config.base}",
        "tags: [microscopy, segmentation, lisa-micro, adapter]",
        "---",
        "",
        f"# {config.name}",
        "",
        f"An adapter for the preset `{config.base}` of LISA-micro, tuned on {config.trained.get('images', 0)} images "
        "of one's own. Use it wherever a preset is named:",
        "",
        "```console",
        '$ lisa-micro segment IMAGE "all particles" --preset FOLDER --out out',
        "$ lisa-micro merge FOLDER --out full-preset",
        "```",
        "",
        f"What learnt: {parts}. Steps: {metrics.get('training', {}).get('steps')}.",
        "",
    ]
    if config.concepts:
        lines += ["Concepts of its own: " + ", ".join(config.concepts) + ".", ""]
    if "after" in metrics:
        lines += ["## On the validation part", "", "| figure | before | after |", "|---|---|---|"]
        names = (
            ("giou", "gIoU by words"),
            ("ciou", "cIoU by words"),
            ("box_giou", "gIoU by boxes, the upper bound"),
            ("requests", "requests"),
        )
        lines += [f"| {text} | {_number(metrics['before'], n)} | {_number(metrics['after'], n)} |" for n, text in names]
        lines.append("")
    kept = metrics.get("forgetting")
    if kept:
        lines += ["## What the base knew", "", "| figure | before | after |", "|---|---|---|"]
        for name, text in (("giou", "gIoU on simulated scenes"), ("exact", "held-back requests read exactly")):
            if name in kept["before"]:
                lines.append(f"| {text} | {_number(kept['before'], name)} | {_number(kept['after'], name)} |")
        lines.append("")
    lines += [
        "`metrics.json` has all figures, by wording and by image. `config.json` names the base's weights and every "
        "file learnt from by their sha256.",
        "",
    ]
    return "\n".join(lines)


def _number(figures: dict[str, Any], name: str) -> str:
    value = figures.get(name)
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
