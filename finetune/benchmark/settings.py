"""Settings of a benchmark."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lisa_micro.types import InputError

NAMES = ("yolo", "swin-unet", "vmamba", "efficient-sam", "micro")
"""Names of all models, in the order of the paper's table; micro is not trained."""
MICRO, RECIPE = "micro", "recipe"


def check_names(text: str | None) -> tuple[str, ...]:
    """Split names of models that are separated by commas; ``None`` means all models.

    Raises:
        InputError: an unknown name, or no name.
    """
    if text is None:
        return NAMES
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        what = f"unknown model {unknown[0]!r}" if unknown else "no model was named"
        raise InputError(f"--models: {what}; choose from {', '.join(NAMES)}.")
    return names


@dataclass(frozen=True)
class Settings:
    """Settings of one benchmark.

    Attributes:
        folder: folder of images and masks.
        models: names of the models.
        out: folder for the report.
        work: folder for checkpoints and finished models.
        test: another folder to evaluate on, or None.
        minutes: training time of each model.
        steps: training steps, instead of minutes.
        batch, resolution: override those of each model.
        tile: side of a tile, px of the image.
        share: fraction of the images to hold out, 0..1.
        seed: seed of weights, tiles and the split.
        device: see :func:`lisa_micro.models.device.pick_device`.
        precision: see :func:`lisa_micro_finetune.precision.use_bf16`.
        threads: CPU threads; 0: torch's default.
        checkpoint: file with EfficientSAM's weights, or None.
        preset: preset of LISA-micro.
        prompt: request to LISA-micro.
        fresh: delete what ``work`` contains.
        left_out: which model is left out and why, for the report; None: no model.
    """

    folder: Path
    models: tuple[str, ...]
    out: Path
    work: Path
    test: Path | None = None
    minutes: float = 20.0
    steps: int | None = None
    batch: int | None = None
    resolution: int | None = None
    tile: int = 512
    share: float = 0.2
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    checkpoint: Path | None = None
    preset: str = "micro"
    prompt: str = "segment all particles"
    fresh: bool = False
    left_out: str | None = None

    def check(self) -> None:
        """Check all values.

        Raises:
            InputError: a value is out of range.
        """
        if self.steps is None and not 0 < self.minutes < 1e5:
            raise InputError(f"--minutes is {self.minutes:g}; it must be above 0.")
        for name, value, least in (
            ("steps", self.steps, 1),
            ("batch", self.batch, 1),
            ("tile", self.tile, 32),
            ("seed", self.seed, 0),
            ("threads", self.threads, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"--{name} is {value}; it must be at least {least}.")
        if self.resolution is not None and (self.resolution < 32 or self.resolution % 32):
            raise InputError(f"--resolution is {self.resolution} px; it must be a multiple of 32.")
        if not 0 < self.share < 1:
            raise InputError(f"--share is {self.share:g}; it must be between 0 and 1.")

    def training(self, data: dict[str, Any]) -> dict[str, Any]:
        """Settings that a trained model depends on, as plain values; a run is resumed only if they are the same.

        Args:
            data: entries that identify the training images.
        """
        keys = ("minutes", "steps", "batch", "resolution", "tile", "seed", "checkpoint", "device", "precision")
        values = {key: asdict(self)[key] for key in keys}
        if self.steps is not None:
            values["minutes"] = None
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()} | data
