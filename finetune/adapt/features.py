"""Features of the frozen towers, computed once and kept on disk; a step reads the windows that it needs."""

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

from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.models.towers.sam import SamFeatures
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.augment import DEFAULT_VIEWS, Views, Window
from lisa_micro_finetune.adapt.data import Item
from lisa_micro_finetune.adapt.plans import AdaptBatch
from lisa_micro_finetune.data.crops import photometric


@dataclass(frozen=True)
class Seeing:
    """How the towers see, and where their features are kept.

    Attributes:
        folder: receives the features.
        key: names the towers' weights and all else that features depend on.
        device: where they are computed. bf16: whether in bfloat16.
        live: whether the SAM tower is trained; then its features are computed in every step and only CLIP's are kept.
        staged: whether a top-down path beside the SAM tower's is trained; then the encoder's features are kept.
        augment: geometry of the augmented views.
    """

    folder: Path
    key: str
    device: torch.device
    bf16: bool = False
    live: bool = False
    staged: bool = False
    augment: Views = DEFAULT_VIEWS


class FeatureStore:
    """Add the towers' features to batches.

    Args:
        model: its towers compute the features.
        items: images by their numbers in the batches.
        seeing: see there.
    """

    def __init__(self, model: LisaModel, items: list[Item], seeing: Seeing):
        self.model, self.items, self.device, self.bf16 = model, items, seeing.device, seeing.bf16
        self.live, self.staged, self.lies = seeing.live, seeing.staged, seeing.augment
        self.folder = seeing.folder / hashlib.sha256(seeing.key.encode()).hexdigest()[:16]
        self._digests: dict[int, str] = {}

    def fill(self, batch: AdaptBatch) -> AdaptBatch:
        """Move a batch to the device, features put in; in place."""
        batch.clip = self._pooled(batch, "clip")
        if self.live:
            batch.images = [self.image(*view).to(self.device) for view in batch.views]
        else:
            batch.sam = self._pooled(batch, "sam")
        batch.ids, batch.labels = batch.ids.to(self.device), batch.labels.to(self.device)
        batch.seg, batch.code = batch.seg.to(self.device), batch.code.to(self.device)
        for look in batch.looks:
            look.seg, look.codes, look.boxes = (t.to(self.device) for t in (look.seg, look.codes, look.boxes))
            look.maps = type(look.maps)(*(t.to(self.device) for t in look.maps))
            if not self.live:
                look.features = self.window(look.item, look.view, look.window)
        return batch

    def image(self, item: int, view: int) -> Tensor:
        """``(1, 1, H, W)`` in 0..1: the first view as it is, others turned, scaled and in other contrast."""
        pixels = self.items[item].pixels.astype(np.float32) / 255
        pixels = self.lies(self.items[item], view).pixels(pixels)
        if view:
            # drawn by the image's content, so that every process and every run sees the same
            pixels = photometric(pixels, np.random.default_rng([view, int(self._digest(item)[:8], 16)]), gentle=True)
        return torch.as_tensor(np.ascontiguousarray(pixels, np.float32))[None, None]

    def window(self, item: int, view: int, window: Window) -> SamFeatures | tuple[Tensor, ...]:
        """Features of a window, float32 on the device; where they are ``staged``, the encoder's."""
        with safe_open(self._file(item, view), "pt") as file:
            kept = sorted(name for name in file.keys() if name.startswith(("skip", "stage")))  # noqa: SIM118
            # cells are of 16 px: skips lie at strides 8, 4, 2, stages at 2, 4, 8, 16, 32
            scales = [(name, 8 / (1 << k) if self.staged else 2 << k) for k, name in enumerate(kept)]
            maps = []
            for name, scale in scales if self.staged else [("embedding", 1), *scales]:
                x, y, w, h = (int(scale * v) for v in (window.x0, window.y0, window.w, window.h))
                maps.append(file.get_slice(name)[:, :, y : y + h, x : x + w].float().to(self.device))
        return tuple(maps) if self.staged else SamFeatures(maps[0], tuple(maps[1:]))

    def _pooled(self, batch: AdaptBatch, tower: str) -> Tensor | None:
        """``(B, K, C)`` of every row's view; ``None`` where the language model does not see through that tower."""
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
            # how a view lies depends on the name, and on whether the text speaks of directions
            digest.update(f"{self.items[item].name} {self.items[item].fixed}".encode())
            self._digests[item] = digest.hexdigest()
        return self._digests[item]

    @torch.no_grad()
    def _file(self, item: int, view: int) -> Path:
        """The file of a view's features, written first where it is not there yet.

        Raises:
            InputError: it cannot be written.
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
        # a name of its own for each process: two that need the same view do not write into each other's file
        scratch = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(out, scratch)
            os.replace(scratch, path)
        except Exception as error:  # safetensors has errors of its own for a full disk
            scratch.unlink(missing_ok=True)
            raise InputError(
                f"the features of {self.items[item].name} could not be kept in {self.folder}: {error}; make room, or "
                "give another folder by --cache"
            ) from error
        return path
