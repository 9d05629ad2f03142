"""Training configurations: YAML files, validated, unknown keys refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.concepts.run import ConceptStage
from lisa_micro_finetune.schedule import Schedule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Simulated(_Strict):
    """How many simulated scenes to learn from, and from which seed on. agglomerates: those of odd seeds show
    agglomerates, the others whatever is drawn, as the scenes of the suites; else all show what is drawn. videos:
    how many simulated sintering videos to take six frames of each from, with seeds from ``seed`` on too."""

    count: int = Field(0, ge=0)
    seed: int = 1_000_000
    shape: tuple[int, int] = (384, 384)
    agglomerates: bool = False
    videos: int = Field(0, ge=0)


class VisionStage(_Strict):
    """SAM tower and mask decoder."""

    stage: Literal["vision"]
    schedule: Schedule
    simulated: Simulated = Simulated()
    crop: dict[str, Any] = {}
    loss: dict[str, float] = {}
    embed_dim: int = 192
    depth: int = 2
    encoder_lr: float = 0.3
    start: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class ClipStage(_Strict):
    """CLIP tower against captions."""

    stage: Literal["clip"]
    schedule: Schedule
    simulated: Simulated = Simulated()
    encoder_lr: float = 0.3
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class LanguageStage(_Strict):
    """LoRA of the language model, new tokens, projectors. dialogues: share of whole conversations written by hand; not
    given, 0.15, or 0 where categories or follow_ups are given."""

    stage: Literal["language"]
    schedule: Schedule
    simulated: Simulated = Simulated()
    rank: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    towers: Literal["both", "clip", "sam"] = "both"
    prompt_weight: float = 1.0
    categories: dict[str, float] | None = None
    follow_ups: int | None = Field(None, ge=0)
    dialogues: float | None = Field(None, ge=0, le=1)
    views: int = Field(2, gt=0)
    embed_dim: int = 192
    depth: int = 2
    fast_lr: float = 3.0
    start: str | None = None
    adapter: str | None = None
    projectors: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class TrackingStage(_Strict):
    """A DeAOT on simulated videos. encoder_weights: a file to start the encoder from, whose batch norm is then frozen;
    encoder_frozen: so many of its first blocks do not learn; start: a file to start the whole network from."""

    stage: Literal["tracking"]
    schedule: Schedule
    tracker: Literal["deaot-t", "deaot-s", "deaot-b", "deaot-l", "deaot-r50-l", "deaot-swinb-l"] = "deaot-t"
    clip: dict[str, Any] = {}
    encoder_weights: str | None = None
    encoder_lr: float = 1.0
    encoder_frozen: int = Field(0, ge=0)
    start: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"


STAGES = {
    "vision": VisionStage,
    "concepts": ConceptStage,
    "clip": ClipStage,
    "language": LanguageStage,
    "tracking": TrackingStage,
    "adapt": AdaptStage,
}
Stage = VisionStage | ConceptStage | ClipStage | LanguageStage | TrackingStage | AdaptStage


def override(data: dict[str, Any], setting: str) -> None:
    """Put one ``KEY=VALUE`` of the command line into a configuration, in place.

    Args:
        setting: the key may lead into blocks (``schedule.steps=50``); the value is read as YAML.

    Raises:
        InputError: no ``=``, or the key leads into what is not a block.
    """
    key, equals, value = setting.partition("=")
    *blocks, last = key.strip().split(".")
    if not equals or not last:
        raise InputError(f"--set {setting} is not KEY=VALUE, such as --set schedule.steps=50")
    for name in blocks:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {setting}: {name} is not a block of settings")
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {setting}: the value is not valid YAML") from error


def load_config(path: Path, settings: Sequence[str] = ()) -> Stage:
    """Read and validate a YAML configuration.

    Args:
        settings: ``KEY=VALUE`` each, in place of what the file says; see :func:`override`.

    Raises:
        InputError: missing file, invalid YAML, unknown key or stage, value out of range; one line per problem.
    """
    if not path.is_file():
        raise InputError(f"no configuration at {path}")
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    for setting in settings if isinstance(data, dict) else ():
        override(data, setting)
    stage = data.get("stage") if isinstance(data, dict) else None
    if stage not in STAGES:
        raise InputError(f"{path}: stage must be one of {', '.join(STAGES)}, not {stage!r}")
    try:
        return STAGES[stage](**data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError(f"{path}: " + "; ".join(lines)) from error
