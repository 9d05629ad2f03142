"""The model as the stage ``adapt`` trains it: parts frozen and freed, one forward pass for words and masks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from finetune.adapt_batches import AdaptBatch
from finetune.adapt_config import AdaptStage, Learn, Lora
from finetune.adapt_views import Window
from finetune.language import image_slots
from finetune.language_data import IGNORE
from lisa_micro.models.lisa.adapter import Parts, load_states
from lisa_micro.models.lisa.base_lm import quiet
from lisa_micro.models.lisa.build import add_lora, add_lora_weights, build_lisa
from lisa_micro.models.lisa.config import LisaConfig, LoraSettings
from lisa_micro.models.lisa.mask_head import MaskOutputs, box_areas
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.models.towers.sam import SamFeatures, TopDown
from lisa_micro.types import CONCEPTS, InputError

HEADS = ("output_hypernetworks_mlps", "iou_prediction_head", "iou_token", "mask_tokens", "refine_")
"""Of the mask decoder, what learns with ``decoder: heads``."""
FAST = (
    "lisa.clip_projector.",
    "lisa.sam_projector.",
    "lisa.seg_projector.",
    "lisa.new_tokens.",
    "lisa.mask_head.code_book",
)
SEEING = ("lisa.mask_head.", "lisa.sam_tower.", "lisa.own_top.")


class AdaptOutputs(NamedTuple):
    """logits ``(W, V)`` of the tokens to learn, truth ``(W,)``; prompts ``(S, D)`` of the [SEG]; masks: one entry a
    look."""

    logits: Tensor
    truth: Tensor
    prompts: Tensor
    masks: list[MaskOutputs]


class AdaptModel(nn.Module):
    """A :class:`LisaModel` with one forward pass for all that is learnt in a step, as wrappers for several processes
    need it.

    Args:
        opening: ids before the image tokens. old_codes: of the base, which stay. exact: run projections and decoder in
            float32 whatever surrounds them.
    """

    def __init__(self, lisa: LisaModel, opening: int, old_codes: int = len(CONCEPTS), exact: bool = False):
        super().__init__()
        self.lisa, self.opening, self.old_codes, self.exact = lisa, opening, old_codes, exact

    def forward(self, batch: AdaptBatch) -> AdaptOutputs:
        """Device of the batch: that of the model."""
        lisa = self.lisa
        sam, whole = batch.sam, {}
        if batch.images:
            whole = {k: lisa.see_detail(image)[0] for k, image in enumerate(batch.images)}
            if lisa.sam_projector is not None:
                sam = torch.cat([lisa.sam_projector.pool(whole[k].embedding) for k in range(len(batch.images))])
        device = batch.ids.device.type
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not self.exact):
            tokens = lisa.image_tokens(batch.clip, sam, pooled=True)
        states = lisa.states(image_slots(lisa.embed(batch.ids), tokens, self.opening), use_cache=False)
        wanted = batch.labels != IGNORE
        logits = lisa.logits(states[wanted])
        shift = 0 if lisa.config.seg_state == "at" else 1
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not self.exact):
            prompts = lisa.seg_projector(states[batch.seg[:, 0], batch.seg[:, 1] - shift])
            masks = [self.outline(look, prompts, whole.get(look.row)) for look in batch.looks]
        return AdaptOutputs(logits, batch.labels[wanted], prompts, masks)

    def outline(self, look, prompts: Tensor, whole: SamFeatures | None) -> MaskOutputs:
        """Outputs of one look: words, codes, boxes in this order."""
        head = self.lisa.mask_head
        if whole is not None:
            features = cut(whole, look.window)
        else:
            features = look.features if self.lisa.own_top is None else self.lisa.own_top(look.features)
        origin = (look.window.x0, look.window.y0)
        codes = head.code_book(look.codes).to(prompts.dtype)
        # the table learns as a whole or not at all; of what the base knows, nothing is to reach it
        codes = torch.where((look.codes < self.old_codes)[:, None], codes.detach(), codes)
        words = torch.cat([prompts[look.seg], codes]).unsqueeze(1)
        parts = []
        if len(words):
            parts.append(head(features, words, origin))
        if len(look.boxes):
            areas = box_areas(look.boxes, *features.embedding.shape[-2:], origin)
            parts.append(head(features, head.box_tokens(look.boxes), origin, areas))
        return parts[0] if len(parts) == 1 else MaskOutputs(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def cut(features: SamFeatures, window: Window) -> SamFeatures:
    """A window of the features of one image."""

    def part(maps: Tensor, scale: int) -> Tensor:
        x, y, w, h = (scale * v for v in (window.x0, window.y0, window.w, window.h))
        return maps[..., y : y + h, x : x + w]

    # coarse to fine: strides 8, 4, 2 are 2, 4, 8 times as fine as the embedding
    return SamFeatures(part(features.embedding, 1), tuple(part(s, 2 << k) for k, s in enumerate(features.skips)))


def build_model(
    parts: Parts,
    folder: Path,
    config: LisaConfig,
    stage: AdaptStage,
    dtype: torch.dtype,
    device: torch.device,
    own_top: bool = False,
) -> tuple[LisaModel, object]:
    """The base with what it has learnt merged, new concepts added to its code book, in 4 bits where asked for, and a
    fresh LoRA adapter on top; only what ``stage.learn`` names requires gradients.

    Args:
        parts: of the base. folder: of the base, for messages. config: the base's, with the new concepts. own_top: these
            get a copy of the SAM tower's top-down path.

    Raises:
        InputError: parts do not fit.
    """
    # torch's fused attention has a slow backward pass on CPU for short sequences
    attention = {"attn_implementation": "eager"} if device.type == "cpu" else {}
    model, tokenizer = build_lisa(config, dtype, lora=False, **attention)
    load_states(model, with_new_codes(parts, model), folder)
    if parts.lora is not None:
        add_lora_weights(model.language, parts.lora, parts.config.lora, str(folder))
    learn = stage.learn
    if learn.language == "qlora":
        quantise(model.language, parts.config.lora.modules, dtype)
    model.language.requires_grad_(False)
    if learn.language != "no":
        with quiet():
            model.language = add_lora(model.language, lora_settings(stage.lora, parts.config))
    if own_top:
        model.own_top = TopDown(config.embed_dim)
        wanted = model.own_top.state_dict().keys()
        model.own_top.load_state_dict({n: v for n, v in parts.states["sam_tower"].items() if n in wanted})
    free(model, learn, len(parts.config.code_names))
    return model, tokenizer


def lora_settings(lora: Lora, base: LisaConfig) -> LoraSettings:
    """The adapter's size, on the layers of the base's own."""
    return LoraSettings(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, modules=base.lora.modules)


def with_new_codes(parts: Parts, model: LisaModel) -> Parts:
    """The code book with a row more for each concept that the base does not know: the mean of the others."""
    own = parts.states["mask_head"]["code_book.weight"]
    wanted = model.mask_head.code_book.num_embeddings
    if own.shape[0] == wanted:
        return parts
    rows = torch.cat([own, own.mean(0, keepdim=True).expand(wanted - own.shape[0], -1)])
    heads = {n: {**parts.states[n], "code_book.weight": rows} for n in ("mask_head", "own_head") if n in parts.states}
    return parts._replace(states={**parts.states, **heads})


def quantise(language: nn.Module, modules: tuple[str, ...], compute: torch.dtype) -> None:
    """Put the linear layers called ``modules`` into 4 bits in place: NF4 with quantised scales (Dettmers et al. 2023).

    Raises:
        InputError: bitsandbytes is not installed.
    """
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise InputError("language: qlora needs the package bitsandbytes; install it, or set language: lora") from error
    for name, layer in list(language.named_modules()):
        if name.rsplit(".", 1)[-1] not in modules or not isinstance(layer, nn.Linear):
            continue
        small = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=compute,
            compress_statistics=True,
            quant_type="nf4",
        )
        small.weight = bnb.nn.Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        if layer.bias is not None:
            small.bias = layer.bias
        # on a CPU, evaluation would pack the weights anew in lower precision, and training go on with those
        small.support_avx512bf16_for_cpu = False
        # moving to a device is what quantises
        language.set_submodule(name, small.to(layer.weight.device))


def free(model: LisaModel, learn: Learn, old_codes: int) -> None:
    """Let gradients reach what is to learn, and nothing else.

    Args:
        old_codes: codes of the base, which stay where they are: the language model aims at them, and what is defined by
            particles is found through the particles' own.
    """
    for name in (
        "sam_tower",
        "clip_tower",
        "mask_head",
        "exemplar_encoder",
        "concept_head",
        "concept_top",
        "own_head",
        "own_top",
        "clip_projector",
        "sam_projector",
        "seg_projector",
        "new_tokens",
    ):
        module = getattr(model, name)
        if module is not None:
            module.requires_grad_(False)
    model.new_tokens.requires_grad_(learn.tokens)
    for module in (model.clip_projector, model.sam_projector, model.seg_projector):
        if module is not None:
            module.requires_grad_(learn.projections)
    if learn.decoder != "no":
        for name, p in model.mask_head.named_parameters():
            chosen = learn.decoder == "all" or name.removeprefix("mask_decoder.").startswith(HEADS)
            p.requires_grad_(chosen and not name.startswith("code_book"))
    if model.own_top is not None:
        model.own_top.requires_grad_(learn.tower == "last")
    elif learn.tower != "no":
        for name, p in model.sam_tower.named_parameters():
            p.requires_grad_(learn.tower == "all" or not name.startswith("encoder."))
    codes = model.mask_head.code_book.weight
    if codes.shape[0] > old_codes:
        # AdaptModel.outline lets gradients reach the new rows alone
        codes.requires_grad_(True)
