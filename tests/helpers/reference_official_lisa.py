"""The published equations of LISA restated on bare tensors: Llama, CLIP ViT, SAM, and how LISA joins them.

Nothing of the package and no module of a library is used, so that an error in either shows. ``w`` is the dictionary of
:func:`official_lisa_layout.write_lisa`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

W = dict[str, Tensor]


def lin(w: W, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: W, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def channel_norm(w: W, name: str, x: Tensor) -> Tensor:
    return norm(w, name, x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """``(..., T, C)`` -> ``(..., heads, T, C / heads)``."""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)
    return (weights @ v).transpose(-2, -3).flatten(-2)


# ------------------------------------------------------------------------------------------------------ Llama


def rms(w: W, name: str, x: Tensor) -> Tensor:
    return w[f"{name}.weight"] * x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()


def rotate(x: Tensor) -> Tensor:
    """Rotary positions: the two halves of a head turn against each other."""
    length, width = x.shape[-2:]
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    first, second = x.chunk(2, -1)
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def llama(w: W, x: Tensor, layers: int, heads: int) -> Tensor:
    """Embeddings ``(T, C)`` -> states after the final norm."""
    causal = torch.full((len(x), len(x)), float("-inf")).triu(1)
    for i in range(layers):
        p = f"model.layers.{i}."
        y = rms(w, f"{p}input_layernorm", x)
        q, k, v = (heads_of(lin(w, f"{p}self_attn.{n}_proj", y), heads) for n in "qkv")
        x = x + lin(w, f"{p}self_attn.o_proj", attend(rotate(q), rotate(k), v, causal))
        y = rms(w, f"{p}post_attention_layernorm", x)
        x = x + lin(w, f"{p}mlp.down_proj", F.silu(lin(w, f"{p}mlp.gate_proj", y)) * lin(w, f"{p}mlp.up_proj", y))
    return rms(w, "model.norm", x)


# ------------------------------------------------------------------------------------------------------- CLIP


def clip_patches(w: W, image: Tensor, layers: int, heads: int, patch: int) -> Tensor:
    """``(1, 3, S, S)`` -> output of the last layer but one, class token dropped, ``(N, C)``."""
    v = "vision_model."
    x = F.conv2d(image, w[f"{v}embeddings.patch_embedding.weight"], stride=patch)[0].flatten(1).T
    x = torch.cat([w[f"{v}embeddings.class_embedding"][None], x]) + w[f"{v}embeddings.position_embedding.weight"]
    x = norm(w, f"{v}pre_layrnorm", x, 1e-5)
    for i in range(layers - 1):
        p = f"{v}encoder.layers.{i}."
        y = norm(w, f"{p}layer_norm1", x, 1e-5)
        q, k, val = (heads_of(lin(w, f"{p}self_attn.{n}_proj", y), heads) for n in "qkv")
        x = x + lin(w, f"{p}self_attn.out_proj", attend(q, k, val))
        y = lin(w, f"{p}mlp.fc1", norm(w, f"{p}layer_norm2", x, 1e-5))
        x = x + lin(w, f"{p}mlp.fc2", y * (1.702 * y).sigmoid())
    return x[1:]


# -------------------------------------------------------------------------------------------------------- SAM

E, P, M = (f"model.visual_model.{part}." for part in ("image_encoder", "prompt_encoder", "mask_decoder"))


def relative(table: Tensor, size: int) -> Tensor:
    """``(2 size - 1, C)`` -> ``(size, size, C)``: entry of the distance from key to query."""
    return table[torch.arange(size)[:, None] - torch.arange(size) + size - 1]


def sam_attention(w: W, name: str, x: Tensor, heads: int) -> Tensor:
    """``(B, S, S, C)``; positions enter through the unscaled query."""
    b, s, _, c = x.shape
    q, k, v = lin(w, f"{name}qkv", x.flatten(1, 2)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    grid = q.unflatten(2, (s, s))
    rows = torch.einsum("bhyxc,ykc->bhyxk", grid, relative(w[f"{name}rel_pos_h"], s))
    columns = torch.einsum("bhyxc,xkc->bhyxk", grid, relative(w[f"{name}rel_pos_w"], s))
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
    return lin(w, f"{name}proj", attend(q, k, v, bias)).reshape(b, s, s, c)


def windowed(w: W, name: str, x: Tensor, heads: int, window: int) -> Tensor:
    side = x.shape[1]
    missing = -side % window
    padded = F.pad(x, (0, 0, 0, missing, 0, missing))
    out = torch.zeros_like(padded)
    for row in range(0, side + missing, window):
        for column in range(0, side + missing, window):
            place = (slice(None), slice(row, row + window), slice(column, column + window))
            out[place] = sam_attention(w, name, padded[place], heads)
    return out[:, :side, :side]


def sam_encoder(w: W, image: Tensor, t) -> Tensor:
    """``(1, 3, S, S)`` -> ``(1, D, S / patch, S / patch)``."""
    x = F.conv2d(image, w[f"{E}patch_embed.proj.weight"], w[f"{E}patch_embed.proj.bias"], stride=t.sam_patch)
    x = x.permute(0, 2, 3, 1) + w[f"{E}pos_embed"]
    for i in range(t.sam_depth):
        b = f"{E}blocks.{i}."
        y = norm(w, f"{b}norm1", x, 1e-6)
        if i in t.sam_global:
            x = x + sam_attention(w, f"{b}attn.", y, t.sam_heads)
        else:
            x = x + windowed(w, f"{b}attn.", y, t.sam_heads, t.sam_window)
        x = x + lin(w, f"{b}mlp.lin2", F.gelu(lin(w, f"{b}mlp.lin1", norm(w, f"{b}norm2", x, 1e-6))))
    x = channel_norm(w, f"{E}neck.1", F.conv2d(x.permute(0, 3, 1, 2), w[f"{E}neck.0.weight"]))
    return channel_norm(w, f"{E}neck.3", F.conv2d(x, w[f"{E}neck.2.weight"], padding=1))


def code(w: W, points: Tensor) -> Tensor:
    """Points ``(..., 2)``, x and y in 0..1 -> ``(..., D)``."""
    turns = 2 * math.pi * (2 * points - 1) @ w[f"{P}pe_layer.positional_encoding_gaussian_matrix"]
    return torch.cat([turns.sin(), turns.cos()], -1)


def box_prompt(w: W, box: tuple[float, ...], side: int) -> Tensor:
    """Box XYXY px of the padded square -> ``(2, D)``."""
    corners = (torch.tensor(box, dtype=torch.float32).reshape(2, 2) + 0.5) / side
    return code(w, corners) + torch.cat([w[f"{P}point_embeddings.{k}.weight"] for k in (2, 3)])


def point_prompt(w: W, point: tuple[float, float], side: int) -> Tensor:
    """One point on the object, and the one that is none -> ``(2, D)``."""
    own = code(w, (torch.tensor(point, dtype=torch.float32)[None] + 0.5) / side) + w[f"{P}point_embeddings.1.weight"]
    return torch.cat([own, w[f"{P}not_a_point_embed.weight"]])


def cross(w: W, name: str, q: Tensor, k: Tensor, v: Tensor, heads: int = 4) -> Tensor:
    q, k, v = (heads_of(lin(w, f"{name}.{n}_proj", x), heads) for n, x in (("q", q), ("k", k), ("v", v)))
    return lin(w, f"{name}.out_proj", attend(q, k, v))


def mlp(w: W, name: str, x: Tensor) -> Tensor:
    for k in range(3):
        x = lin(w, f"{name}.layers.{k}", x)
        x = x if k == 2 else x.relu()
    return x


def sam_decoder(w: W, embedding: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding ``(1, D, h, w)``, prompt tokens ``(T, D)`` -> the first mask's logits ``(4h, 4w)``, predicted IoU."""
    side = embedding.shape[-1]
    axis = (torch.arange(side) + 0.5) / side
    where = code(w, torch.stack([axis.expand(side, side), axis[:, None].expand(side, side)], -1)).flatten(0, 1)
    keys = embedding[0].flatten(1).T + w[f"{P}no_mask_embed.weight"]
    own = queries = torch.cat([w[f"{M}iou_token.weight"], w[f"{M}mask_tokens.weight"], prompt])
    for i in range(2):
        b = f"{M}transformer.layers.{i}."
        if i == 0:
            queries = cross(w, f"{b}self_attn", queries, queries, queries)
        else:
            q = queries + own
            queries = queries + cross(w, f"{b}self_attn", q, q, queries)
        queries = norm(w, f"{b}norm1", queries, 1e-5)
        queries = queries + cross(w, f"{b}cross_attn_token_to_image", queries + own, keys + where, keys)
        queries = norm(w, f"{b}norm2", queries, 1e-5)
        queries = queries + lin(w, f"{b}mlp.lin2", lin(w, f"{b}mlp.lin1", queries).relu())
        queries = norm(w, f"{b}norm3", queries, 1e-5)
        keys = keys + cross(w, f"{b}cross_attn_image_to_token", keys + where, queries + own, queries)
        keys = norm(w, f"{b}norm4", keys, 1e-5)
    name = f"{M}transformer.final_attn_token_to_image"
    queries = norm(
        w, f"{M}transformer.norm_final_attn", queries + cross(w, name, queries + own, keys + where, keys), 1e-5
    )
    up = keys.T.reshape(1, -1, side, side)
    up = F.conv_transpose2d(up, w[f"{M}output_upscaling.0.weight"], w[f"{M}output_upscaling.0.bias"], stride=2)
    up = F.gelu(channel_norm(w, f"{M}output_upscaling.1", up))
    up = F.conv_transpose2d(up, w[f"{M}output_upscaling.3.weight"], w[f"{M}output_upscaling.3.bias"], stride=2)
    kernel = mlp(w, f"{M}output_hypernetworks_mlps.0", queries[1])
    quality = mlp(w, f"{M}iou_prediction_head", queries[0])
    return torch.einsum("c,chw->hw", kernel, F.gelu(up)[0]), quality[0]


