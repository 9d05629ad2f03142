"""The model as trained in the stage ``adapt``: which parts are trained, and a forward pass for words and masks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lisa_micro.extras import missing_extra
from lisa_micro.models.lisa.adapter import Parts, load_states
from lisa_micro.models.lisa.base_lm import quiet
from lisa_micro.models.lisa.build import add_lora, add_lora_weights, build_lisa
from lisa_micro.models.lisa.config import LisaConfig, LoraSettings
from lisa_micro.models.lisa.mask_head import MaskOutputs, box_areas
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.models.towers.sam import SamFeatures, TopDown
from lisa_micro.types import CONCEPTS
from lisa_micro_finetune.adapt.augment import Window
from lisa_micro_finetune.adapt.plans import AdaptBatch, WindowPrompts
from lisa_micro_finetune.adapt.settings import AdaptStage, Lora, TrainedParts
from lisa_micro_finetune.data.conversations import IGNORE
from lisa_micro_finetune.stages.language import image_slots

HEADS = ("output_hypernetworks_mlps", "iou_prediction_head", "iou_token", "mask_tokens", "refine_")
"""Parameters of the mask decoder that are trained with ``decoder: heads``."""
FAST_PARAMETERS = (
    "lisa.clip_projector.",
    "lisa.sam_projector.",
    "lisa.seg_projector.",
    "lisa.new_tokens.",
    "lisa.mask_head.code_book",
)
"""Parameters that are trained at the learning rate times ``fast_lr``."""
VISION_PARAMETERS = ("lisa.mask_head.", "lisa.sam_tower.", "lisa.own_top.")
"""Parameters that are trained at the learning rate times ``seeing_lr``."""


class AdaptOutputs(NamedTuple):
    """Outputs of :class:`AdaptModel`.

    Attributes:
        logits: ``(W, V)`` at the W positions that have a loss.
        truth: ``(W,)``, the tokens there.
        prompts: ``(S, D)``, prompt embeddings of the [SEG].
        masks: outputs of the mask decoder, one entry per window.
    """

    logits: Tensor
    truth: Tensor
    prompts: Tensor
    masks: list[MaskOutputs]


class AdaptModel(nn.Module):
    """A :class:`LisaModel` with a single forward pass for words and masks, which wrappers for several processes need.

    Args:
        lisa: the model.
        image_start: position of the first image token.
        base_concepts: number of the base's concepts, whose class embeddings are frozen.
        exact: run projections and decoder in float32, even within autocast.
    """

    def __init__(self, lisa: LisaModel, image_start: int, base_concepts: int = len(CONCEPTS), exact: bool = False):
        super().__init__()
        self.lisa, self.image_start = lisa, image_start
        self.base_concepts, self.exact = base_concepts, exact

    def forward(self, batch: AdaptBatch) -> AdaptOutputs:
        """Run the model on a batch that is on its device and has its features."""
        lisa = self.lisa
        sam, whole = batch.sam, {}
        if batch.images:
            whole = {k: lisa.see_detail(image)[0] for k, image in enumerate(batch.images)}
            if lisa.sam_projector is not None:
                sam = torch.cat([lisa.sam_projector.pool(whole[k].embedding) for k in range(len(batch.images))])
        device = batch.ids.device.type
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not self.exact):
            tokens = lisa.image_tokens(batch.clip, sam, pooled=True)
        states = lisa.states(image_slots(lisa.embed(batch.ids), tokens, self.image_start), use_cache=False)
        wanted = batch.labels != IGNORE
        logits = lisa.logits(states[wanted])
        shift = 0 if lisa.config.seg_state == "at" else 1
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not self.exact):
            prompts = lisa.seg_projector(states[batch.seg[:, 0], batch.seg[:, 1] - shift])
            masks = [self.segment(window, prompts, whole.get(window.row)) for window in batch.windows]
        return AdaptOutputs(logits, batch.labels[wanted], prompts, masks)

    def segment(self, prompted: WindowPrompts, prompts: Tensor, whole: SamFeatures | None) -> MaskOutputs:
        """Segment one window.

        Args:
            prompted: the window and its prompts.
            prompts: ``(S, D)``, prompt embeddings of all [SEG] of the batch.
            whole: features of the whole view; ``None``: those of the window are used.

        Returns:
            outputs for [SEG], class embeddings and boxes, in this order.
        """
        head = self.lisa.mask_head
        if whole is not None:
            features = crop_features(whole, prompted.window)
        elif isinstance(prompted.features, SamFeatures):
            features = prompted.features
        else:
            features = self.lisa.own_top(prompted.features)
        origin = (prompted.window.x0, prompted.window.y0)
        embeddings = head.code_book(prompted.concepts).to(prompts.dtype)
        # the table is one parameter: gradients of the base's class embeddings are cut off here
        frozen = (prompted.concepts < self.base_concepts)[:, None]
        embeddings = torch.where(frozen, embeddings.detach(), embeddings)
        words = torch.cat([prompts[prompted.seg], embeddings]).unsqueeze(1)
        parts = []
        if len(words):
            parts.append(head(features, words, origin))
        if len(prompted.boxes):
            areas = box_areas(prompted.boxes, *features.embedding.shape[-2:], origin)
            parts.append(head(features, head.box_tokens(prompted.boxes), origin, areas))
        return parts[0] if len(parts) == 1 else MaskOutputs(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def crop_features(features: SamFeatures, window: Window) -> SamFeatures:
    """Crop a window of the features of one image."""

    def part(maps: Tensor, scale: int) -> Tensor:
        x, y, w, h = (scale * v for v in (window.x0, window.y0, window.w, window.h))
        return maps[..., y : y + h, x : x + w]

    # skips have strides 8, 4 and 2, the embedding has 16
    return SamFeatures(part(features.embedding, 1), tuple(part(s, 2 << k) for k, s in enumerate(features.skips)))


def build_model(
    parts: Parts,
    folder: Path,
    config: LisaConfig,
    stage: AdaptStage,
    dtype: torch.dtype,
    device: torch.device,
    own_top: bool = False,
) -> tuple[LisaModel, PreTrainedTokenizerBase]:
    """Build the base for training: its adapter merged, new class embeddings added, and a new LoRA adapter.

    Only the parts that ``stage.learn`` names require gradients.

    Args:
        parts: weights of the base.
        folder: folder of the base, for messages.
        config: configuration of the base, with the new concepts.
        stage: settings.
        dtype: precision of the language model.
        device: device on which the model will be trained.
        own_top: whether to train a copy of the SAM tower's top-down path for the custom classes.

    Raises:
        InputError: weights that do not match.
    """
    # torch's fused attention has a slow backward pass on CPU for short sequences
    attention = {"attn_implementation": "eager"} if device.type == "cpu" else {}
    model, tokenizer = build_lisa(config, dtype, lora=False, **attention)
    load_states(model, with_new_embeddings(parts, model), folder)
    if parts.lora is not None:
        add_lora_weights(model.language, parts.lora, parts.config.lora, str(folder))
    learn = stage.learn
    if learn.language == "qlora":
        quantise_layers(model.language, parts.config.lora.modules, dtype)
    model.language.requires_grad_(False)
    if learn.language != "no":
        with quiet():
            model.language = add_lora(model.language, lora_settings(stage.lora, parts.config))
    if own_top:
        model.own_top = TopDown(config.embed_dim)
        wanted = model.own_top.state_dict().keys()
        model.own_top.load_state_dict({n: v for n, v in parts.states["sam_tower"].items() if n in wanted})
    set_trainable(model, learn, len(parts.config.code_names))
    return model, tokenizer


def lora_settings(lora: Lora, base: LisaConfig) -> LoraSettings:
    """Settings of the new LoRA adapter, on the layers of the base's adapter."""
    return LoraSettings(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, modules=base.lora.modules)


