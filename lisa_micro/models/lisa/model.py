"""LisaModel: the wiring. Parts are handed to it; sizes are chosen in :mod:`lisa_micro.models.lisa.build`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.exemplars import ExemplarBoxes, ExemplarEncoder, LearntExemplar
from lisa_micro.models.lisa.mask_head import MaskHead, MaskOutputs, box_areas, point_areas
from lisa_micro.models.lisa.projector import ImageProjector, SegProjector
from lisa_micro.models.lisa.tokens import NewTokens
from lisa_micro.models.lisa.windows import decode_windows, window_around
from lisa_micro.models.towers.clip import ConvClipTower, to_square
from lisa_micro.models.towers.sam import ConvSamTower, SamFeatures, TopDown
from lisa_micro.types import CONCEPTS


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
        concept_head, concept_top: mask decoder of exemplars and of the built-in concepts beyond the first five, and
            what makes the features that it sees of those of the SAM tower's encoder; ``None``: those of all others.
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
        concept_head: MaskHead | None = None,
        concept_top: TopDown | None = None,
    ):
        super().__init__()
        self.config = config
        self.sam_tower, self.mask_head = sam_tower, mask_head
        self.language, self.new_tokens, self.seg_projector = language, new_tokens, seg_projector
        self.clip_tower, self.clip_projector, self.sam_projector = clip_tower, clip_projector, sam_projector
        self.own_head, self.own_top = own_head, own_top
        self.exemplar_encoder = exemplar_encoder
        self.concept_head, self.concept_top = concept_head, concept_top

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
        if self.own_top is None and self.concept_top is None:
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

    def logits_among(self, state: Tensor, ids: Tensor) -> Tensor:
        """Hidden state ``(hidden,)`` -> logits ``(N,)`` of the tokens ``ids``."""
        return self.new_tokens.logits_among(state, self.language.get_output_embeddings(), ids)

    # outlining

    def decode_words(self, features: ImageFeatures, states: Tensor) -> MaskOutputs:
        """Hidden states of N [SEG] tokens ``(N, hidden)`` -> maps of the padded input at stride 2."""
        prompts = self.seg_projector(states)
        several = self.own_head is not None or self.concept_head is not None
        return self.decode_prompts(features, prompts, self.nearest_concepts(prompts) if several else [])

    def decode_code(self, features: ImageFeatures, number: int) -> MaskOutputs:
        """The code of concept ``number`` -> maps, as above, N = 1."""
        code = self.mask_head.code_book.weight[number][None]
        return self.decode_prompts(features, code, [number])

    def nearest_concepts(self, prompts: Tensor) -> list[int]:
        """Prompt embeddings ``(N, D)`` -> number of the concept whose code is nearest to each, among those that the
        reply language names."""
        config = self.config
        names = config.vocabulary.names
        spoken = [n for n, name in enumerate(config.code_names) if name in names and config.code_number(name) == n]
        codes = self.mask_head.code_book.weight[spoken]
        return [spoken[k] for k in torch.cdist(prompts.float(), codes.float()).argmin(1).tolist()]

    def decode_prompts(self, features: ImageFeatures, prompts: Tensor, concepts: list[int]) -> MaskOutputs:
        """Prompt embeddings ``(N, D)`` -> maps, as above: each by the mask decoder of its concept (``concepts``, N
        numbers; not looked at where there is one decoder only)."""
        if self.own_head is None and self.concept_head is None:
            return self.mask_head(features.sam, prompts.unsqueeze(1))
        heads = (self.mask_head, self.concept_head, self.own_head)
        rows: tuple[list[int], ...] = ([], [], [])
        for row, number in enumerate(concepts):
            rows[self._decoder_of(number)].append(row)
        parts = []
        for which, (head, members) in enumerate(zip(heads, rows, strict=True)):
            if members or (which == 0 and not concepts):
                parts.append(head(self._seen_by(which, features.sam), prompts[members].unsqueeze(1)))
        back = torch.tensor([row for members in rows for row in members], device=prompts.device).argsort()
        return MaskOutputs(*(torch.cat(maps)[back] for maps in zip(*parts, strict=True)))

    def _decoder_of(self, number: int) -> int:
        """Which mask decoder segments the concept of a number: 0 the shared one, 1 ``concept_head``, 2 ``own_head``."""
        config = self.config
        if number >= len(config.built_in):
            return 2 if self.own_head is not None and config.code_names[number] in config.own_decoder else 0
        return 1 if self.concept_head is not None and number >= len(CONCEPTS) else 0

    def _seen_by(self, decoder: int, sam: SamFeatures) -> SamFeatures:
        """The features that mask decoder 0, 1 or 2 sees, see :meth:`_decoder_of`."""
        top = (None, self.concept_top, self.own_top)[decoder]
        return sam if top is None else top(sam.stages)

    def decode_boxes(self, features: ImageFeatures, boxes: Tensor) -> MaskOutputs:
        """Boxes ``(N, 4)`` XYXY px of the micrograph -> maps, as above."""
        x, y = features.scale
        boxes = boxes.float() * boxes.new_tensor([x, y, x, y]).float()
        areas = box_areas(boxes, *features.sam.embedding.shape[-2:])
        return self.box_head(self.seen_by_boxes(features.sam), self.box_head.box_tokens(boxes), areas=areas)

    @property
    def box_head(self) -> MaskHead:
        """The mask decoder that segments boxes and points."""
        return self.concept_head if self.config.concept_boxes and self.concept_head is not None else self.mask_head

    def seen_by_boxes(self, sam: SamFeatures) -> SamFeatures:
        """The features that :attr:`box_head` sees."""
        return self._seen_by(1, sam) if self.config.concept_boxes else sam

    def decode_points(self, features: ImageFeatures, points: Tensor, labels: Tensor) -> MaskOutputs:
        """Points ``(N, P, 2)`` XY px of the micrograph, labels ``(N, P)`` (1 in, 0 out) -> maps, as above."""
        points = points.float() * points.new_tensor(features.scale).float()
        areas = point_areas(points, labels, *features.sam.embedding.shape[-2:])
        return self.box_head(self.seen_by_boxes(features.sam), self.box_head.point_tokens(points, labels), areas=areas)

    def decode_exemplars(self, features: ImageFeatures, image: Tensor, boxes: Tensor, signs: Tensor) -> MaskOutputs:
        """All that is like the objects in some boxes -> maps, as above, N = 1.

        Args:
            image: ``(1, 1, H, W)`` in 0..1, the micrograph. boxes: ``(K, 4)`` XYXY px of it.
            signs: ``(K,)``, 1 = like these, -1 = not like these; at least one 1.

        Raises:
            ValueError: the model has no exemplar encoder.
        """
        return self.decode_learnt(features, image, self.learn_exemplar(features, image, boxes, signs))

    def learn_exemplar(
        self, features: ImageFeatures, image: Tensor, boxes: Tensor, signs: Tensor, level: Tensor | None = None
    ) -> LearntExemplar:
        """What boxes teach, for this micrograph and others; arguments as of :meth:`decode_exemplars` and
        :meth:`decode_learnt`.

        Raises:
            ValueError: the model has no exemplar encoder.
        """
        x, y = features.scale
        boxes = boxes.float() * boxes.new_tensor([x, y, x, y]).float()
        sam = self._seen_by(1, features.sam)
        masks = self._box_masks(self.exemplar_head, sam, boxes)
        given = ExemplarBoxes(boxes[None], signs[None], masks[None])
        return self._exemplars().learn(sam, self._as_seen(features, image), given, level)

    def decode_learnt(
        self, features: ImageFeatures, image: Tensor, learnt: LearntExemplar, level: Tensor | None = None
    ) -> MaskOutputs:
        """All that is like a learnt exemplar -> maps, as above, N = 1.

        Args:
            image: ``(1, 1, H, W)`` in 0..1, the micrograph or a part of it.
            level: mean and standard deviation of the whole where ``image`` is a part.

        Raises:
            ValueError: the model has no exemplar encoder.
        """
        sam = self._seen_by(1, features.sam)
        prompt = self._exemplars().prompt(sam, self._as_seen(features, image), learnt, level)
        return self.exemplar_head(prompt.on(sam), prompt.tokens, areas=prompt.areas)

    @property
    def exemplar_head(self) -> MaskHead:
        """The mask decoder that segments what is like an exemplar."""
        return self.mask_head if self.concept_head is None else self.concept_head

    def _exemplars(self) -> ExemplarEncoder:
        if self.exemplar_encoder is None:
            raise ValueError("this model has no exemplar encoder")
        return self.exemplar_encoder

    def _as_seen(self, features: ImageFeatures, image: Tensor) -> Tensor:
        """``(1, 1, H, W)`` at the size at which the tower saw it, padded."""
        if features.work != features.shape:
            image = F.interpolate(image, features.work, mode="bicubic", align_corners=False, antialias=True)
            image = image.clamp(0, 1)
        return pad_to_multiple(image, self.sam_tower.multiple)

    @staticmethod
    def _box_masks(head: MaskHead, sam: SamFeatures, boxes: Tensor) -> Tensor:
        """Probability of the object in each box ``(K, 4)`` px of the tower's input, ``(K, H/2, W/2)``."""
        height, width = sam.embedding.shape[-2:]
        areas = box_areas(boxes, height, width)
        sparse, position = head.box_tokens(boxes), head.position(height, width)
        windows = [window_around(tuple(box), height, width) for box in boxes.tolist()]
        masks = [
            decode_windows(head, sam, position, sparse[k : k + 1], areas[k : k + 1], [window])[0]
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
