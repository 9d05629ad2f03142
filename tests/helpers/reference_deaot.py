"""DeAOT stated once more, in plain NumPy and loops: from the equations of arXiv 2210.09782 and the names of the
official checkpoints, not from the package. Slow, batchless, float64; for parity tests only.

A frame is what its encoder gave: features ``(C, h, w)`` at strides 4, 8, 16 and, projected, 16. Tokens are ``(N, C)``.
"""

from __future__ import annotations

import numpy as np


class Reference:
    """Args: ``weights``: name -> array. ``layers``, ``window``: of the model. ``aligned``: as in its configuration."""

    def __init__(self, weights: dict[str, np.ndarray], layers: int, window: int, aligned: bool = True):
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.layers, self.window, self.aligned = layers, window, aligned

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        weight = self.weights[f"{name}.weight"]
        return x @ weight.reshape(len(weight), -1).T + self.weights[f"{name}.bias"]

    def layer_norm(self, name: str, x: np.ndarray) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def group_norm(self, name: str, x: np.ndarray, groups: int) -> np.ndarray:
        """``(C, ...)``"""
        flat = x.reshape(groups, -1)
        flat = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-5)
        rest = (-1, *(1,) * (x.ndim - 1))
        weight, bias = (self.weights[f"{name}.{kind}"].reshape(rest) for kind in ("weight", "bias"))
        return flat.reshape(x.shape) * weight + bias

    def convolve(self, name: str, x: np.ndarray, bias: bool = True) -> np.ndarray:
        """``(C, h, w)``, stride 1, same size; one filter a channel where the weights have one input channel."""
        weight = self.weights[f"{name}.weight"]
        side = weight.shape[-1]
        h, w = x.shape[1:]
        padded = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
        out = np.zeros((len(weight), h, w))
        for dy in range(side):
            for dx in range(side):
                part = padded[:, dy : dy + h, dx : dx + w]
                if weight.shape[1] == 1:
                    out += weight[:, 0, dy, dx, None, None] * part
                else:
                    out += np.tensordot(weight[:, :, dy, dx], part, axes=1)
        return out + self.weights[f"{name}.bias"][:, None, None] if bias else out

    def identities(self, labels: np.ndarray) -> np.ndarray:
        """``(H, W)`` numbers, 0 = background -> tokens ``(N, D)``."""
        weight = self.weights["patch_wise_id_bank.weight"]
        side = weight.shape[-1]
        one_hot = np.stack([labels == k for k in range(weight.shape[1])]).astype(float)
        if side == 17:
            one_hot = np.pad(one_hot, ((0, 0), (8, 8), (8, 8)))
        tokens = []
        for y in range(0, one_hot.shape[1] - side + 1, 16):
            for x in range(0, one_hot.shape[2] - side + 1, 16):
                patch = one_hot[:, y : y + side, x : x + side]
                tokens.append((weight * patch).sum((1, 2, 3)) + self.weights["patch_wise_id_bank.bias"])
        return self.layer_norm("id_norm", np.array(tokens))

    def propagation(self, name: str, values: np.ndarray, gate: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        x = (values * gate).T.reshape(-1, *size)
        x = self.convolve(f"{name}.dw_conv.conv", x, bias=False)
        return self.linear(f"{name}.projection", x.reshape(len(x), -1).T)

    def layer(self, k: int, visual, identity, size, ids, long_term, short_term):
        """-> both branches, and what is remembered once it is known who is where: a function of the identities."""
        p = f"LSTT.layers.{k}"
        normed = self.layer_norm(f"{p}.norm1", visual)
        mixed = self.linear(f"{p}.linear_QV", normed)
        depth = self.weights[f"{p}.short_term_attn.relative_emb_k.weight"].shape[1]
        query, value = mixed[:, :depth], silu(mixed[:, depth:])
        gate = silu(self.linear(f"{p}.linear_U", normed))
        if identity is None:
            before, other = None, np.ones_like(gate)
        else:
            before = self.layer_norm(f"{p}.id_norm1", identity)
            other = silu(self.linear(f"{p}.linear_ID_U", before))
        gate = np.concatenate([gate, other], 1)

        def remember(who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            given = who if before is None else np.concatenate([before, who], 1)
            return query, np.concatenate([value, silu(self.linear(f"{p}.linear_ID_V", given))], 1)

        if ids is not None:
            long_term, short_term = [remember(ids)], remember(ids)
        keys, values = (np.concatenate(parts) for parts in zip(*long_term, strict=True))
        far = np.stack([softmax(keys @ q / np.sqrt(depth)) @ values for q in query])
        relative = self.linear(f"{p}.short_term_attn.relative_emb_k", query)
        near = naive_window(query, *short_term, relative, size, self.window)
        moved = self.propagation(f"{p}.long_term_attn", far, gate, size)
        moved = moved + self.propagation(f"{p}.short_term_attn", near, gate, size)
        d = visual.shape[1]
        visual = visual + moved[:, :d]
        identity = moved[:, d:] + (0 if identity is None else identity)

        a, b = self.layer_norm(f"{p}.norm2", visual), self.layer_norm(f"{p}.id_norm2", identity)
        name = f"{p}.self_attn"
        mixed = self.linear(f"{name}.linear_QK", np.concatenate([a, b], 1))
        values = silu(np.concatenate([self.linear(f"{name}.linear_V1", a), self.linear(f"{name}.linear_V2", b)], 1))
        gate = silu(np.concatenate([self.linear(f"{name}.linear_U1", a), self.linear(f"{name}.linear_U2", b)], 1))
        own = np.stack([softmax(mixed @ q / np.sqrt(depth)) @ values for q in mixed])
        moved = self.propagation(name, own, gate, size)
        return visual + moved[:, :d], identity + moved[:, d:], remember

    def frame(self, features: list[np.ndarray], ids=None, long_term=None, short_term=None):
        """Logits ``(1 + objects, h, w)`` at stride 4, and per layer the function that makes its memory. ``long_term``:
        per layer a list of memories; ``short_term``: per layer a memory."""
        size = features[-1].shape[1:]
        visual, identity, remember = features[-1].reshape(len(features[-1]), -1).T, None, []
        for k in range(self.layers):
            memories = (None, None) if ids is not None else (long_term[k], short_term[k])
            visual, identity, make = self.layer(k, visual, identity, size, ids, *memories)
            remember.append(make)
        both = np.concatenate([visual, identity], 1).T.reshape(-1, *size)
        return self.decode(self.group_norm("LSTT.decoder_norms.0.gn", both, 2), features), remember

    def decode(self, x: np.ndarray, features: list[np.ndarray]) -> np.ndarray:
        quarter, eighth, sixteenth = features[:3]

        def block(name: str, y: np.ndarray) -> np.ndarray:
            return np.maximum(self.group_norm(f"decoder.{name}.gn", self.convolve(f"decoder.{name}.conv", y), 8), 0)

        x = block("conv_in", x)
        x = block("conv_16x", self.convolve("decoder.adapter_16x", sixteenth) + x)
        x = block("conv_8x", self.convolve("decoder.adapter_8x", eighth) + bilinear(x, eighth.shape[1:], self.aligned))
        x = block(
            "conv_4x", self.convolve("decoder.adapter_4x", quarter) + bilinear(x, quarter.shape[1:], self.aligned)
        )
        return self.convolve("decoder.conv_out", x)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max())
    return x / x.sum()


def naive_window(query, key, value, relative, size: tuple[int, int], window: int) -> np.ndarray:
    """Each token and its window, one after the other. ``relative`` ``(N, window window)``: what is added to the logit
    of the token dy below and dx to the right, row by row from the window's upper left."""
    h, w = size
    reach, out = window // 2, []
    for y in range(h):
        for x in range(w):
            logits, values = [], []
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        there = (y + dy) * w + x + dx
                        weight = relative[y * w + x, (dy + reach) * window + dx + reach]
                        logits.append(query[y * w + x] @ key[there] / np.sqrt(query.shape[1]) + weight)
                        values.append(value[there])
            out.append(softmax(np.array(logits)) @ np.array(values))
    return np.array(out)


def bilinear(x: np.ndarray, size: tuple[int, int], aligned: bool) -> np.ndarray:
    """``(C, h, w)`` -> ``(C, *size)``."""
    for axis, target in zip((1, 2), size, strict=True):
        source = x.shape[axis]
        steps = np.arange(target)
        if aligned:
            at = steps * (source - 1) / max(1, target - 1)
        else:
            at = np.clip((steps + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, source - 1)
        share = (at - low).reshape((-1, 1) if axis == 1 else (-1,))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x
