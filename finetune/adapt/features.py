"""Features of the frozen towers, cached on disk; a training step reads the windows that it needs."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.models.towers.sam import SamFeatures
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.augment import DEFAULT_AUGMENTATION, Augmentation, Window
from lisa_micro_finetune.adapt.data import Item
from lisa_micro_finetune.adapt.plans import AdaptBatch
from lisa_micro_finetune.data.crops import Maps, photometric


@dataclass(frozen=True)
class FeatureSettings:
    """How features are computed and where they are cached.

    Attributes:
        folder: folder of the cache.
        key: identifies the weights of the towers and all else that features depend on.
        device: device to compute on.
        bf16: whether to compute in bfloat16.
        live: whether the SAM tower is trained; its features are then computed in every step, and only those of CLIP
            are cached.
        staged: whether a copy of the SAM tower's top-down path is trained; the features of the encoder are then cached.
        augmentation: geometry of the augmented views.
    """

    folder: Path
    key: str
    device: torch.device
    bf16: bool = False
    live: bool = False
    staged: bool = False
    augmentation: Augmentation = DEFAULT_AUGMENTATION


class FeatureStore:
    """Add the towers' features to batches.

    Args:
        model: the model whose towers compute the features.
        items: images, by their numbers in the batches.
        settings: how features are computed and where they are cached.
    """

    def __init__(self, model: LisaModel, items: list[Item], settings: FeatureSettings):
        self.model, self.items, self.device, self.bf16 = model, items, settings.device, settings.bf16
        self.live, self.staged, self.augmentation = settings.live, settings.staged, settings.augmentation
        self.folder = settings.folder / hashlib.sha256(settings.key.encode()).hexdigest()[:16]
        self._digests: dict[int, str] = {}
        remove_leftovers(self.folder)

    def fill(self, batch: AdaptBatch) -> AdaptBatch:
        """Move a batch to the device and add the features, in place."""
        batch.clip = self._pooled(batch, "clip")
        if self.live:
            batch.images = [self.image(*view).to(self.device) for view in batch.views]
        else:
            batch.sam = self._pooled(batch, "sam")
        batch.ids, batch.labels = batch.ids.to(self.device), batch.labels.to(self.device)
        batch.seg, batch.concept = batch.seg.to(self.device), batch.concept.to(self.device)
        for w in batch.windows:
            w.seg, w.concepts, w.boxes = (t.to(self.device) for t in (w.seg, w.concepts, w.boxes))
            w.maps = Maps(*(t.to(self.device) for t in w.maps))
            if not self.live:
                w.features = self.window(w.item, w.view, w.window)
        return batch

    def image(self, item: int, view: int) -> Tensor:
        """Make a view ``(1, 1, H, W)`` in 0..1: view 0 is the image, others have another geometry and contrast."""
        pixels = self.items[item].pixels.astype(np.float32) / 255
        pixels = self.augmentation(self.items[item], view).pixels(pixels)
        if view:
            # the seed comes from the image's content, so that it is the same in every process and every run
            pixels = photometric(pixels, np.random.default_rng([view, int(self._digest(item)[:8], 16)]), gentle=True)
        return torch.as_tensor(np.ascontiguousarray(pixels, np.float32))[None, None]

    def window(self, item: int, view: int, window: Window) -> SamFeatures | tuple[Tensor, ...]:
        """Read the features of a window, float32 on the device; with ``staged``, those of the encoder."""
        with safe_open(self._file(item, view), "pt") as file:
            names = sorted(name for name in file.keys() if name.startswith(("skip", "stage")))  # noqa: SIM118
            # cells have 16 px; skips are at strides 8, 4, 2, stages at 2, 4, 8, 16, 32
            scales = [(name, 8 / (1 << k) if self.staged else 2 << k) for k, name in enumerate(names)]
            maps = []
            for name, scale in scales if self.staged else [("embedding", 1), *scales]:
                x, y, w, h = (int(scale * v) for v in (window.x0, window.y0, window.w, window.h))
                maps.append(file.get_slice(name)[:, :, y : y + h, x : x + w].float().to(self.device))
        return tuple(maps) if self.staged else SamFeatures(maps[0], tuple(maps[1:]))

    def _pooled(self, batch: AdaptBatch, tower: str) -> Tensor | None:
        """Pooled features ``(B, K, C)`` of each row's view; ``None`` if the language model does not use that tower."""
        projector = self.model.clip_projector if tower == "clip" else self.model.sam_projector
        if projector is None:
            return None
        rows = []
        for view in batch.views:
            with safe_open(self._file(*view), "pt") as file:
                rows.append(file.get_tensor(f"pooled_{tower}").float())
        return torch.stack(rows).to(self.device)

    def _digest(self, item: int) -> str:
        if item not in self._digests:
            pixels = self.items[item].pixels
            digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + str(pixels.shape).encode())
            # views depend on the name, and on whether the text mentions directions
            digest.update(f"{self.items[item].name} {self.items[item].fixed}".encode())
            self._digests[item] = digest.hexdigest()
        return self._digests[item]

    @torch.no_grad()
    def _file(self, item: int, view: int) -> Path:
        """Return the file of a view's features, which is written if it does not exist.

        Raises:
            InputError: the file cannot be written.
        """
        path = self.folder / f"{self._digest(item)[:20]}_{view}.safetensors"
        if path.is_file():
            return path
        cast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with cast:
            sam, clip, _ = self.model.see(self.image(item, view).to(self.device))
        out: dict[str, Tensor] = {}
        if self.model.clip_projector is not None and clip is not None:
            out["pooled_clip"] = self.model.clip_projector.pool(clip)[0]
        if self.model.sam_projector is not None:
            out["pooled_sam"] = self.model.sam_projector.pool(sam.embedding)[0]
        if self.staged:
            out |= {f"stage{k}": stage for k, stage in enumerate(sam.stages)}
        elif not self.live:
            out["embedding"] = sam.embedding
            out |= {f"skip{k}": skip for k, skip in enumerate(sam.skips)}
        out = {name: value.half().cpu().contiguous() for name, value in out.items()}
        # processes that need the same view must not write into one file
        scratch = path.with_name(f"{temporary_prefix()}{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(out, scratch)
            os.replace(scratch, path)
        except Exception as error:  # safetensors raises its own error if the disk is full
            scratch.unlink(missing_ok=True)
            raise InputError(
                f"The features of {self.items[item].name} could not be written to {self.folder}: {error}. Free some "
                "disk space, or choose another folder with --cache."
            ) from error
        return path
