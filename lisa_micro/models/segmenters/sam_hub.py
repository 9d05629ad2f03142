"""SAM 2 and SAM 3 from transformers, by folder or hub name.

SAM 2 is ``Sam2Model``. The part of SAM 3 that points, boxes and masks prompt is ``Sam3TrackerModel``; the detector that
takes words is a different one. Both have the same interface, and both load from the checkpoints of the video models
without their memory.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.checkpoints import misfit, sha256
from lisa_micro.models.hub import fetch, is_hub_name
from lisa_micro.models.lisa.base_lm import quiet
from lisa_micro.models.segmenters.base import Prompts
from lisa_micro.models.segmenters.everything import Everything
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.types import InputError

MODELS = {
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
}
"""``model_type`` of a checkpoint's configuration -> class of transformers that loads it."""
PIXELS = {
    "Sam2Model": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "Sam3TrackerModel": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of pixels in 0..1, for checkpoints that do not give them."""
FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)


class HubSamSegmenter(PromptedSegmenter):
    """SAM 2 or SAM 3 as a promptable segmenter.

    The micrograph is stretched to the model's square input, as by the official processors. A single point gives the
    best of three masks, every other prompt one mask.

    Args:
        name, model, device, weights_sha256: see :class:`lisa_micro.models.segmenters.loop.PromptedSegmenter`.
        mean, std: of pixels in 0..1, three values each.
    """

    settings = Everything(score=0.75, stability=0.85)

    def __init__(
        self,
        name: str,
        model: nn.Module,
        device: torch.device,
        weights_sha256: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ):
        super().__init__(name, model, device, weights_sha256)
        self.mean, self.std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
        self.side = int(model.prompt_encoder.input_image_size)

    def extract(self, pixels: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        square = F.interpolate(pixels, (self.side,) * 2, mode="bilinear", antialias=True, align_corners=False)
        maps = self.model.get_image_embeddings((square.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return maps, self.model.prompt_encoder.mask_input_size

    def answer(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        n, count = prompts.labels.shape
        height, width = self.image.shape
        scale = torch.tensor([self.side / width, self.side / height], device=self.device)
        given: dict[str, Tensor] = {}
        if count:
            given["input_points"] = (torch.from_numpy(prompts.points).float().to(self.device) * scale)[:, None]
            given["input_labels"] = torch.from_numpy(prompts.labels).to(self.device)[:, None]
        if prompts.boxes is not None:
            given["input_boxes"] = (torch.from_numpy(prompts.boxes).float().to(self.device) * scale.repeat(2))[:, None]
        if prompts.masks is not None:
            given["input_masks"] = torch.from_numpy(prompts.masks).to(self.device)[:, None]
            if not count and prompts.boxes is None:  # the model's own substitute for no point fits one prompt only
                given["input_points"] = torch.zeros(n, 1, 1, 2, device=self.device)
                given["input_labels"] = torch.full((n, 1, 1), -1, device=self.device)
        out = self.model(
            # each prompt is passed as an image, so that each can have its own mask prompt
            image_embeddings=[level.expand(n, -1, -1, -1) for level in self.image.features],
            multimask_output=count == 1 and prompts.boxes is None and prompts.masks is None,
            **given,
        )
        quality, logits = out.iou_scores[:, 0], out.pred_masks[:, 0]  # (n, M), (n, M, h, w)
        best = quality.argmax(dim=1, keepdim=True)
        return logits.take_along_dim(best[..., None, None], 1)[:, 0], quality.take_along_dim(best, 1)[:, 0]

    def enlarge(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(logits[:, None], shape, mode="bilinear", align_corners=False)[:, 0]


def hub_segmenter(name: str, source: Path | None, device: torch.device) -> HubSamSegmenter:
    """Load SAM 2 or SAM 3.

    Args:
        name: ``"sam2"`` or ``"sam3"``.
        source: folder written by ``save_pretrained``, or hub name.

    Raises:
        InputError: no source, no network for a hub name, or weights that do not fit.
    """
    if source is None:
        example = {"sam2": "facebook/sam2.1-hiera-tiny", "sam3": "facebook/sam3"}[name]
        raise InputError(f"{name} needs a path or hub name of its weights, for example checkpoint='{example}'.")
    folder = fetched(source)
    kind = _read_json(folder / "config.json").get("model_type")
    if kind not in MODELS or not kind.startswith(name):
        known = ", ".join(sorted(kind for kind in MODELS if kind.startswith(name)))
        raise InputError(
            f"{source} holds a model of type {kind!r}, which is not {name}; one of these types is needed: {known}."
        )
    import transformers

    classes = {"Sam2Model": transformers.Sam2Model, "Sam3TrackerModel": transformers.Sam3TrackerModel}
    with quiet():
        try:
            model, found = classes[MODELS[kind]].from_pretrained(
                folder,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported below, with missing and unexpected weights
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"The weights of {source} cannot be loaded ({reason}); download or save them again."
            ) from error
    shapes = [entry[0] if isinstance(entry, tuple) else entry for entry in found["mismatched_keys"]]
    wrong = misfit(found["missing_keys"], found["unexpected_keys"], shapes)
    if wrong:
        raise InputError(f"The checkpoint does not fit {name}: {wrong}.")
    mean, std = pixel_statistics(folder, MODELS[kind])
    return HubSamSegmenter(name, model, device, weights_digest(folder), mean, std)


def fetched(source: Path) -> Path:
    """The folder of a path or a hub name; see :func:`lisa_micro.models.hub.fetch`.

    Raises:
        InputError: neither a folder nor an available model.
    """
    if source.is_dir():
        if not (source / "config.json").is_file():
            raise InputError(f"{source} is not a model folder: config.json is missing.")
        return source
    if not is_hub_name(source.as_posix()) or source.suffix in (".pt", ".pth", ".safetensors"):
        raise InputError(f"No model folder at {source}; give one written by save_pretrained, or a hub name.")
    with quiet():
        return fetch(source.as_posix(), FILES)


def weights_digest(folder: Path) -> str:
    """sha256 of the file with weights; of several files, of their digests in the order of their names.

    Raises:
        InputError: there is no such file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no safetensors weights; save the model with save_pretrained.")
    digests = [sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def pixel_statistics(folder: Path, model: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in 0..1: from the file of the processor, or else the defaults of the
    model."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            content = _read_json(folder / name)
            settings = content.get("image_processor", content)
            if len(settings.get("image_mean") or ()) == len(settings.get("image_std") or ()) == 3:
                return tuple(settings["image_mean"]), tuple(settings["image_std"])
    return PIXELS[model]


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; download or save the model again.") from error
    return content if isinstance(content, dict) else {}
