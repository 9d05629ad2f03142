"""Writes a small random checkpoint in the layout of the official LISA models, from the facts about it: every key is
spelt out here, none is taken from a module of ours."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

CLIP_NAME = "openai/clip-vit-large-patch14"


@dataclass(frozen=True)
class Tiny:
    """Sizes. Those of the official 7B model, in the same order: 4096, 11008, 32, 32; 1024, 4096, 24, 16, 224, 14; 1024,
    16, 1280, 32, 16, 14, (7, 15, 23, 31); 256, 2048, 256, 16."""

    hidden: int = 64
    inner: int = 128
    layers: int = 2
    heads: int = 4
    clip_width: int = 32
    clip_inner: int = 48
    clip_layers: int = 3
    clip_heads: int = 2
    clip_side: int = 28
    clip_patch: int = 7
    sam_side: int = 64
    sam_patch: int = 8
    sam_width: int = 32
    sam_depth: int = 3
    sam_heads: int = 2
    sam_window: int = 3
    sam_global: tuple[int, ...] = (1,)
    dim: int = 32
    decoder_inner: int = 48
    quality_hidden: int = 24
    mask_channels: int = 8

    @property
    def visual_model(self) -> dict:
        """What the project adds to the configuration where SAM is not ViT-H."""
        return {
            "image_size": self.sam_side,
            "patch": self.sam_patch,
            "width": self.sam_width,
            "depth": self.sam_depth,
            "heads": self.sam_heads,
            "global_blocks": list(self.sam_global),
            "window": self.sam_window,
            "decoder_heads": 4,
            "decoder_hidden": self.decoder_inner,
            "quality_hidden": self.quality_hidden,
            "mask_channels": self.mask_channels,
        }


# ------------------------------------------------------------------------------------------------- key names


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def llama_shapes(t: Tiny, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """``model.{embed_tokens,layers,norm}`` and ``lm_head``."""
    shapes = {"model.embed_tokens.weight": (vocabulary, t.hidden)}
    for i in range(t.layers):
        p = f"model.layers.{i}."
        for name in ("q", "k", "v", "o"):
            shapes[f"{p}self_attn.{name}_proj.weight"] = (t.hidden, t.hidden)
        shapes[f"{p}mlp.gate_proj.weight"] = shapes[f"{p}mlp.up_proj.weight"] = (t.inner, t.hidden)
        shapes[f"{p}mlp.down_proj.weight"] = (t.hidden, t.inner)
        shapes[f"{p}input_layernorm.weight"] = shapes[f"{p}post_attention_layernorm.weight"] = (t.hidden,)
    return shapes | {"model.norm.weight": (t.hidden,), "lm_head.weight": (vocabulary, t.hidden)}


def sam_shapes(t: Tiny) -> dict[str, tuple[int, ...]]:
    """``model.visual_model.{image_encoder,prompt_encoder,mask_decoder}``."""
    grid, head, d = t.sam_side // t.sam_patch, t.sam_width // t.sam_heads, t.dim
    e, p, m = (f"model.visual_model.{part}." for part in ("image_encoder", "prompt_encoder", "mask_decoder"))
    shapes: dict[str, tuple[int, ...]] = {
        f"{e}pos_embed": (1, grid, grid, t.sam_width),
        f"{e}patch_embed.proj.weight": (t.sam_width, 3, t.sam_patch, t.sam_patch),
        f"{e}patch_embed.proj.bias": (t.sam_width,),
    }
    for i in range(t.sam_depth):
        b = f"{e}blocks.{i}."
        span = 2 * (grid if i in t.sam_global else t.sam_window) - 1
        shapes |= {f"{b}attn.rel_pos_h": (span, head), f"{b}attn.rel_pos_w": (span, head)}
        shapes |= _norm(f"{b}norm1", t.sam_width) | _norm(f"{b}norm2", t.sam_width)
        shapes |= _linear(f"{b}attn.qkv", t.sam_width, 3 * t.sam_width)
        shapes |= _linear(f"{b}attn.proj", t.sam_width, t.sam_width)
        shapes |= _linear(f"{b}mlp.lin1", t.sam_width, 4 * t.sam_width)
        shapes |= _linear(f"{b}mlp.lin2", 4 * t.sam_width, t.sam_width)
    shapes |= {f"{e}neck.0.weight": (d, t.sam_width, 1, 1), f"{e}neck.2.weight": (d, d, 3, 3)}
    shapes |= _norm(f"{e}neck.1", d) | _norm(f"{e}neck.3", d)

    shapes[f"{p}pe_layer.positional_encoding_gaussian_matrix"] = (2, d // 2)
    for name in (*(f"point_embeddings.{i}" for i in range(4)), "not_a_point_embed", "no_mask_embed"):
        shapes[f"{p}{name}.weight"] = (1, d)
    c = t.mask_channels
    for place, shape in ((0, (c // 4, 1, 2, 2)), (3, (c, c // 4, 2, 2)), (6, (d, c, 1, 1))):
        shapes |= {f"{p}mask_downscaling.{place}.weight": shape, f"{p}mask_downscaling.{place}.bias": shape[:1]}
    shapes |= _norm(f"{p}mask_downscaling.1", c // 4) | _norm(f"{p}mask_downscaling.4", c)

    def attention(name: str, inner: int) -> dict[str, tuple[int, ...]]:
        out = _linear(f"{name}.out_proj", inner, d)
        for part in ("q", "k", "v"):
            out |= _linear(f"{name}.{part}_proj", d, inner)
        return out

    for i in range(2):
        b = f"{m}transformer.layers.{i}."
        shapes |= attention(f"{b}self_attn", d)
        shapes |= attention(f"{b}cross_attn_token_to_image", d // 2)
        shapes |= attention(f"{b}cross_attn_image_to_token", d // 2)
        for k in range(1, 5):
            shapes |= _norm(f"{b}norm{k}", d)
        shapes |= _linear(f"{b}mlp.lin1", d, t.decoder_inner) | _linear(f"{b}mlp.lin2", t.decoder_inner, d)
    shapes |= attention(f"{m}transformer.final_attn_token_to_image", d // 2)
    shapes |= _norm(f"{m}transformer.norm_final_attn", d)
    shapes |= {f"{m}iou_token.weight": (1, d), f"{m}mask_tokens.weight": (4, d)}
    shapes |= {f"{m}output_upscaling.0.weight": (d, d // 4, 2, 2), f"{m}output_upscaling.0.bias": (d // 4,)}
    shapes |= _norm(f"{m}output_upscaling.1", d // 4)
    shapes |= {f"{m}output_upscaling.3.weight": (d // 4, d // 8, 2, 2), f"{m}output_upscaling.3.bias": (d // 8,)}
    for i in range(4):
        for k, (inputs, outputs) in enumerate(((d, d), (d, d), (d, d // 8))):
            shapes |= _linear(f"{m}output_hypernetworks_mlps.{i}.layers.{k}", inputs, outputs)
    q = t.quality_hidden
    for k, (inputs, outputs) in enumerate(((d, q), (q, q), (q, 4))):
        shapes |= _linear(f"{m}iou_prediction_head.layers.{k}", inputs, outputs)
    return shapes


def lisa_shapes(t: Tiny, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """All keys of a checkpoint."""
    between = _linear("model.mm_projector", t.clip_width, t.hidden)
    between |= _linear("model.text_hidden_fcs.0.0", t.hidden, t.hidden)
    between |= _linear("model.text_hidden_fcs.0.2", t.hidden, t.dim)
    return llama_shapes(t, vocabulary) | between | sam_shapes(t)


def clip_shapes(t: Tiny) -> dict[str, tuple[int, ...]]:
    """The vision half of the CLIP folder, which is not part of a checkpoint."""
    v, w = "vision_model.", t.clip_width
    shapes: dict[str, tuple[int, ...]] = {
        f"{v}embeddings.class_embedding": (w,),
        f"{v}embeddings.patch_embedding.weight": (w, 3, t.clip_patch, t.clip_patch),
        f"{v}embeddings.position_embedding.weight": ((t.clip_side // t.clip_patch) ** 2 + 1, w),
    }
    shapes |= _norm(f"{v}pre_layrnorm", w) | _norm(f"{v}post_layernorm", w)
    for i in range(t.clip_layers):
        b = f"{v}encoder.layers.{i}."
        for name in ("q", "k", "v", "out"):
            shapes |= _linear(f"{b}self_attn.{name}_proj", w, w)
        shapes |= _norm(f"{b}layer_norm1", w) | _norm(f"{b}layer_norm2", w)
        shapes |= _linear(f"{b}mlp.fc1", w, t.clip_inner) | _linear(f"{b}mlp.fc2", t.clip_inner, w)
    return shapes


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Values that keep activations near 1: norms around 1, matrices scaled by their inputs."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            values = 0.1 * values + (1 if "norm" in name and name.endswith("weight") else 0)
        elif not any(word in name for word in ("embed", "token", "gaussian", "rel_pos")):
            values = values / values[0].numel() ** 0.5
        state[name] = values
    return state


# ------------------------------------------------------------------------------------------------- tokenizer


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def pieces() -> list[tuple[str, int]]:
    """A small vocabulary in Llama's order: specials, bytes, merged pieces, characters; with SentencePiece's kinds."""
    merged = ["re", "an", "it", "▁it", "is", "▁is", "ure", "▁S", "▁Sure", "nd", "and", "▁and", "th", "the", "▁the"]
    merged += ["le", "cle", "ti", "rti", "pa", "parti", "particle", "▁particle", "US", "ER", "USER", "▁USER"]
    letters = ["▁", *(chr(c) for c in range(33, 127)), "é"]
    special = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    return special + [(f"<0x{b:02X}>", 6) for b in range(256)] + [(p, 1) for p in merged + letters]


def write_sentencepiece(path: Path) -> int:
    """``tokenizer.model`` of :func:`pieces`, byte-pair kind; the number of pieces."""
    out = bytearray()
    for number, (piece, kind) in enumerate(pieces()):
        score = float(-max(0, number - 259))
        body = _message(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + _varint(kind)
        out += _message(1, body)
    out += _message(2, _varint(3 << 3) + _varint(2))  # trainer: byte-pair encoding
    out += _message(3, _message(1, b"identity") + _varint(3 << 3) + _varint(1) + _varint(4 << 3) + _varint(0))
    path.write_bytes(bytes(out))
    return len(pieces())


# ---------------------------------------------------------------------------------------------------- writing


def write_clip(folder: Path, t: Tiny, seed: int) -> dict[str, Tensor]:
    """The CLIP folder as published: both halves in one file, and their configuration."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = random_state(clip_shapes(t), seed)
    count = (t.clip_side // t.clip_patch) ** 2 + 1
    others = {
        "vision_model.embeddings.position_ids": torch.arange(count)[None],
        "visual_projection.weight": torch.zeros(16, t.clip_width),
        "text_model.final_layer_norm.weight": torch.ones(8),
        "logit_scale": torch.tensor(2.0),
    }
    save_file(state | others, folder / "model.safetensors", metadata={"format": "pt"})
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": t.clip_width,
        "intermediate_size": t.clip_inner,
        "num_hidden_layers": t.clip_layers,
        "num_attention_heads": t.clip_heads,
        "image_size": t.clip_side,
        "patch_size": t.clip_patch,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": 16,
    }
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 16, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(config))
    return state


