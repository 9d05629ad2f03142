"""LISA models that load themselves by name and save themselves into a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.models.checkpoints import save_module
from lisa_micro.models.lisa import model as wiring
from lisa_micro.models.lisa.adapter import find_preset, load_states, read_parts, readable
from lisa_micro.models.lisa.build import ALL_PARTS, add_lora_weights, build_lisa
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class LisaModel(wiring.LisaModel):
    """A :class:`lisa_micro.models.lisa.model.LisaModel` from a preset or a model folder.

    Attributes:
        tokenizer: with the tokens of the reply language.
        lora: LoRA weights that were merged into the language model, as peft names them.

    Examples:
        >>> model = LisaModel.from_pretrained("micro")  # doctest: +SKIP
        >>> model.save_pretrained("my-model")  # doctest: +SKIP
    """

    tokenizer: PreTrainedTokenizerBase
    lora: dict[str, torch.Tensor]

    @classmethod
    def from_pretrained(cls, name: str | Path, dtype: torch.dtype = torch.float32) -> LisaModel:
        """Load a model on the CPU, in evaluation mode, its LoRA adapter merged.

        Args:
            name: the shipped preset (``"micro"``), a model folder (a full preset, or an adapter, which is applied to
                its base), or a name on the hub.
            dtype: of the language model; all other parts are float32.

        Raises:
            InputError: no such model, or parts that are missing or do not fit.
        """
        folder = find_preset(str(name))
        parts = read_parts(folder)
        if parts.lora is None:
            raise InputError(f"No weights at {folder / 'lora.safetensors'}; give the folder of a full model.")
        built, tokenizer = build_lisa(parts.config, dtype, lora=False)
        load_states(built, parts, folder)
        add_lora_weights(built.language, parts.lora, parts.config.lora, str(folder))
        model = cls(built.config, **dict(built.named_children()))
        model.tokenizer, model.lora = tokenizer, parts.lora
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> list[Path]:
        """Write a model folder that :meth:`from_pretrained` and :func:`lisa_micro.load_assistant` read.

        All parts but the language model are written as they are. Of the language model the LoRA adapter is written that
        it was loaded with; other changes of its weights are not. The folder appears complete or not at all.

        Args:
            folder: one that does not exist yet, or is empty.

        Returns:
            the files written.

        Raises:
            InputError: the folder holds files.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is not empty; give another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        scratch = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=folder.parent))
        try:
            for name, module in self.named_children():
                if name in ALL_PARTS:
                    save_module(module.state_dict(), scratch / f"{name}.safetensors", torch.float32)
            save_module(self.lora, scratch / "lora.safetensors", torch.float32)
            (scratch / "config.json").write_text(self.config.model_dump_json(indent=2), encoding="utf-8")
            readable(scratch)
            if folder.exists():
                folder.rmdir()
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return sorted(folder.iterdir())