def with_new_embeddings(parts: Parts, model: LisaModel) -> Parts:
    """Add a class embedding for each concept that the base does not know: the mean of the others."""
    table = parts.states["mask_head"]["code_book.weight"]
    wanted = model.mask_head.code_book.num_embeddings
    if table.shape[0] == wanted:
        return parts
    rows = torch.cat([table, table.mean(0, keepdim=True).expand(wanted - table.shape[0], -1)])
    heads = {n: {**parts.states[n], "code_book.weight": rows} for n in ("mask_head", "own_head") if n in parts.states}
    return parts._replace(states={**parts.states, **heads})


def quantise_layers(language: nn.Module, modules: tuple[str, ...], compute: torch.dtype) -> None:
    """Quantise the linear layers called ``modules`` in place: NF4 with quantised scales (Dettmers et al. 2023).

    Raises:
        InputError: bitsandbytes is not installed.
    """
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise missing_extra("language: qlora", "bitsandbytes") from error
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
        # on a CPU, evaluation would repack the weights in lower precision, and training would use those afterwards
        small.support_avx512bf16_for_cpu = False
        # moving the layer to a device quantises it
        language.set_submodule(name, small.to(layer.weight.device))


def set_trainable(model: LisaModel, learn: TrainedParts, base_concepts: int) -> None:
    """Let gradients reach the parts to train, and nothing else; the language model is left as it is.

    Args:
        model: the model.
        learn: which parts are trained.
        base_concepts: number of the base's concepts. Their class embeddings stay frozen: the language model was trained
            to produce them, and necks and pores are found through those of particles.
    """
    projectors = (model.clip_projector, model.sam_projector, model.seg_projector)
    towers = (model.sam_tower, model.clip_tower)
    decoders = (model.mask_head, model.concept_head, model.concept_top, model.own_head, model.own_top)
    for module in (*towers, *decoders, model.exemplar_encoder, *projectors, model.new_tokens):
        if module is not None:
            module.requires_grad_(False)
    if model.new_tokens is not None:
        model.new_tokens.requires_grad_(learn.tokens)
    for module in projectors:
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
    embeddings = model.mask_head.code_book.weight
    if embeddings.shape[0] > base_concepts:
        # AdaptModel.segment lets gradients reach the new rows alone
        embeddings.requires_grad_(True)
