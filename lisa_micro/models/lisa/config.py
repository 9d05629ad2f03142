"""Configuration of a LISA model: what its folder's ``config.json`` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lisa_micro.language import Concept, Vocabulary
from lisa_micro.language.program.terms import PROGRAM_TOKENS
from lisa_micro.language.words import SPECIAL_TOKENS
from lisa_micro.models.lisa.base_lm import SMOLLM2
from lisa_micro.types import CONCEPTS, InputError

ModelT = TypeVar("ModelT", bound=BaseModel)


class LoraSettings(BaseModel):
    """LoRA adapter of the language model (Hu et al. 2021): on ``modules``, rank, alpha, dropout."""

    model_config = ConfigDict(extra="forbid")
    rank: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def read_config(model: type[ModelT], path: Path, what: str = "a model", fault: str = "") -> ModelT:
    """``config.json`` of a folder as a pydantic model.

    Args:
        what: the kind of folder. fault: what to say of an invalid file before its faults.

    Raises:
        InputError: it is missing or invalid; one line with all faults.
    """
    if not path.is_file():
        raise InputError(f"{path.parent} is not {what} folder: {path.name} is missing")
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        lines = "; ".join(": ".join([*filter(None, [".".join(map(str, e["loc"]))]), e["msg"]]) for e in error.errors())
        raise InputError(f"{path}{fault}: {lines}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


class Confidence(BaseModel):
    """Calibration of the confidence of a reply: logistic in the log-probabilities of its chosen tokens.

    Attributes:
        intercept, total, worst: coefficients of 1, of the sum of the log-probabilities and of the smallest of them.
        agreement: coefficient of the log-probability of what the reply means among the replies that were tried.
        unsure: confidence below which a reply says how the request was understood, and offers another reading.
    """

    model_config = ConfigDict(extra="forbid")
    intercept: float
    total: float
    worst: float
    agreement: float = 0.0
    unsure: float = Field(0.5, ge=0, le=1)


class OwnConcept(BaseModel):
    """A concept that users taught the model: its singular and plural, and whether it comes in countable pieces
    (``"instances"``) or is one ``"region"``."""

    model_config = ConfigDict(extra="forbid")
    nouns: tuple[str, str]
    kind: Literal["instances", "region"] = "instances"


class LisaConfig(BaseModel):
    """Sizes and choices of :class:`lisa_micro.models.lisa.model.LisaModel`.

    Attributes:
        base_lm: hub name or folder of the language model.
        reply_language: version of the reply language that the language model writes; 2 has programs that compose.
        towers: which towers feed the language model. The SAM tower always feeds the mask decoder.
        clip_side, sam_side: image tokens per side of the grid; 3 gives 9 tokens.
        embed_dim: channels of the SAM embedding and of a prompt embedding. depth: layers of the mask decoder.
        seg_state: the hidden state that prompts the decoder: ``"at"`` [SEG], or the position ``"before"`` it.
        work_side: longest side, px, at which the SAM tower sees a micrograph (larger ones are scaled down).
        least_side: micrographs whose longest side is below this are scaled up to it.
        presence_threshold: probability below which a target counts as not there, per concept.
        mask_threshold: probability from which a pixel belongs to a built-in concept beyond the first five, per concept;
            0.5 where none is given.
        built_in: concepts that the mask decoder was shipped with, in the order of its class embeddings.
        concepts: name of each concept that users taught, in the order of the class embeddings behind the built-in ones.
        exemplars: whether the model has an exemplar encoder.
        concept_decoder: whether exemplars and the built-in concepts beyond the reply language's five have a top-down
            path and a mask decoder of their own (``concept_top``, ``concept_head``), so that training them has changed
            nothing for the five and for the image tokens.
        concept_boxes: whether these segment boxes and points too.
        own_decoder: those of them that are outlined by a mask decoder of their own (``own_head``), so that tuning it
            has changed nothing for the others. own_top: whether that decoder sees through a top-down path of its own
            (``own_top``) too.
        confidence: calibration of the confidence of a reply; ``None``: it is not known.
        way_back: among replies that are tried, the weight of the log-probability of the request given the reply; 0
            where the language model did not learn it.
        lora: the adapter.
        trained: what the weights were trained with, for the record.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["lisa-micro"] = "lisa-micro"
    name: str = "micro"
    base_lm: str = SMOLLM2
    reply_language: Literal[1, 2] = 1
    towers: Literal["both", "clip", "sam"] = "both"
    clip_side: int = Field(3, gt=0)
    sam_side: int = Field(3, gt=0)
    embed_dim: int = 192
    depth: int = 2
    seg_state: Literal["at", "before"] = "at"
    work_side: int = Field(640, ge=64, le=1024)
    least_side: int = Field(256, ge=32)
    presence_threshold: dict[str, float] = {}
    mask_threshold: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}
    built_in: tuple[str, ...] = CONCEPTS
    concepts: dict[str, OwnConcept] = {}
    exemplars: bool = False
    concept_decoder: bool = False
    concept_boxes: bool = False
    own_decoder: tuple[str, ...] = ()
    own_top: bool = False
    confidence: Confidence | None = None
    way_back: float = Field(0.0, ge=0)
    lora: LoraSettings = LoraSettings()
    trained: dict = {}

    @model_validator(mode="after")
    def _readable_concepts(self) -> LisaConfig:
        assert self.vocabulary
        if self.built_in[: len(CONCEPTS)] != CONCEPTS or len(set(self.built_in)) < len(self.built_in):
            raise ValueError(f"built_in must begin with {', '.join(CONCEPTS)} and name each concept once")
        fixed = sorted(set(self.mask_threshold) - set(self.built_in[len(CONCEPTS) :]))
        if fixed:
            raise ValueError(f"mask_threshold names {', '.join(fixed)}: no built-in concept beyond the first five")
        strange = sorted(set(self.own_decoder) - self.concepts.keys())
        if strange:
            raise ValueError(f"own_decoder names {', '.join(strange)}, which concepts does not have")
        if self.own_top and not self.own_decoder:
            raise ValueError("own_top goes with own_decoder, which names no concept")
        if self.concept_boxes and not self.concept_decoder:
            raise ValueError("concept_boxes needs concept_decoder")
        return self

    @property
    def vocabulary(self) -> Vocabulary:
        """All concepts that the model knows. One that users taught stands in for a built-in one beyond the first five
        that has its name or its nouns."""
        own = tuple(Concept(name, *c.nouns, c.kind == "instances") for name, c in self.concepts.items())
        if self.reply_language == 1:
            return Vocabulary(own)
        taken = {word.lower() for c in own for word in (c.name, c.singular, c.plural)}
        kept = (
            name for name in self.built_in if name in CONCEPTS or not {name, *Vocabulary.built_in_nouns(name)} & taken
        )
        return Vocabulary(own, tuple(kept))

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokens that the reply language adds to the tokenizer, in their order."""
        return SPECIAL_TOKENS if self.reply_language == 1 else PROGRAM_TOKENS

    @property
    def code_names(self) -> tuple[str, ...]:
        """Names of the class embeddings, in their order: built-in concepts, then those that users taught."""
        return (*self.built_in, *self.concepts)

    def code_number(self, name: str) -> int:
        """Number of a concept's class embedding, -1 where it has none. A concept that users taught goes before a
        built-in one of the same name."""
        taught = tuple(self.concepts)
        if name in taught:
            return len(self.built_in) + taught.index(name)
        return self.built_in.index(name) if name in self.built_in else -1

    @classmethod
    def read(cls, folder: Path) -> LisaConfig:
        """From ``folder/config.json``.

        Raises:
            InputError: missing or invalid.
        """
        return read_config(cls, folder / "config.json")
