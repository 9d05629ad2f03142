"""EfficientSAM-Ti and -S (Xiong et al., arXiv 2312.00863): the module with the official interface, and as a promptable
segmenter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.segmenters.base import NO_POINT, Prompts
from lisa_micro.models.segmenters.efficient_sam.decoder import (
    BOX_FAR,
    BOX_NEAR,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from lisa_micro.models.segmenters.efficient_sam.encoder import ImageEncoder
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.types import InputError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EfficientSamConfig:
    """Sizes. The defaults are shared by Ti and S.

    Attributes:
        width, heads: of the image encoder.
        depth, patch, mlp_ratio, image_size: of the image encoder; sides in px.
        dim: channels D of embedding and tokens.
        decoder_depth, decoder_heads, decoder_hidden, upscaling, quality_hidden: of the mask decoder.
        max_points: most points of a prompt; a box counts as two.
        masks: masks M per prompt.
    """

    width: int
    heads: int
    depth: int = 12
    patch: int = 16
    mlp_ratio: float = 4.0
    image_size: int = 1024
    dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_hidden: int = 2048
    upscaling: tuple[int, ...] = (64, 32)
    quality_hidden: int = 256
    max_points: int = 6
    masks: int = 3


TINY = EfficientSamConfig(width=192, heads=3)
SMALL = EfficientSamConfig(width=384, heads=6)


class EfficientSam(nn.Module):
    """Image encoder, prompt encoder and mask decoder. Names and order of arguments are the official ones.

    Args:
        image_encoder, prompt_encoder, mask_decoder: the parts.
        max_points: prompts are padded or cut to this many points.
    """

    def __init__(
        self, image_encoder: ImageEncoder, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder, max_points: int
    ):
        super().__init__()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.max_points = max_points
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def get_image_embeddings(self, batched_images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in 0..1, of any size -> ``(B, D, h, w)``. The image is stretched to the encoder's square."""
        square = (self.image_encoder.img_size,) * 2
        if batched_images.shape[-2:] != square:
            batched_images = F.interpolate(batched_images, square, mode="bilinear", align_corners=False)
        return self.image_encoder((batched_images - self.pixel_mean) / self.pixel_std)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        batched_points: Tensor,
        batched_point_labels: Tensor,
        multimask_output: bool,
        input_h: int,
        input_w: int,
        output_h: int = -1,
        output_w: int = -1,
    ) -> tuple[Tensor, Tensor]:
        """Decode Q prompts for each of B images.

        Args:
            image_embeddings: ``(B, D, h, w)``.
            batched_points: ``(B, Q, N, 2)`` XY px of images of ``input_h`` x ``input_w`` px; a negative coordinate
                means none.
            batched_point_labels: ``(B, Q, N)``: 1 on the object, 2 and 3 near and far corner of a box, -1 no point.
            multimask_output: three masks (M = 3) in the order of the decoder's tokens, else one (M = 1).
            output_h, output_w: size of the masks in px; the decoder's own where not positive.

        Returns:
            logits ``(B, Q, M, output_h, output_w)``, predicted IoU ``(B, Q, M)``.
        """
        batch, queries, count = batched_points.shape[:3]
        points, labels = self._to_encoder_px(batched_points, input_h, input_w), batched_point_labels
        # negative padding cuts
        missing = self.max_points - count
        points = F.pad(points, (0, 0, 0, missing), value=-1.0)
        labels = F.pad(labels, (0, missing), value=-1)
        prompts = self.prompt_encoder(points.flatten(0, 1), labels.flatten(0, 1))
        embeddings = image_embeddings.repeat_interleave(queries, dim=0)  # (B Q, D, h, w)
        logits, quality = self.mask_decoder(embeddings, self.prompt_encoder.get_dense_pe(), prompts, multimask_output)
        if output_h > 0 and output_w > 0:
            logits = enlarge(logits, (output_h, output_w))
        return logits.unflatten(0, (batch, queries)), quality.unflatten(0, (batch, queries))

    def _to_encoder_px(self, points: Tensor, height: int, width: int) -> Tensor:
        side = self.image_encoder.img_size
        scaled = torch.stack([points[..., 0] * side / width, points[..., 1] * side / height], dim=-1)
        return torch.where(points >= 0, scaled, -1.0)

    def forward(
        self,
        batched_images: Tensor,
        batched_points: Tensor,
        batched_point_labels: Tensor,
        scale_to_original_image_size: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Images ``(B, 3, H, W)`` in 0..1, points ``(B, Q, N, 2)`` XY px of them, labels ``(B, Q, N)`` -> logits
        ``(B, Q, 3, H, W)`` (at the decoder's resolution where not scaled), predicted IoU ``(B, Q, 3)``. The masks are
        not sorted, as in the official code since its commit 610b0fd."""
        height, width = batched_images.shape[-2:]
        return self.predict_masks(
            self.get_image_embeddings(batched_images),
            batched_points,
            batched_point_labels,
            True,
            height,
            width,
            *((height, width) if scale_to_original_image_size else (-1, -1)),
        )


def enlarge(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    """``(N, M, h, w)`` -> ``(N, M, *shape)``, bicubic."""
    return F.interpolate(logits, shape, mode="bicubic", align_corners=False)


def build_efficient_sam(config: EfficientSamConfig) -> EfficientSam:
    """The module with random weights."""
    grid = config.image_size // config.patch
    transformer = TwoWayTransformer(config.dim, config.decoder_depth, config.decoder_heads, config.decoder_hidden)
    return EfficientSam(
        ImageEncoder(
            image_size=config.image_size,
            patch=config.patch,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            neck=config.dim,
        ),
        PromptEncoder(config.dim, grid, config.image_size),
        MaskDecoder(config.dim, transformer, config.masks, config.upscaling, config.quality_hidden),
        config.max_points,
    )


class EfficientSamSegmenter(PromptedSegmenter):
    """EfficientSAM as a promptable segmenter.

    Of the three masks of a prompt it takes the one with the highest predicted IoU. Coordinates are passed on unchanged,
    as in the official examples. A point with label 0 is passed on, too, but the official training had none: it gives
    the model a position, not the information that the object is elsewhere. Masks are not taken as prompts, and a prompt
    has at most six points, where a box counts as two.
    """

    takes_masks = False
    model: EfficientSam

    def extract(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        # scaling before repeating the channels gives the same and takes a third of the memory
        grey = F.interpolate(pixels, (self.model.image_encoder.img_size,) * 2, mode="bilinear", align_corners=False)
        embedding = self.model.get_image_embeddings(grey.expand(-1, 3, -1, -1))
        return embedding, tuple(4 * side for side in embedding.shape[-2:])

    def check(self, prompts: Prompts) -> None:
        super().check(prompts)
        as_points(prompts, self.model.max_points)

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        xy, labels = as_points(prompts, self.model.max_points)
        logits, quality = self.model.predict_masks(
            self.image.features,
            torch.from_numpy(xy[None]).float().to(self.device),
            torch.from_numpy(labels[None]).to(self.device),
            True,
            *self.image.shape,
        )
        best = quality[0].argmax(dim=1, keepdim=True)  # (n, 1)
        return logits[0].take_along_dim(best[..., None, None], 1)[:, 0], quality[0].take_along_dim(best, 1)[:, 0]

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        return enlarge(logits[:, None], shape)[:, 0]


def as_points(prompts: Prompts, max_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Convert prompts to EfficientSAM's points: the corners of a box are points with labels 2 and 3.

    Returns:
        points ``(N, max_points, 2)`` XY px, labels ``(N, max_points)``, padded with -1.

    Raises:
        InputError: a prompt with more points.
    """
    xy, labels = prompts.points, prompts.labels
    if prompts.boxes is not None:
        corners = prompts.boxes.reshape(-1, 2, 2)
        xy = np.concatenate([corners, xy], axis=1)
        labels = np.concatenate([np.broadcast_to([BOX_NEAR, BOX_FAR], (len(xy), 2)), labels], axis=1)
    most = int((labels != NO_POINT).sum(axis=1).max())
    if most > max_points:
        raise InputError(
            f"EfficientSAM takes at most {max_points} points per prompt, where a box counts as two; not {most}."
        )
    # missing points go to the end
    order = np.argsort(labels == NO_POINT, axis=1, kind="stable")[:, :max_points]
    xy, labels = np.take_along_axis(xy, order[..., None], axis=1), np.take_along_axis(labels, order, axis=1)
    fill = max_points - labels.shape[1]
    xy = np.pad(xy, ((0, 0), (0, fill), (0, 0)), constant_values=-1.0)
    return xy, np.pad(labels, ((0, 0), (0, fill)), constant_values=NO_POINT)
