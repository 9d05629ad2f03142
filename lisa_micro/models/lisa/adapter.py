"""Adapters: what was learnt on one's own records, a few megabytes that are laid over a preset.

An adapter folder holds ``config.json`` (:class:`AdapterConfig`) and ``adapter.safetensors``. The names in the latter
say where a tensor belongs: ``lora.`` and a name of peft's for the language model, ``mask_head.``, ``seg_projector.``
and so on for the other parts; a part may be there in part. The base preset is named, and held to by the sha256 of its
files: an adapter on other weights would give masks that look right and are not.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.models.checkpoints import load_strict, misfit, read_state, save_module, sha256
from lisa_micro.models.hub import fetch, is_hub_name
from lisa_micro.models.lisa.build import ALL_PARTS, add_lora_weights, build_lisa
from lisa_micro.models.lisa.config import LisaConfig, LoraSettings, read_config
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError

KIND = "lisa-micro-adapter"
WEIGHTS = "adapter.safetensors"
CODES = "code_book.weight"


class AdapterConfig(BaseModel):
    """What an adapter's ``config.json`` holds.

    Attributes:
        name: what to call it. base: the preset it is laid over: a name, a folder, or a name on the hub.
        base_sha256: of the base's weights, by part (``"lora"``, ``"mask_head"`` ...).
        lora: the adapter of the language model; ``None`` where it did not learn.
        concepts: concepts of its own, beside the base's. own_decoder: whether its mask decoder, and its top-down path
            where it brings one, are for these alone, and all others are outlined by the base's. presence_threshold: of
            concepts where it differs.
        data: fingerprint of what it learnt from: file -> sha256.
        trained: settings and figures of the run, for the record.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["lisa-micro-adapter"] = KIND
    name: str = "adapter"
    base: str = "micro"
    base_sha256: dict[str, str]
    lora: LoraSettings | None = None
    concepts: dict[str, Any] = {}
    own_decoder: bool = False
    presence_threshold: dict[str, float] = {}
    data: dict[str, str] = {}
    trained: dict[str, Any] = {}

    @classmethod
    def read(cls, folder: Path) -> AdapterConfig:
        """From ``folder/config.json``.

        Raises:
            InputError: missing or invalid.
        """
        return read_config(cls, folder / "config.json", "an adapter", " is not that of an adapter")


class Parts(NamedTuple):
    """All weights of a preset, adapted or not, and what they make up.

    config: of the whole. states: tensors by part, float32. lora: the language model's, ``None`` without one. files:
    what was read, in order, for the fingerprint.
    """

    config: LisaConfig
    states: dict[str, dict[str, Tensor]]
    lora: dict[str, Tensor] | None
    files: list[Path]


def is_adapter(folder: Path) -> bool:
    """Whether ``folder/config.json`` says that it is an adapter."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def weights_folder(preset: str) -> Path | None:
    """Folder of a preset that is shipped, or the folder that ``preset`` names; ``None`` where it is neither."""
    shipped = Path(__file__).resolve().parents[2] / "weights" / preset
    for folder in (shipped, Path(preset)):
        if (folder / "config.json").is_file():
            return folder
    return None


def find_preset(preset: str) -> Path:
    """The same, or fetched where it is a name on the hub.

    Raises:
        InputError: none of these.
    """
    folder = weights_folder(preset)
    if folder is None and is_hub_name(preset) and not Path(preset).exists():
        folder = fetch(preset)
    if folder is None:
        raise InputError(f"no preset or model folder called {preset!r}; the shipped preset is 'micro'")
    return folder


def fingerprints(folder: Path) -> dict[str, str]:
    """sha256 of each file with weights of a preset's folder, by part."""
    files = {name: folder / f"{name}.safetensors" for name in (*ALL_PARTS, "lora")}
    return {name: sha256(path) for name, path in files.items() if path.is_file()}


