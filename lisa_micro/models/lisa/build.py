"""Builds LISA models: sizes are chosen here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lisa_micro.models.checkpoints import load_strict, misfit, read_state
from lisa_micro.models.lisa.config import LisaConfig, LoraSettings
from lisa_micro.models.lisa.exemplars import ExemplarEncoder
from lisa_micro.models.lisa.mask_head import MaskHead, MaskHeadConfig
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.models.lisa.projector import ImageProjector, SegProjector
from lisa_micro.models.lisa.tokens import NewTokens, add_special_tokens
from lisa_micro.models.towers.clip import ConvClipTower
from lisa_micro.models.towers.sam import ConvSamTower, TopDown
from lisa_micro.types import InputError

PARTS = (
    "sam_tower",
    "mask_head",
    "clip_tower",
    "clip_projector",
    "sam_projector",
    "seg_projector",
    "new_tokens",
)
"""Modules of a model folder, one safetensors file each; ``lora.safetensors`` is the adapter."""
ALL_PARTS = (*PARTS, "exemplar_encoder", "concept_head", "concept_top", "own_head", "own_top")
"""With the exemplar encoder, and the mask decoder of users' concepts and what it sees through, which few models
have."""


def build_vision(config: LisaConfig) -> LisaModel:
    """SAM tower and mask decoder alone, untrained: prompts by points and boxes."""
    sizes = MaskHeadConfig(dim=config.embed_dim, depth=config.depth, concepts=len(config.code_names))
    own = MaskHead(sizes) if config.own_decoder else None
    top = TopDown(config.embed_dim) if config.own_top else None
    exemplars = ExemplarEncoder(config.embed_dim) if config.exemplars else None
    concept_head = concept_top = None
    if config.concept_decoder:
        # its class embeddings are those of the model's own mask decoder; users' concepts are not among its own
        built_in = MaskHeadConfig(dim=config.embed_dim, depth=config.depth, concepts=len(config.built_in))
        concept_head, concept_top = MaskHead(built_in), TopDown(config.embed_dim)
    tower, head = ConvSamTower(config.embed_dim), MaskHead(sizes)
    return LisaModel(
        config,
        tower,
        head,
        own_head=own,
        own_top=top,
        exemplar_encoder=exemplars,
        concept_head=concept_head,
        concept_top=concept_top,
    )


def add_lora(language: nn.Module, settings: LoraSettings) -> nn.Module:
    """Wrap a language model with a fresh LoRA adapter (peft)."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        language,
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.modules),
            bias="none",
            task_type="CAUSAL_LM",
        ),
    )


def build_lisa(config: LisaConfig, dtype: torch.dtype = torch.float32, lora: bool = True, **load_options):
    """Everything, with the base language model's weights and all else untrained.

    Args:
        dtype: precision of the language model.
        lora: wrap the language model with a fresh adapter.
        load_options: for transformers' ``from_pretrained`` (quantisation, device map).

    Returns:
        (LisaModel, tokenizer with the reply language's tokens).

    Raises:
        InputError: the base language model is not to be had.
    """
    from lisa_micro.models.lisa.base_lm import load_base, quiet

    language, tokenizer = load_base(config.base_lm, dtype, **load_options)
    first = language.get_input_embeddings().num_embeddings
    ids = add_special_tokens(tokenizer, config.special_tokens)
    first = min(first, ids[0])
    hidden = language.config.hidden_size
    new_tokens = NewTokens(len(ids), hidden, first)
    new_tokens.start_from(language.get_input_embeddings().weight.detach()[:first])
    language.requires_grad_(False)
    model = build_vision(config)
    clip = None
    if config.towers in ("both", "clip"):
        clip = ConvClipTower()
        model.clip_projector = ImageProjector(clip.width, hidden, config.clip_side)
    if config.towers in ("both", "sam"):
        model.sam_projector = ImageProjector(config.embed_dim, hidden, config.sam_side)
    model.clip_tower = clip
    with quiet():
        model.language = add_lora(language, config.lora) if lora else language
    model.new_tokens = new_tokens
    model.seg_projector = SegProjector(hidden, config.embed_dim)
    return model, tokenizer


def load_parts(model: LisaModel, folder: Path, parts: tuple[str, ...] = ALL_PARTS) -> None:
    """Load the parts that ``model`` has from ``folder``, strictly.

    Raises:
        InputError: a file is missing or does not fit.
    """
    for name in parts:
        module = getattr(model, name)
        if module is not None:
            load_strict(module, read_state(folder / f"{name}.safetensors"), name)


def merge_adapter(language: nn.Module, path: Path, settings: LoraSettings) -> None:
    """:func:`add_lora_weights` from a file.

    Raises:
        InputError: the adapter does not fit the language model.
    """
    add_lora_weights(language, read_state(path), settings, path.name)


def add_lora_weights(language: nn.Module, state: Mapping[str, Tensor], settings: LoraSettings, what: str) -> None:
    """Add a LoRA adapter, as peft saves it, to the weights of a plain language model, in place:
    W + (alpha / rank) B A, the product in float32. The same as loading it into :func:`add_lora` and merging there,
    without building 210 wrapped layers first.

    Args:
        what: what an error calls the adapter.

    Raises:
        InputError: the adapter does not fit the language model.
    """
    prefix, suffixes = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
    expected = sorted(n for n, _ in language.named_modules() if n.rsplit(".", 1)[-1] in settings.modules)
    shapes = {}
    for layer in expected:
        rows, columns = language.get_submodule(layer).weight.shape
        for suffix, shape in zip(suffixes, ((settings.rank, columns), (rows, settings.rank)), strict=True):
            shapes[prefix + layer + suffix] = shape
    differ = (name for name in shapes.keys() & state.keys() if tuple(state[name].shape) != shapes[name])
    wrong = misfit(shapes.keys() - state.keys(), state.keys() - shapes.keys(), differ)
    if wrong:
        raise InputError(f"{what} does not fit the language model: {wrong}.")
    factor = settings.alpha / settings.rank
    with torch.no_grad():
        for layer in expected:
            a, b = (state[prefix + layer + s] for s in suffixes)
            weight = language.get_submodule(layer).weight
            weight.copy_(weight.float() + factor * (b @ a).to(weight.device))
