"""Settings of ``stage: adapt``; ``finetune/configs/adapt.yaml`` explains every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from lisa_micro_finetune.schedule import Schedule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Learn(_Strict):
    """Which parts learn. YAML's bare ``no`` and ``yes`` are taken too.

    language: a LoRA adapter, one on a base in 4 bits, or nothing. tokens: the rows of the reply language's tokens.
    projections: from the towers to the language model, and from [SEG] to the decoder. decoder: nothing, its heads and
    learnt tokens alone, or all of it. own_decoder: whether what the decoder learns is for concepts that users taught
    alone; ``"auto"``: where the records show labels of no others. tower: nothing of the SAM tower, its top-down path
    (a copy, where the decoder is one of their own), or all of it; ``"auto"``: that copy, else nothing.
    """

    language: Literal["lora", "qlora", "no"] = "lora"
    tokens: bool = True
    projections: bool = True
    decoder: Literal["no", "heads", "all"] = "all"
    own_decoder: Literal["auto", "yes", "no"] = "auto"
    tower: Literal["auto", "no", "last", "all"] = "auto"

    @field_validator("own_decoder", mode="before")
    @classmethod
    def _yaml_choice(cls, value: Any) -> Any:
        return ("yes" if value else "no") if isinstance(value, bool) else value

    @field_validator("language", "decoder", "tower", mode="before")
    @classmethod
    def _yaml_words(cls, value: Any, info) -> Any:
        if value is False:
            return "no"
        if value is True:
            return "lora" if info.field_name == "language" else "all"
        return value

    @model_validator(mode="after")
    def _something(self) -> Learn:
        if not self.seeing and not self.speaking:
            raise ValueError("nothing is to learn; set at least one of language, tokens, projections, decoder, tower")
        if self.own_decoder == "yes" and (self.decoder == "no" or self.tower == "all"):
            raise ValueError("own_decoder: yes goes with a decoder that learns, and not with tower: all")
        return self

    @property
    def speaking(self) -> bool:
        """Whether anything before the decoder learns."""
        return self.language != "no" or self.tokens or self.projections

    @property
    def seeing(self) -> bool:
        """Whether the decoder or the tower learns."""
        return self.decoder != "no" or self.tower in ("last", "all")

    def resolved(self, apart: bool) -> Learn:
        """The same with ``tower`` decided. apart: whether the decoder is one of users' own concepts."""
        if self.tower != "auto":
            return self
        return self.model_copy(update={"tower": "last" if apart else "no"})


class Lora(_Strict):
    """Size of the LoRA adapter (Hu et al. 2021); it lies on the layers on which the base's own does."""

    rank: int = Field(8, gt=0, le=256)
    alpha: int = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)


class Loss(_Strict):
    """Weights of the terms. words: cross-entropy of the reply. prompt: distance of a [SEG]'s prompt embedding to its
    concept's code. mask, distance, border, iou, presence: of the decoder's outputs, for words and boxes together.
    box: how much a box counts beside a [SEG]."""

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

    fast_lr: factor for projectors, new tokens and new class embeddings. seeing_lr: factor for mask decoder and tower.
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
    """The default's own texts on simulated scenes, so that what it knows is kept. share: of the conversations.
    scenes, seed, side: how many scenes, from which seed of the simulator on, and their side in px."""

    share: float = Field(0.3, ge=0, lt=1)
    scenes: int = Field(24, gt=0)
    seed: int = Field(2_000_000, ge=0)
    side: int = Field(384, ge=64, le=1024)


class Judge(_Strict):
    """Before and after. wordings: held-back requests per validation image that has labels. images: of the validation
    part, at most. scenes, requests: simulated scenes and held-back requests on which forgetting is measured."""

    wordings: int = Field(3, ge=0)
    images: int = Field(20, gt=0)
    scenes: int = Field(6, ge=0)
    requests: int = Field(40, ge=0)


class AdaptStage(_Strict):
    """Fine-tuning on one's own records.

    data: folder with ``metadata.jsonl``, or with ``train/`` and ``validation/`` that have one each. validation: a
    folder of its own, or the share of the images that is held back. base: the preset that is tuned. start: an
    adapter to go on from. name: of the adapter. views: how often each image is seen turned, mirrored and in other
    contrast. zoom: the largest factor by which a view is larger or smaller than the image. crop: side in px of what
    the decoder sees of an image in a step. looks: further windows for each conversation, which codes and boxes
    prompt; none where the tower learns. templates: share of the conversations about labelled images that are drawn
    from the default's own requests, all of them where a record has no conversation. longest: tokens of a
    conversation, longer ones are left out.
    """

    stage: Literal["adapt"]
    schedule: AdaptSchedule = AdaptSchedule()
    data: Path | None = None
    validation: Path | float = 0.2
    base: str = "micro"
    start: Path | None = None
    name: str = "adapter"
    learn: Learn = Learn()
    lora: Lora = Lora()
    loss: Loss = Loss()
    replay: Replay = Replay()
    templates: float = Field(0.5, ge=0, le=1)
    views: int = Field(4, gt=0)
    zoom: float = Field(1.0, ge=1, le=2)
    crop: int = Field(288, ge=64)
    looks: int = Field(6, ge=0)
    longest: int = Field(256, gt=32)
    judge: Judge = Judge()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    tensorboard: bool = False

    @field_validator("replay", mode="before")
    @classmethod
    def _share_alone(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("validation")
    @classmethod
    def _part(cls, value: Path | float) -> Path | float:
        if isinstance(value, float) and not 0 <= value < 1:
            raise ValueError("a share of the images lies between 0 and 1")
        return value

    @field_validator("crop")
    @classmethod
    def _cells(cls, value: int) -> int:
        if value % 32:
            raise ValueError("must be a multiple of 32")
        return value
