"""The ``config.json`` of an official LISA checkpoint (dvlab-research/LISA, v1 and explanatory).

It is the configuration of a Llama model with entries of LLaVA and LISA. It does not hold the sizes of SAM, because all
official models have SAM ViT-H; a checkpoint with another SAM gives them under ``visual_model``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lisa_micro.types import InputError

if TYPE_CHECKING:
    from transformers import LlamaConfig

OFFICIAL = (
    "xinlai/LISA-7B-v1",
    "xinlai/LISA-7B-v1-explanatory",
    "xinlai/LISA-13B-llama2-v1",
    "xinlai/LISA-13B-llama2-v1-explanatory",
)
"""Hub names of the published checkpoints."""


class SamSizes(BaseModel):
    """Sizes of a SAM; the defaults are those of ViT-H.

    Attributes:
        image_size, patch: px.
        width, depth, heads: of the image encoder.
        global_blocks: blocks of the image encoder with attention over the whole image.
        window: side, in patches, of the windows within which the other blocks attend.
        decoder_depth, decoder_heads, decoder_hidden, quality_hidden: of the mask decoder.
        mask_channels: of the mask path of the prompt encoder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    image_size: int = Field(1024, gt=0)
    patch: int = Field(16, gt=0)
    width: int = Field(1280, gt=0)
    depth: int = Field(32, gt=0)
    heads: int = Field(16, gt=0)
    global_blocks: tuple[int, ...] = (7, 15, 23, 31)
    window: int = Field(14, gt=0)
    decoder_depth: int = Field(2, gt=0)
    decoder_heads: int = Field(8, gt=0)
    decoder_hidden: int = Field(2048, gt=0)
    quality_hidden: int = Field(256, gt=0)
    mask_channels: int = Field(16, gt=0)

    @model_validator(mode="after")
    def _divisible(self) -> SamSizes:
        if self.image_size % self.patch or self.width % self.heads:
            raise ValueError("image_size must be a multiple of patch, and width of heads")
        return self


class OfficialConfig(BaseModel):
    """The entries of the file that are used, by their names in the file; others are ignored.

    Attributes:
        hidden_size ... eos_token_id: of the language model, as in transformers' ``LlamaConfig``.
        mm_vision_tower: hub name or folder of the CLIP vision tower, which is not in the checkpoint.
        mm_hidden_size: width of that tower.
        mm_vision_select_layer: the layer of that tower whose features are used.
        out_dim: channels of a prompt embedding of SAM.
        visual_model: sizes of SAM.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    model_type: Literal["llava"]
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int | None = None
    vocab_size: int = Field(gt=0)
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: None = None
    hidden_act: str = "silu"
    tie_word_embeddings: Literal[False] = False
    bos_token_id: int = 1
    eos_token_id: int = 2
    mm_vision_tower: str = "openai/clip-vit-large-patch14"
    mm_hidden_size: int = 1024
    mm_vision_select_layer: int = -2
    mm_vision_select_feature: Literal["patch"] = "patch"
    mm_use_im_start_end: Literal[True] = True
    out_dim: int = Field(256, gt=0)
    visual_model: SamSizes = SamSizes()

    @classmethod
    def read(cls, folder: Path) -> OfficialConfig:
        """Read ``folder/config.json``.

        Raises:
            InputError: it is missing, or not that of an official checkpoint.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise InputError(f"{folder} is not a LISA checkpoint: config.json is missing.")
        try:
            return cls.model_validate_json(path.read_text())
        except ValidationError as error:
            lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise InputError(f"{path} is not the configuration of an official LISA checkpoint: {lines}.") from error

    def llama(self) -> LlamaConfig:
        """Configuration of the language model for transformers."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads or self.num_attention_heads,
            hidden_act=self.hidden_act,
            max_position_embeddings=self.max_position_embeddings,
            rms_norm_eps=self.rms_norm_eps,
            rope_theta=self.rope_theta,
            bos_token_id=self.bos_token_id,
            eos_token_id=self.eos_token_id,
            tie_word_embeddings=False,
        )


def looks_official(folder: Path) -> bool:
    """Whether ``folder/config.json`` is that of a LLaVA-based checkpoint and not one of this project."""
    try:
        content: Any = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("model_type") == "llava" and "kind" not in content
