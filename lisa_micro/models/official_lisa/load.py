"""Load official LISA checkpoints: every key is checked before anything is built, then each part is loaded in its
precision."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lisa_micro.extras import missing_extra
from lisa_micro.models.checkpoints import check_fit
from lisa_micro.models.device import fast_bf16
from lisa_micro.models.hub import WEIGHTS, fetch, is_hub_name
from lisa_micro.models.lisa.base_lm import quiet
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.projector import SegProjector
from lisa_micro.models.official_lisa.checkpoint import PARTS, read_checkpoint, split
from lisa_micro.models.official_lisa.model import OfficialLisa, PatchProjector, SamMaskHead, build_sam
from lisa_micro.models.official_lisa.prompt import OfficialTokenizer
from lisa_micro.models.official_lisa.settings import OfficialConfig, SamSizes
from lisa_micro.models.towers.clip import VitClipTower
from lisa_micro.models.towers.sam import VitSamTower
from lisa_micro.types import InputError

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "8bit", "4bit")
"""Precisions of the language model; all other parts are float32."""

LARGE = 2_000_000_000
"""Number of weights above which a language model is kept in bfloat16 on a CPU even where that is slower: float32 would
not fit into the memory of most machines."""


@dataclass(frozen=True)
class Loaded:
    """Result of :func:`load_official`.

    Attributes:
        model: on its device, in evaluation mode.
        tokenizer: of the checkpoint.
        config: of the checkpoint.
        precision: of the language model, one of :data:`PRECISIONS` other than ``"auto"``.
    """

    model: OfficialLisa
    tokenizer: OfficialTokenizer
    config: OfficialConfig
    precision: str


def choose_precision(name: str, device: torch.device, weights: int) -> str:
    """Choose the precision of the language model.

    ``"auto"`` is bfloat16 where that is fast, half precision on other GPUs, and on other CPUs float32 up to
    :data:`LARGE` weights and bfloat16 above.

    Args:
        name: one of :data:`PRECISIONS`.
        weights: number of weights of the language model.

    Raises:
        InputError: an unknown precision.
    """
    if name not in PRECISIONS:
        raise InputError(f"Unknown precision {name!r}; choose one of {', '.join(PRECISIONS)}.")
    if name != "auto":
        return name
    if fast_bf16(device):
        return "bf16"
    if device.type != "cpu":
        return "fp16"
    return "bf16" if weights > LARGE else "fp32"


def quantisation(precision: str, device: torch.device) -> tuple[torch.dtype, Any]:
    """Data type of the language model, and quantisation settings for transformers (``None``: not quantised).

    4-bit is NF4 with quantised scales, as in official LISA. In both modes transformers does not quantise ``lm_head``.

    Raises:
        InputError: bitsandbytes is not installed.
    """
    plain = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision in plain:
        return plain[precision], None
    # it warns at every layer and every token that inputs are cast, and advises a package that would download
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise missing_extra(f"Precision {precision}", "bitsandbytes") from error
    from transformers import BitsAndBytesConfig

    if device.type == "cpu":
        compute = torch.bfloat16 if fast_bf16(device) else torch.float32
    else:
        compute = torch.bfloat16 if fast_bf16(device) and precision == "4bit" else torch.float16
    if precision == "8bit":
        return compute, BitsAndBytesConfig(load_in_8bit=True)
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return compute, settings


def load_clip(config: OfficialConfig, folder: Path) -> VitClipTower:
    """Load the CLIP vision tower in float32: from a folder of its name in or beside the checkpoint, by path, or from
    the hub.

    Raises:
        InputError: it is not available, incomplete, or of another width than the checkpoint needs.
    """
    from transformers import CLIPVisionModel

    name = config.mm_vision_tower
    short = Path(name).name
    places = (folder / short, folder.parent / short, Path(name))
    place = next((p for p in places if (p / "config.json").is_file()), None)
    if place is None:
        if not is_hub_name(name):
            raise InputError(f"No CLIP tower at {name}, which {folder / 'config.json'} names; put its folder there.")
        try:
            place = fetch(name, ("config.json", "model.safetensors"))
        except InputError as error:
            raise InputError(
                f"The CLIP tower {name}, which is not part of a LISA checkpoint, could not be downloaded; "
                f"put its folder at {folder / short}, or connect to a network once."
            ) from error
    try:
        with quiet():
            vision, report = CLIPVisionModel.from_pretrained(place, dtype=torch.float32, output_loading_info=True)
    except Exception as error:  # transformers and safetensors have errors of their own
        raise InputError(f"The CLIP tower in {place} could not be loaded; download it again.") from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"The CLIP tower in {place} lacks {len(missing)} weights ({', '.join(missing[:4])}); download it again."
        )
    if vision.config.hidden_size != config.mm_hidden_size:
        raise InputError(
            f"The CLIP tower {name} has width {vision.config.hidden_size}, "
            f"but the checkpoint needs {config.mm_hidden_size}."
        )
    return VitClipTower(vision, config.mm_vision_select_layer)


def _skeletons(config: OfficialConfig) -> dict[str, nn.Module]:
    """All parts without weights, by name as in :func:`split`."""
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return {
            "language": LlamaForCausalLM(config.llama()),
            "sam": build_sam(config),
            "projector": PatchProjector(config.mm_hidden_size, config.hidden_size),
            "seg": SegProjector(config.hidden_size, config.out_dim),
        }


def _fill(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Load checked weights, as float32, into a module without weights."""
    weights = {name: value.to(torch.float32, copy=True) for name, value in state.items()}
    module.load_state_dict(weights, strict=True, assign=True)
    return module.requires_grad_(False).eval()


