"""Training configurations: YAML files, validated; an unknown key is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.cluster.settings import ClusterSettings
from lisa_micro_finetune.concepts.run import ConceptStage
from lisa_micro_finetune.schedule import Schedule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Simulated(_Strict):
    """Simulated scenes to train on.

    Attributes:
        count: number of scenes.
        seed: seed of the first scene and of the first video; the others follow.
        shape: ``(height, width)`` in px.
        agglomerates: scenes of odd seeds show agglomerates, as those of the evaluation suites do; otherwise the kind of
            every scene is random.
        videos: number of sintering videos, of which six frames each are used.
    """

    count: int = Field(0, ge=0)
    seed: int = 1_000_000
    shape: tuple[int, int] = (384, 384)
    agglomerates: bool = False
    videos: int = Field(0, ge=0)


class VisionStage(_Strict):
    """Train the SAM tower and the mask decoder.

    Attributes:
        crop: settings of :class:`lisa_micro_finetune.data.crops.CropConfig`.
        loss: weights of :class:`lisa_micro_finetune.stages.vision.VisionWeights`.
        embed_dim: channels of the embedding. depth: layers of the mask decoder.
        encoder_lr: learning-rate factor of the pretrained encoder.
        start: folder with weights to start from; ``None``: ImageNet weights in the encoder.
    """

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
    """Train the CLIP tower on captions. encoder_lr: learning-rate factor of the pretrained encoder."""

    stage: Literal["clip"]
    schedule: Schedule
    simulated: Simulated = Simulated()
    encoder_lr: float = 0.3
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class LanguageStage(_Strict):
    """Train the LoRA adapter of the language model, the new tokens and the projectors.

    Attributes:
        rank, alpha, dropout: of the LoRA adapter.
        towers: the towers that feed the language model.
        prompt_weight: weight of the distance of a [SEG] to its class embedding.
        categories, follow_ups, dialogues: which texts are drawn; see
            :func:`lisa_micro.datasets.texts.sample_conversation`. dialogues is the fraction of whole conversations
            written by hand; ``None``: 0.15, or 0 if categories or follow_ups are given.
        views: augmented views per image.
        embed_dim: channels of the SAM embedding. depth: layers of the mask decoder.
        fast_lr: learning-rate factor of projectors and new tokens.
        start: folder with the trained towers and mask decoder.
        adapter: folder of a trained model, from which the adapter, the new tokens and the projectors start.
        projectors: folder whose image-token projectors are used instead.
    """

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


class ProgramStage(_Strict):
    """Train the LoRA adapter of the language model, the new tokens and the projectors on version 2 of the replies.

    Attributes:
        start: model folder with the towers and the mask decoder, which stay, and with the weights to start from.
        image_batch, text_batch: conversations of a step with and without an image.
        longest: largest number of tokens of a conversation.
        picture_share: fraction of the conversations about an image whose words depend on the kind of image.
        composed_share: fraction of the conversations about an image that are composed requests; the others are of
            version 1.
        version_1_share: fraction of the conversations without an image that are of version 1.
        simulated: simulated scenes of particles.
        materials: simulated scenes of each other kind of material.
        views: augmented views per image.
        prompt_weight: weight of the distance of a [SEG] to its class embedding.
        kind_weight: weight of the distance of the image tokens to a word for the kind of image.
        kind_steps: steps in which the projector of the CLIP tower learns that distance alone, before all else.
        back_batch: programs of a step that are followed by the request that they answer.
        back_weight: weight of the cross-entropy of these requests.
        fast_lr: learning-rate factor of projectors and new tokens.
        compiled: whether torch compiles the layers of the language model, which takes minutes and a C++ compiler, and
            makes a step on a CPU with matrix units two to three times as fast.
    """

    stage: Literal["programs"]
    schedule: Schedule
    start: str
    image_batch: int = Field(4, ge=0)
    text_batch: int = Field(16, gt=0)
    longest: int = Field(224, gt=0)
    picture_share: float = Field(0.3, ge=0, le=1)
    composed_share: float = Field(0.2, ge=0, le=1)
    version_1_share: float = Field(0.35, ge=0, le=1)
    simulated: Simulated = Simulated()
    materials: int = Field(0, ge=0)
    views: int = Field(1, gt=0)
    prompt_weight: float = 1.0
    kind_weight: float = Field(0.0, ge=0)
    kind_steps: int = Field(0, ge=0)
    back_batch: int = Field(0, ge=0)
    back_weight: float = Field(0.0, ge=0)
    compiled: bool = False
    fast_lr: float = 3.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class TrackingStage(_Strict):
    """Train a DeAOT on simulated videos.

    Attributes:
        tracker: which DeAOT.
        clip: settings of :class:`lisa_micro_finetune.data.clips.ClipConfig`.
        encoder_weights: file with weights of the encoder, whose batch norm is then frozen.
        encoder_lr: learning-rate factor of the encoder.
        encoder_frozen: number of leading encoder blocks to freeze.
        start: file with weights of the whole network.
    """

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
    "programs": ProgramStage,
    "tracking": TrackingStage,
    "adapt": AdaptStage,
}
CLUSTER = "submitit"
"""Block of a configuration that says how its run becomes a job; any stage may have it."""
TrainingStage = VisionStage | ClipStage | LanguageStage | ProgramStage
"""Stages that train on real images and simulated scenes."""
Stage = VisionStage | ConceptStage | ClipStage | LanguageStage | ProgramStage | TrackingStage | AdaptStage


def override(data: dict[str, Any], setting: str) -> None:
    """Apply one ``KEY=VALUE`` of the command line to a configuration, in place.

    Args:
        data: the configuration as read from YAML.
        setting: a key, with dots between nested keys (``schedule.steps=50``), and a value in YAML.

    Raises:
        InputError: there is no ``=``, or a nested key belongs to a value that is not a block.
    """
    key, equals, value = setting.partition("=")
    *blocks, last = key.strip().split(".")
    if not equals or not last:
        raise InputError(f"--set {setting} is not KEY=VALUE; an example is --set schedule.steps=50.")
    for name in blocks:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {setting}: {name} is not a block of settings.")
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {setting}: the value is not valid YAML.") from error


def read_config(path: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML configuration and apply settings, without validation.

    Raises:
        InputError: a missing file, invalid YAML, or an unknown stage.
    """
    if not path.is_file():
        raise InputError(f"There is no configuration {path}.")
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}.") from error
    for setting in settings if isinstance(data, dict) else ():
        override(data, setting)
    stage = data.get("stage") if isinstance(data, dict) else None
    if stage not in STAGES:
        raise InputError(f"{path}: unknown stage {stage!r}; choose {', '.join(STAGES)}.")
    return data


