"""DeAOT behind the tracker interface, for frames of any size and any number of objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.trackers.base import check_labels, frame_pixels
from lisa_micro.models.trackers.deaot.config import STRIDE, DeaotConfig, TrackingSettings
from lisa_micro.models.trackers.deaot.decoder import enlarge
from lisa_micro.models.trackers.deaot.memory import Bank, merge_banks
from lisa_micro.models.trackers.deaot.network import DeAOT
from lisa_micro.protocols import Frame
from lisa_micro.types import InputError

DECODED_SIDE = 2048
"""Largest side, in px, of the grid on which objects are assigned; larger frames are upsampled from it."""


def network_size(shape: tuple[int, int], long_side: int, aligned: bool) -> tuple[int, int]:
    """Return the size ``(h, w)`` to which a frame of ``shape`` ``(H, W)`` is resized for the network.

    The longer side becomes at most about ``long_side``; each side is rounded to 16 k + 1, or to 16 k if grids are not
    aligned.
    """
    scale = min(1.0, long_side / max(shape))
    rest = 1 if aligned else 0
    return tuple(max(1, round((int(side * scale) - rest) / STRIDE)) * STRIDE + rest for side in shape)


def one_hot(numbers: Tensor, bank: int, objects: int) -> Tensor:
    """Encode object numbers ``(H, W)`` as one-hot ``(1, 1 + objects, H, W)`` float for one bank; objects of other banks
    are background."""
    numbers = numbers - bank * objects
    numbers = torch.where((numbers > 0) & (numbers <= objects), numbers, 0)
    return F.one_hot(numbers, objects + 1).permute(2, 0, 1)[None].float()


class DeaotTracker:
    """DeAOT as a :class:`lisa_micro.models.trackers.base.Tracker`.

    The network tells ten objects apart. Further objects are assigned to additional banks of ten, which share the
    encoder features. Banks are never released, so that a step takes longer the more objects there have been. Frames are
    downscaled with an anti-aliasing filter, unlike in the official code, since micrographs are noisier than films.

    Args:
        name: name under which it was built.
        network: network with its weights.
        config: configuration of the network.
        device: device to run on.
        weights_sha256: SHA-256 of the weights file.
        settings: settings of inference.
    """

    def __init__(
        self,
        name: str,
        network: DeAOT,
        config: DeaotConfig,
        device: torch.device,
        weights_sha256: str,
        settings: TrackingSettings | None = None,
    ):
        self.name, self.weights_sha256, self.device = name, weights_sha256, device
        self.network = network.to(device).eval()
        if device.type == "cpu":
            # convolutions take a fifth less time in this memory format
            self.network.to(memory_format=torch.channels_last)
        self.settings = settings or TrackingSettings()
        self._gap = self.settings.long_term_gap or config.long_term_gap
        self._aligned, self._objects = config.aligned, config.objects
        self._floats_per_token = config.layers * (config.attention + 2 * config.expansion)
        self._shape: tuple[int, int] | None = None

    @property
    def memory_frames(self) -> int:
        """Number of frames in the long-term memory of the fullest bank."""
        return 0 if self._shape is None else max((len(bank.long_term.frames) for bank in self._banks), default=0)

    @torch.inference_mode()
    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """See :meth:`lisa_micro.models.trackers.base.Tracker.reset`."""
        pixels = frame_pixels(first_frame)
        labels = check_labels(first_labels, pixels.shape)
        self._shape, self._time = pixels.shape, 0
        self._banks: list[Bank] = []
        self._identities = np.zeros(1, np.int32)  # object number -> track ID
        if labels.any():
            self._add_reference(self._encode(pixels), self._number(labels))

    @torch.inference_mode()
    def step(self, frame: Frame, labels: np.ndarray | None = None) -> np.ndarray:
        """See :meth:`lisa_micro.models.trackers.base.Tracker.step`."""
        if self._shape is None:
            raise InputError("The tracker has not been started; call reset with the first frame and its labels.")
        pixels = frame_pixels(frame)
        if pixels.shape != self._shape:
            size, first = (f"{s[1]} x {s[0]} px" for s in (pixels.shape, self._shape))
            raise InputError(f"The frame is {size}, but the first frame is {first}; call reset to start another video.")
        given = None if labels is None else check_labels(labels, self._shape)
        self._time += 1
        if given is not None and not given.any():
            given = None
        if not self._banks and given is None:
            return np.zeros(self._shape, np.int32)
        features = self._encode(pixels)
        numbers = self._predict(features)
        if given is None:
            self._remember(numbers)
        else:
            numbers = np.where(given > 0, self._number(given), numbers)
            self._add_reference(features, numbers)
        return self._identities[numbers]

    def _number(self, labels: np.ndarray) -> np.ndarray:
        """Map track IDs to object numbers; new track IDs get the next numbers."""
        present, inverse = np.unique(labels, return_inverse=True)
        new = np.setdiff1d(present, self._identities)
        self._identities = np.concatenate([self._identities, new.astype(np.int32)])
        number = {identity: k for k, identity in enumerate(self._identities.tolist())}
        return np.array([number[identity] for identity in present.tolist()])[inverse].reshape(labels.shape)

    def _encode(self, pixels: np.ndarray) -> list[Tensor]:
        image = torch.from_numpy(np.ascontiguousarray(pixels))[None, None].to(self.device)
        size = network_size(self._shape, self.settings.long_side, self._aligned)
        if size != self._shape:
            shrinks = size[0] * size[1] < image.shape[2] * image.shape[3]
            image = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=shrinks)
        return self.network.encode(image.expand(-1, 3, -1, -1))

    def _used(self, bank: int) -> int:
        """Number of objects of a bank that are in use."""
        return min(self._objects, len(self._identities) - 1 - bank * self._objects)

    def _small(self, numbers: np.ndarray) -> Tensor:
        """Resize object numbers ``(H, W)`` to the input size of the network."""
        size = network_size(self._shape, self.settings.long_side, self._aligned)
        full = torch.from_numpy(numbers).float()[None, None]
        return F.interpolate(full, size, mode="nearest")[0, 0].long().to(self.device)

    def _add_reference(self, features: list[Tensor], numbers: np.ndarray) -> None:
        """Add a labelled frame to all banks, and open missing banks."""
        small = self._small(numbers)
        missing = -(-(len(self._identities) - 1) // self._objects) - len(self._banks)
        if missing > 0:
            limit = self._limit(small, len(self._banks) + missing)
            for bank in self._banks:
                bank.long_term.shrink(limit)
            self._banks += [Bank(self.network, self._gap, limit) for _ in range(missing)]
        for k, bank in enumerate(self._banks):
            bank.add_reference(features, one_hot(small, k, self._objects), self._time)

    def _limit(self, small: Tensor, banks: int) -> int:
        """Number of frames that each of ``banks`` banks may keep."""
        tokens = -(-small.shape[0] // STRIDE) * -(-small.shape[1] // STRIDE)
        one = tokens * self._floats_per_token * 4 / 1e6
        return max(1, min(self.settings.memory_frames, int(self.settings.memory_mb / (banks * one))))

    def _remember(self, numbers: np.ndarray) -> None:
        small = self._small(numbers)
        for k, bank in enumerate(self._banks):
            bank.remember(one_hot(small, k, self._objects), self._time)

    def _predict(self, features: list[Tensor]) -> np.ndarray:
        """Predict the object numbers ``(H, W)`` int64 of the next frame."""
        if not self._banks:
            return np.zeros(self._shape, np.int64)
        size = _at_most(self._shape, DECODED_SIDE)
        logits = (
            enlarge(bank.predict(features, self._used(k)), size, self._aligned)[0] for k, bank in enumerate(self._banks)
        )
        numbers = merge_banks(logits)
        if size != self._shape:
            numbers = F.interpolate(numbers[None, None].float(), self._shape, mode="nearest")[0, 0].long()
        return numbers.cpu().numpy()


def _at_most(shape: Sequence[int], side: int) -> tuple[int, int]:
    return tuple(min(n, side) for n in shape)
