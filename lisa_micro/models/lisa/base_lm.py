"""The base language model of the default preset: conversion of its GGUF file, loading.

:mod:`lisa_micro.models.lisa.base_files` finds the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lisa_micro.models.checkpoints import misfit
from lisa_micro.models.lisa.base_files import (
    INSTALL,
    SMOLLM2,
    Progress,
    complete,
    gguf_file,
    is_ready,
    model_folder,
    packaged_gguf,
    sha256,
)
from lisa_micro.types import InputError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and the advice of transformers, peft and bitsandbytes."""
    from transformers.utils import logging as hf

    advice = logging.getLogger("bitsandbytes")
    former = advice.level
    advice.setLevel(logging.ERROR)
    level, bars = hf.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity(logging.ERROR)
    hf.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            advice.setLevel(former)
            hf.set_verbosity(level)
            if bars:
                hf.enable_progress_bar()


def publish(scratch: Path, folder: Path) -> None:
    """Rename a finished conversion to its final name. If another process has finished first, keep what it wrote, since
    it may be in use."""
    if complete(folder):
        return
    if folder.exists():
        shutil.rmtree(folder)
    try:
        os.replace(scratch, folder)
    except OSError:
        if not complete(folder):
            raise


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file to a transformers folder in bfloat16, written under a temporary name and renamed.

    Raises:
        InputError: the folder cannot be written.
    """
    options: dict[str, Any] = {}
    try:
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(dequantize=True)
    except ImportError:
        # transformers before GgufConfig always dequantises
        pass
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="convert-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"The cache folder {folder.parent} cannot be written: {error.strerror or error}.") from error
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, **options
            )
            tokenizer.save_pretrained(scratch)
            model.save_pretrained(scratch)
        config = json.loads((scratch / "config.json").read_text())
        config.pop("quantization_config", None)
        (scratch / "config.json").write_text(json.dumps(config, indent=2))
        done = {"source": gguf.name, "sha256": sha256(scratch / "model.safetensors")}
        (scratch / "converted.json").write_text(json.dumps(done))
        publish(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prepare(progress: Progress | None = None) -> Path | None:
    """Make sure that the converted base model is in the cache folder; download and convert it where it is not.

    Args:
        progress: called as ``progress(what, done, total)``.

    Returns:
        its folder; None where its file is not to be had, so that the hub is next.

    Raises:
        InputError: see :func:`lisa_micro.models.lisa.base_files.gguf_file`.
    """
    folder = model_folder()
    if complete(folder):
        return folder
    with gguf_file(progress) as gguf:
        if gguf is None:
            return None
        if progress is not None:
            progress("Converting the language model", 0, None)
        convert_gguf(gguf, folder)
    return folder


def locate(name: str = SMOLLM2) -> str:
    """Folder, or hub name, from which transformers loads the base model ``name``; :data:`SMOLLM2` is prepared first."""
    folder = prepare() if name == SMOLLM2 else None
    return name if folder is None else str(folder)


def load_base(
    name: str = SMOLLM2, dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the base language model and its tokenizer.

    Raises:
        InputError: the model is neither on this machine nor can be downloaded, or the cache folder cannot be written.
    """
    try:
        place = locate(name)
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(place)
            model, found = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, output_loading_info=True, **options)
    except InputError:
        raise
    except Exception as error:  # of any kind, for damaged files
        raise _not_loaded(name, error) from error
    # transformers draws tensors that are missing at random, with a warning
    shapes = (key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"])
    wrong = misfit(found["missing_keys"], (), shapes)
    if wrong:
        raise InputError(f"The language model {name} is incomplete: {wrong}.")
    return model, tokenizer


def _not_loaded(name: str, error: Exception) -> InputError:
    if name == SMOLLM2 and not is_ready() and packaged_gguf() is None:
        return InputError(
            f"The language model {name} is not on this machine and could not be downloaded; "
            f"with a network connection run: lisa-micro setup (or: {INSTALL})"
        )
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return InputError(f"The language model {name} could not be loaded: {reason}.")