def _language(config: OfficialConfig, state: dict[str, Tensor], precision: str, device: torch.device) -> nn.Module:
    from transformers import LlamaForCausalLM

    dtype, settings = quantisation(precision, device)
    with quiet():
        language = LlamaForCausalLM.from_pretrained(
            None,
            config=config.llama(),
            state_dict=state,
            dtype=dtype,
            quantization_config=settings,
            device_map={"": str(device)},
        )
    for parameter in language.parameters():
        if parameter.is_floating_point() and parameter.device.type == "cpu":
            # a copy of the mapped file: replacing the checkpoint on disk must not change the model
            parameter.data = parameter.data.clone()
    return language.requires_grad_(False).eval()


def load_official(
    name: str | Path, device: torch.device | str = "cpu", precision: str = "auto", sam: SamSizes | None = None
) -> Loaded:
    """Load a LISA checkpoint in the official layout.

    Args:
        name: folder, or name on the hub (``xinlai/LISA-7B-v1``).
        device: where to run.
        precision: of the language model, one of :data:`PRECISIONS`.
        sam: sizes of SAM; ``None``: those in the configuration, or ViT-H.

    Raises:
        InputError: it is not available, or not exactly such a checkpoint; missing and unexpected keys are named.
    """
    device = torch.device(device)
    folder = Path(name)
    if not folder.is_dir():
        if not is_hub_name(str(name)):
            raise InputError(f"No folder {name}; give the folder of a LISA checkpoint, or its name on the hub.")
        folder = fetch(str(name), WEIGHTS)
    config = OfficialConfig.read(folder)
    if sam is not None:
        config = config.model_copy(update={"visual_model": sam})
    tokenizer = OfficialTokenizer.read(folder, config.vocab_size, config.bos_token_id, config.eos_token_id)
    state = read_checkpoint(folder)
    parts = _skeletons(config)
    expected = {PARTS.get(p, "") + n: value for p, module in parts.items() for n, value in module.state_dict().items()}
    check_fit(expected, state, f"LISA as {folder / 'config.json'} describes it")
    states = split(state)
    clip = load_clip(config, folder)
    precision = choose_precision(precision, device, sum(value.numel() for value in states["language"].values()))
    language = _language(config, states["language"], precision, device)
    image_encoder, prompt_encoder, mask_decoder = _fill(parts["sam"], states["sam"]).values()
    model = OfficialLisa(
        LisaConfig(
            name=str(name),
            base_lm=str(name),
            towers="clip",
            clip_side=clip.size // clip.vision.config.patch_size,
            embed_dim=config.out_dim,
            depth=config.visual_model.decoder_depth,
            seg_state="before",
            work_side=max(64, min(1024, config.visual_model.image_size)),
        ),
        VitSamTower(image_encoder),
        SamMaskHead(prompt_encoder, mask_decoder),
        language,
        _fill(parts["seg"], states["seg"]),
        clip.requires_grad_(False),
        _fill(parts["projector"], states["projector"]),
    )
    for part in (model.sam_tower, model.mask_head, model.seg_projector, model.clip_tower, model.clip_projector):
        part.to(device)  # the language model is there already; one in 4 or 8 bits must not be moved
    return Loaded(model.eval(), tokenizer, config, precision)
