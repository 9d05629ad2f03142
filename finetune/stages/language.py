"""Stage 3: the language model (LoRA), the new tokens and the projectors."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError
from lisa_micro_finetune.data.conversations import IGNORE, LanguageBatch
from lisa_micro_finetune.losses import OTHERS, prompt_terms

FROZEN = ("sam_tower", "clip_tower", "mask_head")


def freeze(model: LisaModel) -> None:
    """The towers and the mask decoder keep what they learnt; the base language model learns through its
    adapter only."""
    for name in FROZEN:
        module = getattr(model, name)
        if module is not None:
            module.requires_grad_(False)


def pooler(model: LisaModel, bf16: bool):
    """image ``(1, 1, H, W)`` -> pooled features of both towers, as
    :func:`lisa_micro_finetune.data.conversations.pooled_features` wants them."""
    if model.clip_projector is None or model.sam_projector is None:

        def missing(_: Tensor) -> tuple[Tensor, Tensor]:
            raise InputError("pooled features of both towers are not in the cache: run a stage with towers: both first")

        return missing

    @torch.no_grad()
    def pool(image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            sam, clip, _ = model.see(image)
        return model.clip_projector.pool(clip)[0], model.sam_projector.pool(sam.embedding)[0]

    return pool


def image_slots(embeddings: Tensor, tokens: Tensor, start: int) -> Tensor:
    """Put image tokens ``(B, K, h)`` at positions ``start ... start + K - 1`` of ``(B, T, h)``."""
    end = start + tokens.shape[1]
    return torch.cat([embeddings[:, :start], tokens.to(embeddings.dtype), embeddings[:, end:]], 1)


def make_step(
    model: LisaModel, features: dict, image_start: int, prompt_weight: float, device: torch.device, bf16: bool
):
    """The function that the loop calls with each batch: cross-entropy of the reply, plus how far the projected state
    of each [SEG] lies from the prompt embedding of its concept."""
    codes = model.mask_head.code_book.weight.detach().to(device)

    def step(batch: LanguageBatch) -> tuple[Tensor, dict[str, float]]:
        ids, labels = batch.ids.to(device), batch.labels.to(device)
        rows = batch.image
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            tokens = model.image_tokens(
                features["clip"][rows].to(device).float(),
                features["sam"][rows].to(device).float(),
                pooled=True,
            )
            states = model.states(image_slots(model.embed(ids), tokens, image_start), use_cache=False)
            wanted = labels != IGNORE
            logits = model.logits(states[wanted])
            prompts = None
            if len(batch.seg):
                seg = batch.seg.to(device)
                shift = 0 if model.config.seg_state == "at" else 1
                prompts = model.seg_projector(states[seg[:, 0], seg[:, 1] - shift])
        truth = labels[wanted]
        language = F.cross_entropy(logits.float(), truth)
        figures = {"words": float(language.detach())}
        with torch.no_grad():
            figures["token"] = float((logits.argmax(-1) == truth).float().mean())
        loss = language
        if prompts is not None:
            concept = batch.concept.to(device)
            far, others, nearest = prompt_terms(prompts.float(), concept, codes)
            loss = loss + prompt_weight * (far + OTHERS * others).mean()
            figures["far"] = float(far.detach().mean())
            figures["concept"] = float(nearest.float().mean())
        return loss, figures

    return step


def trained_parts(config: LisaConfig) -> tuple[str, ...]:
    """Modules beside the adapter that this stage trains."""
    clip = ("clip_projector",) if config.towers in ("both", "clip") else ()
    sam = ("sam_projector",) if config.towers in ("both", "sam") else ()
    return (*clip, *sam, "seg_projector", "new_tokens")


def load_adapter(language: torch.nn.Module, path: Path) -> None:
    """Go on from an adapter: put it into a language model that is wrapped for training.

    Raises:
        InputError: it does not fit.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = read_state(path)
    wrong = sorted(get_peft_model_state_dict(language).keys() ^ state.keys())
    if wrong:
        raise InputError(f"{path} does not fit the language model: {len(wrong)} keys differ ({wrong[0]}, ...)")
    set_peft_model_state_dict(language, state)


def export(model: LisaModel, values: dict[str, Tensor], folder: Path, start: Path) -> None:
    """A whole model folder: what was trained here (float16), the towers and the decoder from ``start``, and
    ``config.json``."""
    from peft import get_peft_model_state_dict

    from lisa_micro.models.checkpoints import save_module

    folder.mkdir(parents=True, exist_ok=True)
    for part in trained_parts(model.config):
        prefix = part + "."
        save_module(
            {n[len(prefix) :]: v for n, v in values.items() if n.startswith(prefix)},
            folder / f"{part}.safetensors",
        )
    prefix = "language."
    adapter = {n[len(prefix) :]: v for n, v in values.items() if n.startswith(prefix)}
    save_module(get_peft_model_state_dict(model.language, state_dict=adapter), folder / "lora.safetensors")
    for part in FROZEN:
        source = start / f"{part}.safetensors"
        if source.is_file() and source.resolve() != (folder / source.name).resolve():
            shutil.copyfile(source, folder / source.name)
    (folder / "config.json").write_text(model.config.model_dump_json(indent=2))


def source_weights(kinds: list[str]) -> np.ndarray:
    """Real images are seen more often than simulated ones."""
    return np.array([{"emps": 3.0, "tem": 4.0, "sim": 1.0}[k] for k in kinds])
