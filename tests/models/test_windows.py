"""Windowed attention, which Swin-UNet and the encoder of DeAOT share: numbers and names stay as they were when each had
its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lisa_micro.models.segmenters.swin_unet import SwinBlock, SwinUnet
from lisa_micro.models.trackers.deaot.swin import SwinEncoder
from lisa_micro.models.windows import relative_positions, window_mask

UNET = [0.0756, -0.47586, -0.3065, 0.08684, -0.46662, -0.27511]
ENCODER = (
    [0.15029, 0.16851, -0.22879, 0.15297, 0.1656, -0.19407],
    [0.07686, -0.29284, -0.1694, 0.08366, -0.28486, -0.17888],
    [0.33709, -0.08674, -0.02433, 0.33675, -0.08737, -0.0251],
)
"""Every so many of the outputs, written down before the code was shared."""


def fill(module: nn.Module) -> nn.Module:
    rng = np.random.default_rng(0)
    state = module.state_dict()
    for name in sorted(state):
        if state[name].is_floating_point():
            state[name].copy_(torch.from_numpy(rng.normal(0, 0.2, state[name].shape)))
    return module.eval()


def some(values: torch.Tensor) -> list[float]:
    flat = values.flatten().tolist()
    return flat[:: max(1, len(flat) // 6)][:6]


def test_both_networks_give_the_numbers_they_gave_before():
    rng = np.random.default_rng(1)
    unet, encoder = fill(SwinUnet(width=12, depths=(2, 2), heads=(3, 6))), fill(SwinEncoder(24, (2, 2, 2), (3, 6, 12)))
    grey = torch.from_numpy(rng.uniform(size=(2, 1, 61, 90))).float()
    rgb = torch.from_numpy(rng.normal(size=(2, 3, 90, 134))).float()
    with torch.inference_mode():
        assert some(unet(grey)) == pytest.approx(UNET, abs=2e-4)
        maps = encoder(rgb)
    for found, expected in zip(maps, (*ENCODER, ENCODER[-1]), strict=True):
        assert some(found) == pytest.approx(expected, abs=2e-4)


def test_names_of_the_checkpoints_stay():
    unet = SwinUnet(width=12, depths=(2, 2), heads=(3, 6)).state_dict()
    assert "down.1.0.attention.bias" in unet and "up.0.1.attention.qkv.weight" in unet
    assert not any("offset" in name for name in unet)
    encoder = SwinEncoder(24, (2, 2, 2), (3, 6, 12)).state_dict()
    assert torch.equal(encoder["layers.0.blocks.1.attn.relative_position_index"], relative_positions(7))
    assert encoder["layers.2.blocks.0.attn.relative_position_bias_table"].shape == (169, 12)


def test_a_mask_made_in_inference_serves_training():
    window_mask.cache_clear()
    block = SwinBlock(6, 3, 4, shifted=True)
    x = torch.rand(1, 9, 11, 6)
    with torch.inference_mode():
        block(x)
    block(x).sum().backward()
    assert block.attention.bias.grad.abs().sum() > 0
