"""A DeAOT on simulated sintering: a clip's first frame is told, the others are followed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.checkpoints import load_strict, save_module
from lisa_micro.models.towers.sam import depthwise_in_float32
from lisa_micro.models.trackers.deaot import DeAOT, DeaotConfig, build_deaot, read_weights
from lisa_micro.models.trackers.deaot.decoder import enlarge
from lisa_micro.models.trackers.deaot.encoders import FrozenBatchNorm
from lisa_micro.models.trackers.deaot.lstt import Memory
from lisa_micro.types import InputError
from lisa_micro_finetune.data.clips import IGNORED, Clips

HARDEST = 0.15
"""Share of the pixels, those with the highest loss, that the cross-entropy is taken over from half way on."""
STATISTICS_CLIPS = 8
"""Batches from which the statistics of batch norm are taken for export."""


class TrackingModel(nn.Module):
    """The network as trained in this stage.

    Args:
        config: which network. norm: of its encoder; batch norm where that starts from random weights, since without a
            norm that adapts these do not learn. frozen: so many of its first blocks keep their weights.
    """

    def __init__(self, config: DeaotConfig, norm: Callable[[int], nn.Module] = FrozenBatchNorm, frozen: int = 0):
        super().__init__()
        self.config = config
        self.network = build_deaot(config, norm)
        freeze(self.network.encoder, frozen)
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.forward = MethodType(depthwise, module)  # type: ignore[method-assign]

    def forward(self, clips: Clips) -> tuple[Tensor, Tensor]:
        """Logits ``(B, T, 1 + objects, S, S)`` and what was predicted ``(B, T, S, S)``. Those of the first frame, which
        is told, say how well the decoder gives back what it was told."""
        network, size = self.network, clips.labels.shape[-2:]
        count, frames = clips.labels.shape[:2]
        encoded = network.encode(clips.images.flatten(0, 1).expand(-1, 3, -1, -1))
        features = [[f.unflatten(0, (count, frames))[:, t] for f in encoded] for t in range(frames)]
        all_logits, all_predicted, long_term, short_term, kept = [], [], [], [], 0
        for t in range(frames):
            if t == 0:
                id_emb = self.identify(clips.labels[:, 0])
                tokens, seen = network.propagate(features[0], id_emb)
            else:
                tokens, seen = network.propagate(features[t], None, join(long_term), short_term)
            logits = enlarge(network.decode(tokens, features[t], clips.used).float(), size, network.aligned)
            predicted = logits.argmax(1)
            all_logits.append(logits)
            all_predicted.append(predicted)
            if t > 0:
                truth = torch.where(clips.labels[:, t] == IGNORED, predicted, clips.labels[:, t])
                id_emb = self.identify(torch.where(clips.told[:, t, None, None], truth, predicted))
            short_term = network.LSTT.remember(seen, id_emb)
            if t == 0 or t - kept >= self.config.long_term_gap:
                long_term.append(short_term)
                kept = t
        return torch.stack(all_logits, dim=1), torch.stack(all_predicted, dim=1)

    def identify(self, labels: Tensor) -> Tensor:
        """Channels ``(B, S, S)`` -> embedding ``(B, N, D)``."""
        labels = torch.where(labels == IGNORED, 0, labels)
        return self.network.identify(F.one_hot(labels, self.network.objects + 1).permute(0, 3, 1, 2).float())


def freeze(encoder: nn.Module, blocks: int) -> None:
    """Keep the weights of an encoder's first blocks, which are then not computed a gradient for.

    Raises:
        InputError: the encoder is not a sequence of blocks, or has fewer.
    """
    if not blocks:
        return
    features = getattr(encoder, "features", ())
    if blocks > len(features):
        raise InputError(f"encoder_frozen is {blocks}, but the encoder has {len(features)} blocks that can be frozen")
    features[:blocks].requires_grad_(False)


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """:func:`depthwise_in_float32` in the layout in which the gradient is fastest: with 5 x 5 weights it takes ten
    times as long where channels are last."""
    return depthwise_in_float32(conv, x, torch.channels_last if conv.kernel_size[0] < 5 else torch.contiguous_format)


def join(frames: list[list[Memory]]) -> list[Memory]:
    """Memories of frames, one a layer each -> one a layer."""
    if len(frames) == 1:
        return frames[0]
    return [Memory(*(torch.cat(p, dim=1) for p in zip(*layer, strict=True))) for layer in zip(*frames, strict=True)]


def hard_cross_entropy(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Cross-entropy over the ``share`` of valid pixels where it is highest, ``(N, C, H, W)`` -> ``(N,)``."""
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none").flatten(1)
    valid = (labels != IGNORED).flatten(1).sum(1)
    return torch.stack(
        [row.topk(max(1, int(share * int(n)))).values.mean() for row, n in zip(losses, valid, strict=True)]
    )