# ------------------------------------------------------------------------------------------------------- LISA


def sam_image(rgb: np.ndarray, side: int) -> tuple[Tensor, tuple[int, int]]:
    scale = side / max(rgb.shape[:2])
    height, width = (int(length * scale + 0.5) for length in rgb.shape[:2])
    scaled = np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    x = torch.from_numpy(scaled).permute(2, 0, 1).float()
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    x = (x - mean[:, None, None]) / std[:, None, None]
    return F.pad(x, (0, side - width, 0, side - height))[None], (height, width)


def lisa(w: W, t, sam_rgb: np.ndarray, clip_square: Tensor, before: list[int], after: list[int], seg: int, most: int):
    """Ids before and after the image; greedy reply of at most ``most`` tokens, without a cache.

    Returns:
        ids of the reply, logits ``(n, H, W)`` of its masks, states before its [SEG] ``(n, C)``.
    """
    patches = clip_patches(w, clip_square, t.clip_layers, t.clip_heads, t.clip_patch)
    image = lin(w, "model.mm_projector", patches)
    table = w["model.embed_tokens.weight"]
    reply: list[int] = []
    while True:
        text = torch.tensor(after + reply)
        states = llama(w, torch.cat([table[torch.tensor(before)], image, table[text]]), t.layers, t.heads)
        if len(reply) == most or (reply and reply[-1] == 2):
            break
        reply.append(int((w["lm_head.weight"] @ states[-1]).argmax()))
    # as the official code counts: tokens with the image as one, shifted by one to the left, the image's other
    # embeddings put in front
    ids = torch.tensor([*before, -200, *after, *reply])
    marked = torch.cat([torch.zeros(len(image) - 1, dtype=torch.bool), ids[1:] == seg])
    found = states[: len(marked)][marked]
    hidden = lin(w, "model.text_hidden_fcs.0.2", lin(w, "model.text_hidden_fcs.0.0", found).relu())
    square, (height, width) = sam_image(sam_rgb, t.sam_side)
    embedding = sam_encoder(w, square, t)
    masks = [
        full_size(sam_decoder(w, embedding, prompt[None])[0], t.sam_side, (height, width), sam_rgb.shape[:2])
        for prompt in hidden
    ]
    return reply, torch.stack(masks) if masks else torch.zeros(0, *sam_rgb.shape[:2]), found


def full_size(logits: Tensor, side: int, work: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """Up to the square, crop, to the image's size."""
    x = F.interpolate(logits[None, None], (side, side), mode="bilinear", align_corners=False)
    return F.interpolate(x[..., : work[0], : work[1]], shape, mode="bilinear", align_corners=False)[0, 0]
