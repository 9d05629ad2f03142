"""Base class of promptable segmenters: prompts in batches, masks at the size of the micrograph, everything mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lisa_micro.models.segmenters.base import NO_POINT, Prompts, check_prompts, unit_pixels
from lisa_micro.models.segmenters.everything import Everything, Proposals, grid_points, segment_everything
from lisa_micro.protocols import Instances, Prediction
from lisa_micro.types import InputError, Micrograph


@dataclass(frozen=True)
class EncodedImage:
    """An encoded micrograph.

    Attributes:
        features: of the model.
        shape: ``(H, W)`` of the micrograph.
        window: ``(h, w)`` of the top left part of the decoder's maps that covers the micrograph; the rest is padding.
        flat: whether all its pixels are equal, so that there is nothing to segment.
    """

    features: Any
    shape: tuple[int, int]
    window: tuple[int, int]
    flat: bool = False


class PromptedSegmenter:
    """Base class of promptable segmenters; a subclass adds :meth:`extract`, :meth:`answer` and :meth:`enlarge`. It is a
    :class:`lisa_micro.protocols.Segmenter`.

    Args:
        name: the name by which it was built.
        model: with its weights.
        device: where to run.
        weights_sha256: of the weights.
    """

    batch = 8
    """Prompts decoded at a time."""
    takes_masks = True
    concept = "object"
    """What everything mode segments."""
    cut_at_box = False
    """Whether a mask is cut to the pixels that its box touches."""
    settings = Everything()
    """Default settings of everything mode."""

    def __init__(self, name: str, model: nn.Module, device: torch.device, weights_sha256: str):
        self.name, self.weights_sha256, self.device = name, weights_sha256, device
        self.model = model.to(device).eval()
        self._image: EncodedImage | None = None

    # ---------------------------------------------------------------------------------------- for subclasses

    def extract(self, pixels: Tensor) -> tuple[Any, tuple[int, int]]:
        """``(1, 1, H, W)`` float32 in 0..1 -> features and window; see :class:`EncodedImage`."""
        raise NotImplementedError

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Decode a batch of n prompts, all with the same number of points and none of them missing.

        Returns:
            logits ``(n, h, w)`` at the decoder's resolution, padding included; predicted IoU ``(n,)``.
        """
        raise NotImplementedError

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Logits of :meth:`answer` -> ``(n, *shape)``, where ``shape`` covers the whole micrograph."""
        raise NotImplementedError

    def check(self, prompts: Prompts) -> None:
        """Check that the model takes these prompts.

        Raises:
            InputError: it does not.
        """
        if prompts.masks is not None and not self.takes_masks:
            raise InputError(f"{self.name} takes no masks as prompts; give points or boxes.")

    # ---------------------------------------------------------------------------------------------- interface

    @property
    def image(self) -> EncodedImage:
        """The image that was encoded last.

        Raises:
            InputError: there is none.
        """
        if self._image is None:
            raise InputError("There is no image to segment; encode one first.")
        return self._image

    def encode(self, image: Micrograph) -> EncodedImage:
        """See :meth:`lisa_micro.protocols.Segmenter.encode`."""
        pixels = unit_pixels(image)
        with torch.inference_mode():
            features, window = self.extract(torch.from_numpy(np.ascontiguousarray(pixels))[None, None].to(self.device))
        self._image = EncodedImage(features, image.shape, window, bool(pixels.min() == pixels.max()))
        return self._image

    def predict(
        self, points: object = None, point_labels: object = None, boxes: object = None, mask_inputs: object = None
    ) -> Prediction:
        """See :meth:`lisa_micro.protocols.Segmenter.predict`."""
        image = self.image
        prompts = check_prompts(points, point_labels, boxes, image.shape, mask_inputs)
        masks = np.zeros((len(prompts), *image.shape), dtype=bool)
        scores = np.zeros(len(prompts), np.float32)
        coarse: list[np.ndarray | None] = [None] * len(prompts)
        with torch.inference_mode():
            for rows, logits, quality in self.decode(prompts):
                scores[rows] = quality.float().clamp(0, 1).cpu().numpy()
                for row, one in zip(rows, logits.split(1), strict=True):  # one at a time: at full size they are large
                    window = self.window(None if prompts.boxes is None else prompts.boxes[row])
                    masks[row][window] = (self.enlarge(one, image.shape)[0][window] > 0).cpu().numpy()
                    coarse[row] = one[0, : image.window[0], : image.window[1]].float().cpu().numpy()
        return Prediction(masks, scores, np.stack(coarse), prompts.notes)

    def window(self, box: np.ndarray | None) -> tuple[slice, slice]:
        """Rows and columns of the micrograph that the mask of a box ``(4,)`` XYXY px can cover; all without a box."""
        if box is None or not self.cut_at_box:
            return slice(None), slice(None)
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        return slice(y0, y1), slice(x0, x1)

    def decode(self, prompts: Prompts) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Decode checked prompts in batches. To be called in inference mode.

        Yields:
            numbers of the prompts of the batch ``(n,)``, their logits and predicted IoU as from :meth:`answer`.

        Raises:
            InputError: a prompt that the model does not take.
        """
        self.check(prompts)
        # not every model treats a padded point as no point, so prompts are grouped by their number of points
        counts = (prompts.labels != NO_POINT).sum(axis=1)
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            for start in range(0, len(rows), self.batch):
                some = rows[start : start + self.batch]
                yield some, *self.answer(prompts.part(some, int(count)))

    # --------------------------------------------------------------------------------------------- everything

    def propose(self, settings: Everything) -> Iterator[Proposals]:
        """Prompts that together show every object: a grid of points, one prompt each."""
        points = grid_points(self.image.shape, settings.side)
        for start in range(0, len(points), self.batch):
            some = points[start : start + self.batch, None]
            yield Proposals(Prompts(some, np.ones(some.shape[:2], np.int64), None))

    def everything(self, settings: Everything | None = None) -> Instances:
        """See :meth:`lisa_micro.protocols.Segmenter.everything`.

        Args:
            settings: the grid and the filters; ``None``: the default of the model.
        """
        if self.image.flat:
            notes = ("All pixels are equal, so there is nothing to segment.",)
            return Instances(np.zeros(self.image.shape, np.int32), np.zeros(0, np.float32), 0, notes, 0.0)
        with torch.inference_mode():
            return segment_everything(self, settings or self.settings)