def load_config(path: Path, settings: Sequence[str] = ()) -> Stage:
    """Read and validate a YAML configuration.

    Args:
        path: the file. Its block ``submitit`` is left to :func:`load_cluster`.
        settings: ``KEY=VALUE`` each; they replace what the file says. See :func:`override`.

    Raises:
        InputError: a missing file, invalid YAML, an unknown key or stage, or a value out of range; every problem is
            listed.
    """
    data = read_config(path, settings)
    data.pop(CLUSTER, None)
    try:
        return STAGES[data["stage"]](**data)
    except ValidationError as error:
        raise InputError(_problems(path, error)) from error


def load_cluster(path: Path, settings: Sequence[str] = ()) -> ClusterSettings:
    """Read and validate the block ``submitit`` of a configuration; without one, the defaults.

    Raises:
        InputError: as :func:`load_config`.
    """
    block = read_config(path, settings).get(CLUSTER) or {}
    try:
        return ClusterSettings.model_validate(block)
    except ValidationError as error:
        raise InputError(_problems(path, error, (CLUSTER,))) from error


def _problems(path: Path, error: ValidationError, block: tuple[str, ...] = ()) -> str:
    lines = [f"{'.'.join(map(str, (*block, *e['loc'])))}: {e['msg']}" for e in error.errors()]
    return f"{path}: " + "; ".join(lines) + "."
