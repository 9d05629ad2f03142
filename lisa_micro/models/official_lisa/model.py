"""Official LISA as a special case of :class:`LisaModel`: Vicuna or Llama 2, CLIP ViT-L/14, SAM ViT-H, no SAM tokens and
no instance map. The numbers are those of dvlab-research/LISA: the projected state before [SEG] is SAM's only sparse
prompt.

Only the precision differs from the official code: SAM and both projections always stay in float32. Half precision in
the neck of SAM, and 4-bit weights in the projection of [SEG], make masks come out blank there.
"""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.mask_head import MaskOutputs, exact
from lisa_micro.models.lisa.model import ImageFeatures, LisaModel
from lisa_micro.models.lisa.projector import SegProjector
from lisa_micro.models.official_lisa.images import clip_input, sam_input, to_rgb
from lisa_micro.models.official_lisa.settings import OfficialConfig
from lisa_micro.models.towers.clip import VitClipTower
from lisa_micro.models.towers.sam import SamFeatures, VitSamTower

ALWAYS = 20.0
"""Presence logit of every mask: SAM does not predict whether an object is present."""


class PatchProjector(nn.Linear):
    """CLIP's features ``(B, C, h, w)`` -> one image token per patch ``(B, h * w, hidden)``, by one linear layer."""

    def pool(self, features: Tensor) -> Tensor:
        """``(B, C, h, w)`` -> ``(B, h * w, C)``, without pooling; this is the part without weights."""
        return features.float().flatten(2).transpose(1, 2)

    def project(self, pooled: Tensor) -> Tensor:
        """``(B, h * w, C)`` -> ``(B, h * w, hidden)``."""
        return super().forward(pooled.to(self.weight.dtype))

    def forward(self, features: Tensor) -> Tensor:
        return self.project(self.pool(features))


class SamMaskHead(nn.Module):
    """Prompt encoder and mask decoder of SAM with the interface of :class:`lisa_micro.models.lisa.mask_head.MaskHead`:
    one mask per prompt at stride 4, no instance map, no presence.

    Args:
        prompt_encoder, mask_decoder: of ``segment_anything``, for one embedding size.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder):
        super().__init__()
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder

    def point_tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """``(N, P, 2)`` XY px of the encoder's input, labels ``(N, P)`` (1 in, 0 out, -1 none) -> ``(N, P + 1, D)``."""
        with exact(points.device):
            return self.prompt_encoder._embed_points(points.float(), labels, pad=True)

    def box_tokens(self, boxes: Tensor) -> Tensor:
        """``(N, 4)`` XYXY px of the encoder's input -> ``(N, 2, D)``."""
        with exact(boxes.device):
            return self.prompt_encoder._embed_boxes(boxes.float())

    def forward(
        self,
        features: SamFeatures,
        sparse: Tensor,
        origin: tuple[int, int] = (0, 0),
        areas: Tensor | None = None,
    ) -> MaskOutputs:
        """Decode N prompts of one image.

        Args:
            features: batch 1.
            sparse: prompt tokens ``(N, T, D)``.
            origin, areas: unused: SAM sees the whole image, and a box or point as tokens only.

        Returns:
            mask ``(N, 4h, 4w)`` logits float32; ``iou`` as logits, as of the other head; ``distance`` and ``border``
            are 0, ``presence`` is :data:`ALWAYS`.
        """
        count = len(sparse)
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        maps, quality = self.mask_decoder(
            image_embeddings=features.embedding.float(),
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse.float(),
            dense_prompt_embeddings=dense.expand(count, -1, *features.embedding.shape[-2:]),
            multimask_output=False,
        )
        mask = maps[:, 0].float()
        empty = torch.zeros_like(mask)
        iou = torch.logit(quality[:, 0].float().clamp(1e-4, 1 - 1e-4))
        return MaskOutputs(mask, empty, empty, iou, torch.full_like(iou, ALWAYS))


class OfficialLisa(LisaModel):
    """A :class:`LisaModel` that computes what official LISA computes.

    Args:
        config: of this project: CLIP only, state before [SEG], 1024 px.
        sam_tower, mask_head, clip_tower, seg_projector: parts, in float32.
        language: a Llama model of transformers, in any precision, with [SEG] in its vocabulary.
        patch_projector: between CLIP and the language model.
    """

    def __init__(
        self,
        config: LisaConfig,
        sam_tower: VitSamTower,
        mask_head: SamMaskHead,
        language: nn.Module,
        seg_projector: SegProjector,
        clip_tower: VitClipTower,
        patch_projector: PatchProjector,
    ):
        super().__init__(
            config,
            sam_tower,
            mask_head,
            language,
            seg_projector=seg_projector,
            clip_tower=clip_tower,
            clip_projector=patch_projector,
        )

    def see(self, image: Tensor) -> tuple[SamFeatures, Tensor | None, tuple[int, int]]:
        """Both towers on ``(1, 1 or 3, H, W)`` in 0..1; see :meth:`LisaModel.see`."""
        sam, work = self.see_detail(image)
        square = clip_input(to_rgb(image), self.clip_tower.size)
        return sam, self.clip_tower(square.to(image.device)), work

    def see_detail(self, image: Tensor) -> tuple[SamFeatures, tuple[int, int]]:
        """SAM's encoder on ``(1, 1 or 3, H, W)`` in 0..1: features, and the size of the image in its square."""
        padded, work = sam_input(to_rgb(image), self.sam_tower.multiple)
        return self.sam_tower(padded.to(image.device)), work

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids -> embeddings."""
        return self.language.get_input_embeddings()(ids)

    def logits(self, states: Tensor) -> Tensor:
        """Hidden states -> logits over the vocabulary, float32."""
        return self.language.get_output_embeddings()(states).float()

    def to_micrograph(self, maps: Tensor, features: ImageFeatures, shape: tuple[int, int] | None = None) -> Tensor:
        """Maps ``(N, h, w)`` -> ``(N, H, W)`` of the micrograph (or another ``shape`` that covers all of it), bilinear
        in
        float32: enlarged to the encoder's square, cropped, then resized."""
        side = self.sam_tower.multiple
        square = F.interpolate(maps.float().unsqueeze(0), (side, side), mode="bilinear", align_corners=False)
        square = square[..., : features.work[0], : features.work[1]]
        return F.interpolate(square, shape or features.shape, mode="bilinear", align_corners=False)[0]


def build_sam(config: OfficialConfig) -> nn.ModuleDict:
    """Build SAM with the names of its checkpoints: ``image_encoder``, ``prompt_encoder``, ``mask_decoder``."""
    sizes, dim = config.visual_model, config.out_dim
    grid = sizes.image_size // sizes.patch
    encoder = ImageEncoderViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.heads,
        mlp_ratio=4,
        out_chans=dim,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=sizes.window,
        global_attn_indexes=sizes.global_blocks,
    )
    prompts = PromptEncoder(
        embed_dim=dim,
        image_embedding_size=(grid, grid),
        input_image_size=(sizes.image_size, sizes.image_size),
        mask_in_chans=sizes.mask_channels,
    )
    transformer = TwoWayTransformer(
        depth=sizes.decoder_depth,
        embedding_dim=dim,
        mlp_dim=sizes.decoder_hidden,
        num_heads=sizes.decoder_heads,
    )
    decoder = MaskDecoder(
        transformer_dim=dim,
        transformer=transformer,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=sizes.quality_hidden,
    )
    return nn.ModuleDict({"image_encoder": encoder, "prompt_encoder": prompts, "mask_decoder": decoder})
