"""DeAOT as a tracker: frames and labels in and out at their own size, any number of identities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.models.trackers.base import Frame, check_labels, frame_pixels
from lisa_micro.models.trackers.deaot.config import STRIDE, DeaotConfig, TrackingSettings
from lisa_micro.models.trackers.deaot.decoder import enlarge
from lisa_micro.models.trackers.deaot.memory import Bank, merge_banks
from lisa_micro.models.trackers.deaot.network import DeAOT
from lisa_micro.types import InputError

DECODED_SIDE = 2048
"""Identities are decided on a grid of at most so many px a side; on larger frames each decides for a small block."""


def network_size(shape: tuple[int, int], long_side: int, aligned: bool) -> tuple[int, int]:
    """Size ``(h, w)`` at which the network sees a frame of ``shape`` ``(H, W)``: the longer side at most ``long_side``
    or so, each side brought to the nearest 16 k + 1 (16 k where grids are not aligned)."""
    scale = min(1.0, long_side / max(shape))
    rest = 1 if aligned else 0
    return tuple(max(1, round((int(side * scale) - rest) / STRIDE)) * STRIDE + rest for side in shape)


def one_hot(numbers: Tensor, bank: int, objects: int) -> Tensor:
    """``(H, W)`` numbers of identities -> ``(1, 1 + objects, H, W)`` float of a bank; those of other banks are
    background."""
    own = numbers - bank * objects
    own = torch.where((own > 0) & (own <= objects), own, 0)
    return F.one_hot(own, objects + 1).permute(2, 0, 1)[None].float()


class DeaotTracker:
    """DeAOT behind :class:`lisa_micro.models.trackers.base.Tracker`.

    The network knows ten identities; more are kept in banks of ten side by side, which share the encoder's features. A
    bank is never given back, so a step takes the longer the more identities there have been. Frames are shrunk with a
    filter against aliasing, which the official code leaves out: micrographs have more noise than films.

    Args:
        name: the name it was built by. network: with its weights. config: its sizes. device: where to run.
        weights_sha256: of the weights' file. settings: how a video is followed.
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
            # its convolutions take a fifth less time so
            self.network.to(memory_format=torch.channels_last)
        self.settings = settings or TrackingSettings()
        self._gap = self.settings.long_term_gap or config.long_term_gap
        self._aligned, self._objects = config.aligned, config.objects
        self._floats_per_token = config.layers * (config.attention + 2 * config.expansion)
        self._shape: tuple[int, int] | None = None

    @property
    def memory_frames(self) -> int:
        """How many frames the long-term memory of the fullest bank holds."""
        return 0 if self._shape is None else max((len(bank.long_term.frames) for bank in self._banks), default=0)

    @torch.inference_mode()
    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """See :meth:`lisa_micro.models.trackers.base.Tracker.reset`."""
        pixels = frame_pixels(first_frame)
        labels = check_labels(first_labels, pixels.shape)
        self._shape, self._time = pixels.shape, 0
        self._banks: list[Bank] = []
        self._identities = np.zeros(1, np.int32)  # number -> identity
        if labels.any():
            self._refer(self._encode(pixels), self._number(labels))

    @torch.inference_mode()
    def step(self, frame: Frame, labels: np.ndarray | None = None) -> np.ndarray:
        """See :meth:`lisa_micro.models.trackers.base.Tracker.step`."""
        if self._shape is None:
            raise InputError("there is no video to follow; call reset with its first frame and labels")
        pixels = frame_pixels(frame)
        if pixels.shape != self._shape:
            size, first = (f"{s[1]} x {s[0]} px" for s in (pixels.shape, self._shape))
            raise InputError(f"the frame is {size}, the first one was {first}; call reset to begin another video")
        given = None if labels is None else check_labels(labels, self._shape)
        self._time += 1
        if given is not None and not given.any():
            given = None
        if not self._banks and given is None:
            return np.zeros(self._shape, np.int32)
        features = self._encode(pixels)
        numbers = self._follow(features)
        if given is None:
            self._remember(numbers)
        else:
            numbers = np.where(given > 0, self._number(given), numbers)
            self._refer(features, numbers)
        return self._identities[numbers]

    def _number(self, labels: np.ndarray) -> np.ndarray:
        """Identities -> their numbers; new ones get the next."""
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
        """How many identities of a bank somebody has."""
        return min(self._objects, len(self._identities) - 1 - bank * self._objects)

    def _small(self, numbers: np.ndarray) -> Tensor:
        """Numbers ``(H, W)`` at the size at which the network sees frames."""
        size = network_size(self._shape, self.settings.long_side, self._aligned)
        full = torch.from_numpy(numbers).float()[None, None]
        return F.interpolate(full, size, mode="nearest")[0, 0].long().to(self.device)

    def _refer(self, features: list[Tensor], numbers: np.ndarray) -> None:
        """Take a labelled frame into all banks, and open those that are missing."""
        small = self._small(numbers)
        missing = -(-(len(self._identities) - 1) // self._objects) - len(self._banks)
        if missing > 0:
            limit = self._limit(small, len(self._banks) + missing)
            for bank in self._banks:
                bank.long_term.shrink(limit)
            self._banks += [Bank(self.network, self._gap, limit) for _ in range(missing)]
        for k, bank in enumerate(self._banks):
            bank.refer(features, one_hot(small, k, self._objects), self._time)

    def _limit(self, small: Tensor, banks: int) -> int:
        """Frames that each of so many banks may keep."""
        tokens = -(-small.shape[0] // STRIDE) * -(-small.shape[1] // STRIDE)
        one = tokens * self._floats_per_token * 4 / 1e6
        return max(1, min(self.settings.memory_frames, int(self.settings.memory_mb / (banks * one))))

    def _remember(self, numbers: np.ndarray) -> None:
        small = self._small(numbers)
        for k, bank in enumerate(self._banks):
            bank.remember(one_hot(small, k, self._objects), self._time)

    def _follow(self, features: list[Tensor]) -> np.ndarray:
        """Numbers ``(H, W)`` int64 of the next frame."""
        if not self._banks:
            return np.zeros(self._shape, np.int64)
        size = _at_most(self._shape, DECODED_SIDE)
        logits = (
            enlarge(bank.follow(features, self._used(k)), size, self._aligned)[0] for k, bank in enumerate(self._banks)
        )
        numbers = merge_banks(logits)
        if size != self._shape:
            numbers = F.interpolate(numbers[None, None].float(), self._shape, mode="nearest")[0, 0].long()
        return numbers.cpu().numpy()


def _at_most(shape: Sequence[int], side: int) -> tuple[int, int]:
    return tuple(min(n, side) for n in shape)