def base_of(folder: Path, config: AdapterConfig) -> Path:
    """Folder of the preset that an adapter is laid over.

    Raises:
        InputError: it is not to be had, or its weights are not those that the adapter was trained on.
    """
    try:
        # a base given as a folder may lie beside the adapter
        beside = folder / config.base
        home = beside if (beside / "config.json").is_file() else find_preset(config.base)
    except InputError as error:
        raise InputError(f"the adapter {folder} needs its base {config.base!r}: {error}") from error
    found = fingerprints(home)
    changed = sorted(n for n in found.keys() | config.base_sha256.keys() if found.get(n) != config.base_sha256.get(n))
    if changed:
        raise InputError(
            f"the adapter {folder} was trained on other weights of {config.base!r} ({', '.join(changed)} differ); "
            "use the version of the preset that it was trained on, or tune it again"
        )
    return home


def stack_lora(
    one: Mapping[str, Tensor] | None, first: LoraSettings, two: Mapping[str, Tensor] | None, second: LoraSettings | None
) -> tuple[dict[str, Tensor] | None, LoraSettings]:
    """Two LoRA adapters, one on top of the other, as one: W + s1 B1 A1 + s2 B2 A2 = W + s [s1/s B1, s2/s B2] [A1; A2].

    The rank is the sum of both, the scale s that of the first where alpha stays a whole number, else 1.

    Raises:
        InputError: they are for different layers.
    """
    if two is None or second is None:
        return (None if one is None else dict(one)), first
    if one is None:
        return dict(two), second
    if one.keys() != two.keys() or set(first.modules) != set(second.modules):
        wrong = misfit(one.keys() - two.keys(), two.keys() - one.keys(), ())
        raise InputError(f"the adapter's LoRA is for other layers than its base's: {wrong or 'modules differ'}")
    rank = first.rank + second.rank
    scales = first.alpha / first.rank, second.alpha / second.rank
    whole = scales[0] * rank
    scale = scales[0] if whole == int(whole) else 1.0
    stacked = {}
    for name in one:
        if name.endswith(".lora_A.weight"):
            stacked[name] = torch.cat([one[name].float(), two[name].float()], 0)
        else:
            stacked[name] = torch.cat(
                [one[name].float() * (scales[0] / scale), two[name].float() * (scales[1] / scale)], 1
            )
    return stacked, first.model_copy(update={"rank": rank, "alpha": int(scale * rank), "dropout": second.dropout})


def overlaid(base: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str, more: int = 0) -> dict[str, Tensor]:
    """A part's tensors with those that the adapter brings in their places.

    Args:
        more: concepts that the adapter brings; its code book has so many rows more.

    Raises:
        InputError: the adapter has tensors that the part has not, or in another shape.
    """

    def shape(name: str) -> tuple[int, ...]:
        rows, *others = base[name].shape or (0,)
        return (rows + more, *others) if name == CODES else tuple(base[name].shape)

    shapes = (name for name in own.keys() & base.keys() if tuple(own[name].shape) != shape(name))
    wrong = misfit((), own.keys() - base.keys(), shapes)
    if wrong:
        raise InputError(f"the adapter does not fit {what}: {wrong}")
    return {**base, **own}


def read_parts(folder: Path) -> Parts:
    """The weights of a preset's folder, or of an adapter's with its base.

    Raises:
        InputError: something is missing or does not fit.
    """
    adapter = AdapterConfig.read(folder) if is_adapter(folder) else None
    home = folder if adapter is None else base_of(folder, adapter)
    if is_adapter(home):
        raise InputError(
            f"{home} is an adapter, which cannot be the base of another; merge it first (lisa-micro merge)"
        )
    config = LisaConfig.read(home)
    files = [home / f"{name}.safetensors" for name in (*ALL_PARTS, "lora")]
    files = [path for path in files if path.is_file()]
    states = {path.stem: read_state(path) for path in files}
    lora = states.pop("lora", None)
    if adapter is None:
        return Parts(config, states, lora, files)
    own = read_state(folder / WEIGHTS)
    top = part_of(own, "own_top") if adapter.own_decoder else {}
    known = (*states, "lora", *(["own_top"] if top else []))
    unknown = sorted(name for name in own if name.split(".")[0] not in known)
    if unknown:
        raise InputError(f"{folder / WEIGHTS} has tensors of no part of the base: {', '.join(unknown[:4])}")
    if adapter.own_decoder:
        if "own_head" in states:
            raise InputError(f"the adapter {folder} has a mask decoder of its own, and so has its base: merge neither")
        # the base's decoder stays as it is; it gets the new codes alone, by which a concept is known
        head = part_of(own, "mask_head")
        states["own_head"] = overlaid(states["mask_head"], head, "mask_head", len(adapter.concepts))
        if top:
            states["own_top"] = top
        own = {n: v for n, v in own.items() if not n.startswith("mask_head.") or n == f"mask_head.{CODES}"}
    if "own_head" in states and adapter.concepts and not adapter.own_decoder:
        # its codes are the other decoder's
        states["own_head"] = {**states["own_head"], CODES: own[f"mask_head.{CODES}"]}
    for part in states:
        if part not in ("own_head", "own_top"):
            states[part] = overlaid(states[part], part_of(own, part), part, len(adapter.concepts))
    lora, settings = stack_lora(lora, config.lora, part_of(own, "lora") or None, adapter.lora)
    changes: dict[str, Any] = {
        "name": adapter.name,
        "lora": settings,
        "presence_threshold": {**config.presence_threshold, **adapter.presence_threshold},
    }
    if adapter.concepts:
        changes["concepts"] = {**config.concepts, **adapter.concepts}
    if adapter.own_decoder:
        changes |= {"own_decoder": tuple(adapter.concepts), "own_top": bool(top)}
    # checked anew: what comes from the adapter's file was not written by this program alone
    config = LisaConfig.model_validate({**config.model_dump(), **changes})
    return Parts(config, states, lora, [*files, folder / WEIGHTS])