def write_lisa(
    folder: Path,
    t: Tiny = Tiny(),
    seed: int = 6,
    chain: tuple[str, ...] = ("▁Sure", ",", "[SEG]", ".", "</s>"),
    seg_first: bool = False,
    dtype: torch.dtype = torch.float32,
    sam_in_config: bool = True,
) -> dict[str, Tensor]:
    """A checkpoint folder, and the CLIP folder in it.

    Args:
        chain: what the model replies: each token follows the one before it, the first the ``:`` of the prompt.
        seg_first: ids of the added tokens as in LISA-13B-llama2-v1, else as in LISA-7B-v1.
        dtype: of the file. sam_in_config: whether the configuration says SAM's sizes.

    Returns:
        all tensors, those of CLIP with ``vision_model.`` before their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = write_sentencepiece(folder / "tokenizer.model")
    names = ["[SEG]", "<im_start>", "<im_end>"] if seg_first else ["<im_patch>", "<im_start>", "<im_end>", "[SEG]"]
    added = {name: base + number for number, name in enumerate(names)}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "special_tokens_map.json").write_text('{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}')
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "model_max_length": 512}')
    (folder / "generation_config.json").write_text('{"bos_token_id": 1, "eos_token_id": 2}')
    vocabulary = base + len(added)

    state = random_state(lisa_shapes(t, vocabulary), seed)
    for name in state:
        if name.endswith(("o_proj.weight", "down_proj.weight")) and "layers" in name:
            state[name] *= 0.5  # the last token still decides what comes next
        if "hypernetworks" in name and ".layers.2." in name:
            state[name][1::2] = -state[name][::2]  # masks of both signs: features after GELU are mostly positive
        if name.endswith("output_upscaling.3.weight"):
            state[name] *= 4
    ids = {piece: number for number, (piece, _) in enumerate(pieces())} | added
    head, embedding = state["lm_head.weight"], state["model.embed_tokens.weight"]
    head *= 0.05
    for now, then in zip((":", *chain), chain, strict=False):
        head[ids[then]] += embedding[ids[now]] / 4
    state = {name: value.to(dtype) for name, value in state.items()}
    write_shards(folder, state, t)
    config = {
        "_name_or_path": "llava",
        "architectures": ["LISAForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "freeze_mm_mlp_adapter": True,
        "hidden_act": "silu",
        "hidden_size": t.hidden,
        "image_aspect_ratio": "square",
        "image_grid_pinpoints": None,
        "initializer_range": 0.02,
        "intermediate_size": t.inner,
        "max_position_embeddings": 2048,
        "mm_hidden_size": t.clip_width,
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": True,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": CLIP_NAME,
        "model_type": "llava",
        "num_attention_heads": t.heads,
        "num_hidden_layers": t.layers,
        "out_dim": t.dim,
        "pad_token_id": 0,
        "pretrain_mm_mlp_adapter": None,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "train_mask_decoder": True,
        "transformers_version": "4.31.0",
        "tune_mm_mlp_adapter": False,
        "use_cache": False,
        "use_mm_proj": True,
        "vision_tower": CLIP_NAME,
        "vocab_size": vocabulary,
    }
    if sam_in_config:
        config["visual_model"] = t.visual_model
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    clip = write_clip(folder / CLIP_NAME.split("/")[1], t, seed + 1)
    return {name: value.float() for name, value in state.items()} | clip


def write_shards(folder: Path, state: dict[str, Tensor], t: Tiny) -> None:
    """Two ``.bin`` shards with their index, and the buffers that transformers of 2023 wrote."""
    frequencies = 1.0 / 10000 ** (torch.arange(0, t.hidden // t.heads, 2).float() / (t.hidden // t.heads))
    whole = dict(state)
    for i in range(t.layers):
        whole[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = frequencies.clone()
    names = list(whole)
    files = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    places = {name: files[number >= len(names) // 2] for number, name in enumerate(names)}
    for file in files:
        torch.save({name: whole[name].clone() for name in names if places[name] == file}, folder / file)
    size = sum(value.numel() * value.element_size() for value in whole.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