def identity_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice of each channel, over valid pixels, mean over the channels that the truth has (one is added to
    numerator and denominator); ``(N, C, H, W)`` -> ``(N,)``."""
    valid = (labels != IGNORED)[:, None]
    probability = logits.softmax(1) * valid
    truth = F.one_hot(torch.where(valid[:, 0], labels, 0), logits.shape[1]).permute(0, 3, 1, 2) * valid
    inter, both = (probability * truth).sum((2, 3)), (probability + truth).sum((2, 3))
    there = truth.sum((2, 3)) > 0
    return ((1 - (2 * inter + 1) / (both + 1)) * there).sum(1) / there.sum(1).clamp_min(1)


@torch.no_grad()
def identity_iou(predicted: Tensor, labels: Tensor, objects: int) -> Tensor:
    """Mean IoU over valid pixels and the identities that the truth has, ``(N, H, W)`` twice -> ``(N,)``, NaN where it
    has none."""
    valid = labels != IGNORED
    values = []
    for k in range(1, objects + 1):
        a, b = (predicted == k) & valid, labels == k
        iou = (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp_min(1)
        values.append(torch.where(b.any(2).any(1), iou, torch.nan))
    return torch.stack(values).nanmean(0)


def tracking_loss(logits: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
    """Half cross-entropy, half Dice of the frames that were followed, and of the first one, which was told, with a
    weight that falls to 0; logits ``(B, T, C, S, S)``, labels ``(B, T, S, S)``. Both terms too, for the log."""
    share = 1 - (1 - HARDEST) * min(1.0, 2 * progress)
    flat, truth = logits.flatten(0, 1), labels.flatten(0, 1)
    terms = torch.stack([hard_cross_entropy(flat, truth, share), identity_dice(flat, truth)])
    terms = terms.unflatten(1, labels.shape[:2])  # (2, B, T)
    followed, told = terms[:, :, 1:].mean((1, 2)), terms[:, :, 0].mean(1)
    return 0.5 * followed.sum() + (1 - progress) * 0.5 * told.sum(), followed.detach()


def make_step(model: TrackingModel, device: torch.device, bf16: bool):
    """The function that the loop calls with each batch."""

    def step(batch: Clips) -> tuple[Tensor, dict[str, float]]:
        clips = Clips(*(x.to(device) for x in batch[:-1]), batch.progress)
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            logits, predicted = model(clips)
        loss, (entropy, dice) = tracking_loss(logits, clips.labels, clips.progress)
        first, *rest = (
            identity_iou(predicted[:, t], clips.labels[:, t], model.network.objects).nanmean()
            for t in range(predicted.shape[1])
        )
        figures = {"entropy": entropy, "dice": dice, "iou_told": first, "iou_next": rest[0], "iou_last": rest[-1]}
        return loss, {name: float(value) for name, value in figures.items() if torch.isfinite(value)}

    return step


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Start an encoder from a file: torchvision's (or any with its names) of the same architecture, or a whole DeAOT.
    What belongs to a classifier, or to stages that the encoder does not have, is left out.

    Raises:
        InputError: the file cannot be read, or does not have all that the encoder needs.
    """
    state = {name.removeprefix("encoder."): value for name, value in read_weights(path).items()}
    own = encoder.state_dict()
    # a buffer that counts batches has no meaning where the norm is frozen
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    load_strict(encoder, counters | {n: v for n, v in state.items() if n in own}, f"the encoder ({path})")


def export(
    model: TrackingModel, values: dict[str, Tensor], folder: Path, make: Callable[[int], Clips], first: int
) -> None:
    """Write averaged weights as ``deaot.safetensors`` (float16) into ``folder``, as
    :func:`lisa_micro.models.trackers.build_tracker` loads them.

    Statistics of batch norm are those of the averaged weights on clips ``first, first + 1, ...`` of ``make``, since the
    ones that were met while training belong to other weights.
    """
    network = copy.deepcopy(model.network)
    state = {n: values.get(f"network.{n}", v) for n, v in network.state_dict().items()}
    network.load_state_dict(state)
    settle_statistics(network, make, first)
    state = {n: v for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    # a new network draws random numbers, which must not move those of the training
    with torch.random.fork_rng(devices=[]):
        load_strict(build_deaot(model.config), state, "the tracker that was trained")
    save_module(state, folder / "deaot.safetensors")


@torch.no_grad()
def settle_statistics(network: DeAOT, make: Callable[[int], Clips], first: int) -> None:
    """Set the statistics of batch norm, where there is any, to means over some batches."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    device = network.pixel_mean.device
    for k in range(STATISTICS_CLIPS):
        images = make(first + k).images.flatten(0, 1).to(device)
        network.encode(images.expand(-1, 3, -1, -1))
    network.eval()