def part_of(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, without its prefix."""
    prefix = part + "."
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def load_folder(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[LisaModel, Any, list[Path]]:
    """The model of a folder, adapter or full preset, its language model merged; its tokenizer; the files read.

    Args:
        dtype: precision of the language model. options: see :func:`lisa_micro.models.lisa.build.build_lisa`.

    Raises:
        InputError: see :func:`read_parts`; or the language model is not to be had.
    """
    parts = read_parts(folder)
    model, tokenizer = build_lisa(parts.config, dtype, lora=False, **options)
    load_states(model, parts, folder)
    if parts.lora is None:
        raise InputError(f"no weights at {folder / 'lora.safetensors'}")
    add_lora_weights(model.language, parts.lora, parts.config.lora, str(folder))
    return model, tokenizer, parts.files


def load_states(model: LisaModel, parts: Parts, folder: Path, names: tuple[str, ...] = ALL_PARTS) -> None:
    """Load the parts that ``model`` has, strictly.

    Raises:
        InputError: a part is missing or does not fit.
    """
    for name in names:
        module = getattr(model, name)
        if module is None:
            continue
        if name not in parts.states:
            raise InputError(f"no weights at {folder / f'{name}.safetensors'}")
        load_strict(module, parts.states[name], name)


def merge(folder: Path, out: Path) -> list[Path]:
    """A full preset's folder that answers as the adapter does on its base. Nothing is left behind where it fails.

    Args:
        folder: the adapter. out: a folder that is not there yet, or empty.

    Returns:
        the files written.

    Raises:
        InputError: not an adapter, its base does not match, or ``out`` holds something.
    """
    if not is_adapter(folder):
        raise InputError(f"{folder} is not an adapter folder (its config.json has no kind {KIND!r})")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something already; give another folder")
    adapter, parts = AdapterConfig.read(folder), read_parts(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out.parent)
    scratch = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=out.parent))
    try:
        for name, state in parts.states.items():
            save_module(state, scratch / f"{name}.safetensors")
        if parts.lora is not None:
            save_module(parts.lora, scratch / "lora.safetensors", _smallest(parts.lora))
        record = {"base": adapter.base, "data": adapter.data, **adapter.trained}
        config = parts.config.model_copy(update={"trained": record})
        (scratch / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
        for name in ("README.md", "metrics.json"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, scratch / name)
        readable(scratch)
        if out.exists():
            out.rmdir()
        os.replace(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return sorted(out.iterdir())


def readable(folder: Path) -> None:
    """Let others read a folder and its files: ``mkdtemp`` and safetensors keep them to their owner."""
    os.chmod(folder, 0o755)
    for path in folder.iterdir():
        os.chmod(path, 0o644)


def _smallest(state: Mapping[str, Tensor]) -> torch.dtype:
    """float16 where it holds the tensors exactly, else float32."""
    exact = all(torch.equal(value, value.half().float()) for value in state.values())
    return torch.float16 if exact else torch.float32
