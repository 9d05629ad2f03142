"""Settings of the stage ``adapt``; ``configs/adapt.yaml`` explains every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lisa_micro_finetune.schedule import Schedule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TrainedParts(_Strict):
    """Which parts of the model are trained; the others are frozen. YAML's bare ``no`` and ``yes`` are accepted.

    Attributes:
        language: a LoRA adapter of the language model, one on a base in 4 bits, or nothing.
        tokens: embeddings and outputs of the reply language's tokens.
        projections: projectors from the towers to the language model, and from [SEG] to the mask decoder.
        decoder: all of the mask decoder, its output layers and trained tokens (``"heads"``), or nothing.
        own_decoder: whether a copy of the decoder is trained for custom classes alone; ``"auto"``: if the records have
            labels of custom classes only.
        tower: all of the SAM tower, its top-down path (``"last"``; a copy, if the decoder is one), or nothing;
            ``"auto"``: that copy, else nothing.
    """

    language: Literal["lora", "qlora", "no"] = "lora"
    tokens: bool = True
    projections: bool = True
    decoder: Literal["no", "heads", "all"] = "all"
    own_decoder: Literal["auto", "yes", "no"] = "auto"
    tower: Literal["auto", "no", "last", "all"] = "auto"

    @field_validator("own_decoder", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        return ("yes" if value else "no") if isinstance(value, bool) else value

    @field_validator("language", "decoder", "tower", mode="before")
    @classmethod
    def _no_or_default(cls, value: Any, info: ValidationInfo) -> Any:
        if value is False:
            return "no"
        if value is True:
            return "lora" if info.field_name == "language" else "all"
        return value

    @model_validator(mode="after")
    def _check_parts(self) -> TrainedParts:
        if not self.vision and not self.words:
            raise ValueError("nothing is trained; set at least one of language, tokens, projections, decoder, tower")
        if self.own_decoder == "yes" and (self.decoder == "no" or self.tower == "all"):
            raise ValueError("own_decoder: yes needs a trained decoder and cannot be combined with tower: all")
        return self

    @property
    def words(self) -> bool:
        """Whether any part before the mask decoder is trained."""
        return self.language != "no" or self.tokens or self.projections

    @property
    def vision(self) -> bool:
        """Whether the mask decoder or the SAM tower is trained."""
        return self.decoder != "no" or self.tower in ("last", "all")

    def resolved(self, custom_decoder: bool) -> TrainedParts:
        """Replace ``tower: auto`` by a decision. custom_decoder: whether the decoder is one for custom classes."""
        if self.tower != "auto":
            return self
        return self.model_copy(update={"tower": "last" if custom_decoder else "no"})


class Lora(_Strict):
    """Size of the LoRA adapter (Hu et al. 2021), on the same layers as the adapter of the base."""

    rank: int = Field(8, gt=0, le=256)
    alpha: int = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)


class Loss(_Strict):
    """Weights of the terms of the loss.

    Attributes:
        words: cross-entropy of the reply.
        prompt: distance of a [SEG]'s prompt embedding to the class embedding of its concept.
        mask, distance, border, iou, presence: outputs of the decoder, for all prompts.
        box: weight of a box relative to a [SEG].
    """

    words: float = Field(1.0, ge=0)
    prompt: float = Field(0.3, ge=0)
    mask: float = Field(1.0, ge=0)
    distance: float = Field(1.0, ge=0)
    border: float = Field(0.3, ge=0)
    iou: float = Field(0.2, ge=0)
    presence: float = Field(0.2, ge=0)
    box: float = Field(0.5, ge=0)

    @property
    def decodes(self) -> bool:
        """Whether the mask decoder is run at all."""
        return max(self.mask, self.distance, self.border, self.iou, self.presence) > 0


class AdaptSchedule(Schedule):
    """Schedule of the stage, with learning-rate factors.

    Attributes:
        fast_lr: factor for projectors, new tokens and new class embeddings.
        seeing_lr: factor for mask decoder and SAM tower.
    """

    steps: int = Field(300, gt=0)
    batch_size: int = Field(8, gt=0)
    lr: float = Field(3e-4, gt=0)
    fast_lr: float = Field(1.0, gt=0)
    seeing_lr: float = Field(1.0, gt=0)
    warmup: int = Field(20, ge=0)
    min_lr_ratio: float = Field(0.05, ge=0, le=1, validation_alias=AliasChoices("min_lr_ratio", "final"))
    ema_decay: float = Field(0.98, ge=0, lt=1, validation_alias=AliasChoices("ema_decay", "average"))
    save_every: float = Field(60.0, ge=0)
    log_every: int = Field(5, gt=0)
    workers: int = Field(0, ge=0)


class Replay(_Strict):
    """Replay of the base's own training: built-in texts on simulated scenes.

    Attributes:
        share: fraction of the conversations.
        scenes: number of scenes.
        seed: seed of the first scene.
        side: side of the scenes in px.
    """

    share: float = Field(0.3, ge=0, lt=1)
    scenes: int = Field(24, gt=0)
    seed: int = Field(2_000_000, ge=0)
    side: int = Field(384, ge=64, le=1024)


class EvaluationSettings(_Strict):
    """Evaluation before and after training.

    Attributes:
        wordings: held-out wordings per validation image that has labels.
        images: largest number of validation images.
        scenes, requests: numbers of simulated scenes and of held-out requests on which forgetting is measured.
    """

    wordings: int = Field(3, ge=0)
    images: int = Field(20, gt=0)
    scenes: int = Field(6, ge=0)
    requests: int = Field(40, ge=0)


class AdaptStage(_Strict):
    """Fine-tune a preset on records of the user.

    Attributes:
        data: folder with ``metadata.jsonl``, or with ``train/`` and ``validation/`` that have one each.
        validation: folder of validation records, or the fraction of the images to hold out.
        base: the preset to tune.
        start: adapter to continue from.
        name: name of the adapter.
        learn: which parts are trained.
        templates: fraction of the conversations about labelled images that are drawn from the built-in texts; a record
            without a conversation always uses them.
        views: number of augmented views of each image.
        zoom: largest factor by which a view is larger or smaller than the image.
        crop: side in px of the windows that the decoder segments.
        looks: further windows for each conversation, prompted by class embeddings and boxes; 0 if the SAM tower is
            trained.
        longest: largest number of tokens of a conversation; longer ones are drawn again.
        judge: evaluation before and after training.
        gradient_checkpointing: recompute activations of the language model, which saves memory.
        tensorboard: write curves for TensorBoard.
    """

    stage: Literal["adapt"]
    schedule: AdaptSchedule = AdaptSchedule()
    data: Path | None = None
    validation: Path | float = 0.2
    base: str = "micro"
    start: Path | None = None
    name: str = "adapter"
    learn: TrainedParts = TrainedParts()
    lora: Lora = Lora()
    loss: Loss = Loss()
    replay: Replay = Replay()
    templates: float = Field(0.5, ge=0, le=1)
    views: int = Field(4, gt=0)
    zoom: float = Field(1.0, ge=1, le=2)
    crop: int = Field(288, ge=64)
    looks: int = Field(6, ge=0)
    longest: int = Field(256, gt=32)
    judge: EvaluationSettings = EvaluationSettings()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    tensorboard: bool = False

    @field_validator("replay", mode="before")
    @classmethod
    def _only_share(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("validation")
    @classmethod
    def _check_validation(cls, value: Path | float) -> Path | float:
        if isinstance(value, float) and not 0 <= value < 1:
            raise ValueError("the fraction of held-out images must be between 0 and 1")
        return value

    @field_validator("crop")
    @classmethod
    def _check_crop(cls, value: int) -> int:
        if value % 32:
            raise ValueError("must be a multiple of 32")
        return value
