"""Write an adapter: trained weights, configuration and model card."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.models.checkpoints import misfit, save_module
from lisa_micro.models.lisa.adapter import WEIGHTS, AdapterConfig, part_of, readable
from lisa_micro.models.lisa.build import add_lora_weights
from lisa_micro.models.lisa.config import LoraSettings
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError

PREFIX = "lisa."


def adapter_state(model: LisaModel, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename trained weights from their names in training to their names in the adapter's file."""
    language = PREFIX + "language."
    lora = {n[len(language) :]: v for n, v in values.items() if n.startswith(language)}
    state = {n[len(PREFIX) :]: v for n, v in values.items() if not n.startswith(language)}
    if lora:
        from peft import get_peft_model_state_dict

        lora = get_peft_model_state_dict(model.language, state_dict=lora)
        state |= {f"lora.{name}": value for name, value in lora.items()}
    return state


def load_adapter_state(model: LisaModel, state: dict[str, Tensor], settings: LoraSettings | None, what: str) -> None:
    """Load an adapter into a model that is built for training.

    Its LoRA is loaded into the LoRA to train, or merged into the language model if that is frozen.

    Args:
        model: the model.
        state: tensors of the adapter.
        settings: settings of the adapter's LoRA.
        what: name of the adapter in messages.

    Raises:
        InputError: the adapter does not match, for example because of another rank.
    """
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    lora = part_of(state, "lora")
    if lora and settings is not None and not isinstance(model.language, PeftModel):
        add_lora_weights(model.language, lora, settings, what)
    elif lora:
        expected = get_peft_model_state_dict(model.language)
        shapes = (n for n in expected.keys() & lora.keys() if expected[n].shape != lora[n].shape)
        wrong = misfit(expected.keys() - lora.keys(), lora.keys() - expected.keys(), shapes)
        if wrong:
            raise InputError(f"start: {what} does not match the LoRA of this run ({wrong}); set lora.rank to its rank.")
        set_peft_model_state_dict(model.language, lora)
    parameters = dict(model.named_parameters())
    for name, value in state.items():
        if name.startswith("lora."):
            continue
        if name not in parameters or parameters[name].shape[1:] != value.shape[1:]:
            raise InputError(f"start: {what} has {name}, which does not match the base.")
        # the table of class embeddings may have new rows, which stay as they are
        parameters[name].data[: len(value)] = value if value.ndim else value.reshape(())


def write_adapter(folder: Path, config: AdapterConfig, state: dict[str, Tensor]) -> None:
    """Write an adapter folder (float16); an existing one is replaced when all files are complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=folder.parent))
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
    """Write a text file atomically."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2))


def card(config: AdapterConfig, metrics: dict[str, Any]) -> str:
    """Compose the model card of an adapter, ``README.md``."""
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
        f"An adapter for the preset `{config.base}` of LISA-micro, trained on {config.trained.get('images', 0)} "
        "images. Use it in place of a preset:",
        "",
        "```console",
        '$ lisa-micro segment IMAGE "all particles" --preset FOLDER --out out',
        "$ lisa-micro merge FOLDER --out full-preset",
        "```",
        "",
        f"Trained parts: {parts}. Steps: {metrics.get('training', {}).get('steps')}.",
        "",
    ]
    if config.concepts:
        lines += ["Custom classes: " + ", ".join(config.concepts) + ".", ""]
    if "after" in metrics:
        lines += ["## Validation images", "", "| metric | before | after |", "|---|---|---|"]
        names = (
            ("giou", "gIoU by words"),
            ("ciou", "cIoU by words"),
            ("box_giou", "gIoU by true boxes"),
            ("requests", "requests"),
        )
        lines += [f"| {text} | {_number(metrics['before'], n)} | {_number(metrics['after'], n)} |" for n, text in names]
        lines.append("")
    forgetting = metrics.get("forgetting")
    if forgetting:
        lines += ["## Forgetting", "", "| metric | before | after |", "|---|---|---|"]
        for name, text in (("giou", "gIoU on simulated scenes"), ("exact", "held-out requests with an exact reply")):
            if name in forgetting["before"]:
                lines.append(
                    f"| {text} | {_number(forgetting['before'], name)} | {_number(forgetting['after'], name)} |"
                )
        lines.append("")
    lines += [
        "`metrics.json` has all metrics, by wording and by image. `config.json` lists the SHA-256 of the base's "
        "weights and of every training file.",
        "",
    ]
    return "\n".join(lines)


def _number(metrics: dict[str, Any], name: str) -> str:
    value = metrics.get(name)
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
