"""LisaModel: the wiring. Parts are handed to it; sizes are chosen in :mod:`lisa_micro.models.lisa.build`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.exemplars import ExemplarBoxes, ExemplarEncoder
from lisa_micro.models.lisa.mask_head import MaskHead, MaskOutputs, box_areas, point_areas
from lisa_micro.models.lisa.projector import ImageProjector, SegProjector
from lisa_micro.models.lisa.tokens import NewTokens
from lisa_micro.models.lisa.windows import decode_windows, window_around
from lisa_micro.models.towers.clip import ConvClipTower, to_square
from lisa_micro.models.towers.sam import ConvSamTower, SamFeatures, TopDown


@dataclass(frozen=True)
class ImageFeatures:
    """One encoded image.

    Attributes:
        sam: features of the SAM tower, batch 1.
        tokens: image tokens ``(1, K, hidden)``, ``None`` where the model has no language model.
        shape: ``(H, W)`` of the micrograph. work: ``(h, w)`` of the scaled image within the tower's padded input.
    """

    sam: SamFeatures
    tokens: Tensor | None
    shape: tuple[int, int]
    work: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Tower px per micrograph px, (x, y)."""
        return self.work[1] / self.shape[1], self.work[0] / self.shape[0]


def work_shape(height: int, width: int, work_side: int, least_side: int) -> tuple[int, int]:
    """Size at which the SAM tower sees a micrograph: longest side within ``least_side`` ... ``work_side``."""
    longest = max(height, width)
    scale = min(1.0, work_side / longest) if longest >= least_side else least_side / longest
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad ``(1, 1, H, W)`` at the bottom and the right by mirroring (repeating the edge where the image is too small to
    mirror)."""
    h, w = image.shape[-2:]
    down, right = -h % multiple, -w % multiple
    if not (down or right):
        return image
    return F.pad(image, (0, right, 0, down), mode="reflect" if down < h and right < w else "replicate")


class LisaModel(nn.Module):
    """A language model that writes [SEG], two towers that it sees with, and a mask decoder that [SEG] prompts.

    Args:
        config: sizes and choices.
        sam_tower, mask_head: always there.
        language: a causal language model of transformers (with or without LoRA), or ``None`` for prompting by points
            and boxes only.
        new_tokens, seg_projector, clip_tower, clip_projector, sam_projector: with the language model.
        own_head: the mask decoder of the concepts that ``config.own_decoder`` names. own_top: what makes the features
            that it sees of those of the SAM tower's encoder; ``None``: it sees those of all others.
        exemplar_encoder: makes prompts of boxes around examples; ``None`` where the model has none.
    """

    def __init__(
        self,
        config: LisaConfig,
        sam_tower: ConvSamTower,
        mask_head: MaskHead,
        language: nn.Module | None = None,
        new_tokens: NewTokens | None = None,
        seg_projector: SegProjector | None = None,
        clip_tower: ConvClipTower | None = None,
        clip_projector: ImageProjector | None = None,
        sam_projector: ImageProjector | None = None,
        own_head: MaskHead | None = None,
        own_top: TopDown | None = None,
        exemplar_encoder: ExemplarEncoder | None = None,
    ):
        super().__init__()
        self.config = config
        self.sam_tower, self.mask_head = sam_tower, mask_head
        self.language, self.new_tokens, self.seg_projector = language, new_tokens, seg_projector
        self.clip_tower, self.clip_projector, self.sam_projector = clip_tower, clip_projector, sam_projector
        self.own_head, self.own_top = own_head, own_top
        self.exemplar_encoder = exemplar_encoder

    # seeing

    def see(self, image: Tensor) -> tuple[SamFeatures, Tensor | None, tuple[int, int]]:
        """Both towers on ``(1, 1, H, W)`` in 0..1: SAM features, CLIP's feature map (``None`` without that tower or a
        language model to read it), and the size at which the SAM tower saw the image. Training and inference both see
        through this."""
        sam, work = self.see_detail(image)
        clip = None
        if self.clip_tower is not None and self.language is not None:
            square = to_square(image, self.clip_tower.size)
            clip = self.clip_tower(self.clip_tower.normalise(square))
        return sam, clip, work

    def see_detail(self, image: Tensor, side: int | None = None) -> tuple[SamFeatures, tuple[int, int]]:
        """The SAM tower alone on ``(1, 1, H, W)`` in 0..1: its features, and the size at which it saw the image.
        ``side``: in place of the configuration's ``work_side``, at most
        :data:`lisa_micro.models.lisa.mask_head.FRAME`."""
        shape = tuple(image.shape[-2:])
        work = work_shape(*shape, side or self.config.work_side, self.config.least_side)
        scaled = image
        if work != shape:
            scaled = F.interpolate(image, work, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        padded = self.sam_tower.normalise(pad_to_multiple(scaled, self.sam_tower.multiple))
        if self.own_top is None:
            return self.sam_tower(padded), work
        stages = self.sam_tower.stages(padded)
        return self.sam_tower.top_down(stages)._replace(stages=stages), work

    def encode_image(self, image: Tensor, tokens: bool = True, side: int | None = None) -> ImageFeatures:
        """``(1, 1, H, W)`` in 0..1 -> :class:`ImageFeatures`. Without ``tokens``, only what the mask decoder needs: for
        parts of a micrograph that the language model has read as a whole; then ``side`` as for :meth:`see_detail`."""
        if not tokens:
            sam, work = self.see_detail(image, side)
            return ImageFeatures(sam, None, tuple(image.shape[-2:]), work)
        sam, clip, work = self.see(image)
        tokens = None if self.language is None else self.image_tokens(clip, sam.embedding)
        return ImageFeatures(sam, tokens, tuple(image.shape[-2:]), work)

    def image_tokens(self, clip: Tensor | None, sam: Tensor | None, pooled: bool = False) -> Tensor:
        """Feature maps (or, ``pooled``, their pooled grids) -> image tokens ``(B, K, hidden)``: CLIP's, then SAM's."""
        parts = []
        for projector, features in ((self.clip_projector, clip), (self.sam_projector, sam)):
            if projector is not None and features is not None:
                parts.append(projector.project(features) if pooled else projector(features))
        return torch.cat(parts, 1)

    # speaking

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids -> embeddings."""
        return self.new_tokens.embed(ids, self.language.get_input_embeddings())

    def states(self, embeddings: Tensor, **options) -> Tensor:
        """Embeddings ``(B, T, hidden)`` -> hidden states after the final norm ``(B, T, hidden)``."""
        base = self.language.get_base_model() if hasattr(self.language, "get_base_model") else self.language
        return base.model(inputs_embeds=embeddings, **options).last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """Hidden states -> logits over the vocabulary and the new tokens."""
        return self.new_tokens.logits(states, self.language.get_output_embeddings())

    # outlining

    def decode_words(self, features: ImageFeatures, states: Tensor) -> MaskOutputs:
        """Hidden states of N [SEG] tokens ``(N, hidden)`` -> maps of the padded input at stride 2."""
        prompts = self.seg_projector(states)
        return self.decode_prompts(features, prompts, self.nearest_concepts(prompts) if self.own_head else [])

    def decode_code(self, features: ImageFeatures, number: int) -> MaskOutputs:
        """The code of concept ``number`` -> maps, as above, N = 1."""
        code = self.mask_head.code_book.weight[number][None]
        return self.decode_prompts(features, code, [number])

    def nearest_concepts(self, prompts: Tensor) -> list[int]:
        """Prompt embeddings ``(N, D)`` -> number of the concept whose code is nearest to each, among those that the
        reply language names."""
        config = self.config
        spoken = [n for n, name in enumerate(config.code_names) if name in config.vocabulary.names]
        codes = self.mask_head.code_book.weight[spoken]
        return [spoken[k] for k in torch.cdist(prompts.float(), codes.float()).argmin(1).tolist()]

    def decode_prompts(self, features: ImageFeatures, prompts: Tensor, concepts: list[int]) -> MaskOutputs:
        """Prompt embeddings ``(N, D)`` -> maps, as above: each by the mask decoder of its concept (``concepts``, N
        numbers; not looked at where there is one decoder only)."""
        if self.own_head is None:
            return self.mask_head(features.sam, prompts.unsqueeze(1))
        names, first = self.config.code_names, len(self.config.built_in)
        own = [number >= first and names[number] in self.config.own_decoder for number in concepts]
        rows = [[n for n, o in enumerate(own) if o == which] for which in (False, True)]
        parts = []
        if rows[0] or not rows[1]:
            parts.append(self.mask_head(features.sam, prompts[rows[0]].unsqueeze(1)))
        if rows[1]:
            seen = features.sam if self.own_top is None else self.own_top(features.sam.stages)
            parts.append(self.own_head(seen, prompts[rows[1]].unsqueeze(1)))
        back = torch.tensor([*rows[0], *rows[1]], device=prompts.device).argsort()
        return MaskOutputs(*(torch.cat(maps)[back] for maps in zip(*parts, strict=True)))

    def decode_boxes(self, features: ImageFeatures, boxes: Tensor) -> MaskOutputs:
        """Boxes ``(N, 4)`` XYXY px of the micrograph -> maps, as above."""
        x, y = features.scale
        boxes = boxes.float() * boxes.new_tensor([x, y, x, y]).float()
        areas = box_areas(boxes, *features.sam.embedding.shape[-2:])
        return self.mask_head(features.sam, self.mask_head.box_tokens(boxes), areas=areas)

    def decode_points(self, features: ImageFeatures, points: Tensor, labels: Tensor) -> MaskOutputs:
        """Points ``(N, P, 2)`` XY px of the micrograph, labels ``(N, P)`` (1 in, 0 out) -> maps, as above."""
        points = points.float() * points.new_tensor(features.scale).float()
        areas = point_areas(points, labels, *features.sam.embedding.shape[-2:])
        return self.mask_head(features.sam, self.mask_head.point_tokens(points, labels), areas=areas)

    def decode_exemplars(self, features: ImageFeatures, image: Tensor, boxes: Tensor, signs: Tensor) -> MaskOutputs:
        """All that is like the objects in some boxes -> maps, as above, N = 1.

        Args:
            image: ``(1, 1, H, W)`` in 0..1, the micrograph. boxes: ``(K, 4)`` XYXY px of it.
            signs: ``(K,)``, 1 = like these, -1 = not like these; at least one 1.

        Raises:
            ValueError: the model has no exemplar encoder.
        """
        if self.exemplar_encoder is None:
            raise ValueError("this model has no exemplar encoder")
        x, y = features.scale
        boxes = boxes.float() * boxes.new_tensor([x, y, x, y]).float()
        seen = image
        if features.work != features.shape:
            seen = F.interpolate(image, features.work, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        seen = pad_to_multiple(seen, self.sam_tower.multiple)
        masks = self._box_masks(features.sam, boxes)
        given = ExemplarBoxes(boxes[None], signs[None], masks[None])
        prompt = self.exemplar_encoder(features.sam, seen, given)
        return self.mask_head(prompt.on(features.sam), prompt.tokens, areas=prompt.areas)

    def _box_masks(self, sam: SamFeatures, boxes: Tensor) -> Tensor:
        """Probability of the object in each box ``(K, 4)`` px of the tower's input, ``(K, H/2, W/2)``."""
        height, width = sam.embedding.shape[-2:]
        areas = box_areas(boxes, height, width)
        sparse, position = self.mask_head.box_tokens(boxes), self.mask_head.position(height, width)
        windows = [window_around(tuple(box), height, width) for box in boxes.tolist()]
        masks = [
            decode_windows(self.mask_head, sam, position, sparse[k : k + 1], areas[k : k + 1], [window])[0]
            for k, window in enumerate(windows)
        ]
        return torch.cat(masks).sigmoid()

    @staticmethod
    def to_micrograph(maps: Tensor, features: ImageFeatures, shape: tuple[int, int] | None = None) -> Tensor:
        """Maps ``(N, h/2, w/2)`` -> ``(N, H, W)`` of the micrograph (or another ``shape`` that stands for the whole of
        it), bilinear in float32: up to the padded input, crop, then to that size."""
        maps = F.interpolate(maps.float().unsqueeze(0), scale_factor=2, mode="bilinear", align_corners=False)
        maps = maps[..., : features.work[0], : features.work[1]]
        shape = shape or features.shape
        if features.work != shape:
            maps = F.interpolate(maps, shape, mode="bilinear", align_corners=False)
        return maps[0]
