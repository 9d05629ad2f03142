"""What a benchmark is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lisa_micro.types import InputError

NAMES = ("yolo", "swin-unet", "vmamba", "efficient-sam", "micro")
"""What can be asked for, in the order of the paper's table; micro is not trained."""
MICRO, RECIPE = "micro", "recipe"


def check_names(text: str | None) -> tuple[str, ...]:
    """Names of models as typed, with commas between; all where None.

    Raises:
        InputError: an unknown name, or none.
    """
    if text is None:
        return NAMES
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        what = f"no model called {unknown[0]!r}" if unknown else "no model was named"
        raise InputError(f"{what}; there are: {', '.join(NAMES)}")
    return names


@dataclass(frozen=True)
class Settings:
    """One benchmark.

    Attributes:
        folder: images and masks. test: another folder to judge on, or None.
        models: names. out: folder for the report. work: folder for checkpoints and what is done already.
        minutes: of training a model. steps: of training, instead of minutes.
        batch, resolution: instead of each model's own; None: its own.
        tile: side of what a model sees at once, px of the image.
        share: of the images that is held out, 0..1.
        seed: of weights, tiles and the division. device, precision: as in ``lisa_micro.models.device``,
            ``lisa_micro_finetune.precision``.
        threads: of torch on the CPU; 0: its own choice.
        checkpoint: EfficientSAM's weights, or None. preset: of LISA-micro. prompt: what it is asked.
        fresh: throw away what ``work`` holds.
        left_out: which model is not compared, and why, for the report; None: all that were asked for are.
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
        """Raises:
        InputError: a value out of range.
        """
        if self.steps is None and not 0 < self.minutes < 1e5:
            raise InputError(f"--minutes must be above 0, not {self.minutes:g}")
        for name, value, least in (
            ("steps", self.steps, 1),
            ("batch", self.batch, 1),
            ("tile", self.tile, 32),
            ("seed", self.seed, 0),
            ("threads", self.threads, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"--{name} must be at least {least}, not {value}")
        if self.resolution is not None and (self.resolution < 32 or self.resolution % 32):
            raise InputError(f"--resolution must be a multiple of 32 px, not {self.resolution}")
        if not 0 < self.share < 1:
            raise InputError(f"--share must be between 0 and 1, not {self.share:g}")

    def training(self, data: dict[str, Any]) -> dict[str, Any]:
        """What a trained model depends on, as plain values: a run goes on only where they are the same.

        Args:
            data: what tells one set of images from another.
        """
        keys = ("minutes", "steps", "batch", "resolution", "tile", "seed", "checkpoint", "device", "precision")
        values = {key: asdict(self)[key] for key in keys}
        if self.steps is not None:
            values["minutes"] = None
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()} | data
