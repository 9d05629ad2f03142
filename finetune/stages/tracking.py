"""Training of a DeAOT on clips of simulated sintering: labels of the first frame are given, the others are tracked."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.checkpoints import load_strict, save_module
from lisa_micro.models.device import pick_device
from lisa_micro.models.towers.sam import depthwise_in_float32
from lisa_micro.models.trackers.deaot import CONFIGS, DeAOT, DeaotConfig, build_deaot, read_weights
from lisa_micro.models.trackers.deaot.decoder import enlarge
from lisa_micro.models.trackers.deaot.encoders import FrozenBatchNorm, MobileNetV2
from lisa_micro.models.trackers.deaot.lstt import Memory
from lisa_micro.types import InputError
from lisa_micro_finetune.config import TrackingStage
from lisa_micro_finetune.data.clips import IGNORED, ClipConfig, ClipMaker, Clips
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.stages.common import trained_state, without_prefix, write_record

HARDEST = 0.15
"""Fraction of the pixels, those with the highest loss, over which the cross-entropy is averaged in the second half."""
STATISTICS_CLIPS = 8
"""Number of batches from which the statistics of batch norm are estimated for export."""


class TrackingModel(nn.Module):
    """The network as trained in this stage.

    Args:
        config: which network.
        norm: normalization of the encoder. An encoder with random weights needs batch norm.
        frozen: number of leading encoder blocks to freeze.
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
        """Track the objects of clips.

        Returns:
            logits ``(B, T, 1 + objects, S, S)`` and predicted channels ``(B, T, S, S)``. Those of the first frame,
            whose labels are given, show how well the decoder reconstructs its input.
        """
        network, size = self.network, clips.labels.shape[-2:]
        count, frames = clips.labels.shape[:2]
        encoded = network.encode(clips.images.flatten(0, 1).expand(-1, 3, -1, -1))
        features = [[f.unflatten(0, (count, frames))[:, t] for f in encoded] for t in range(frames)]
        all_logits, all_predicted, long_term, short_term, last = [], [], [], [], 0
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
                id_emb = self.identify(torch.where(clips.given[:, t, None, None], truth, predicted))
            short_term = network.LSTT.remember(seen, id_emb)
            if t == 0 or t - last >= self.config.long_term_gap:
                long_term.append(short_term)
                last = t
        return torch.stack(all_logits, dim=1), torch.stack(all_predicted, dim=1)

    def identify(self, labels: Tensor) -> Tensor:
        """Embed labels: channels ``(B, S, S)`` -> ``(B, N, D)``."""
        labels = torch.where(labels == IGNORED, 0, labels)
        return self.network.identify(F.one_hot(labels, self.network.objects + 1).permute(0, 3, 1, 2).float())


def freeze(encoder: nn.Module, blocks: int) -> None:
    """Freeze the leading blocks of an encoder, so that no gradients are computed for them.

    Raises:
        InputError: the encoder is not a sequence of blocks, or has fewer.
    """
    if not blocks:
        return
    features = encoder.features if isinstance(encoder, MobileNetV2) else nn.Sequential()
    if blocks > len(features):
        raise InputError(f"encoder_frozen is {blocks}, but only {len(features)} blocks of this encoder can be frozen.")
    features[:blocks].requires_grad_(False)


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Run :func:`depthwise_in_float32` in the memory layout in which the backward pass is fastest.

    With 5 x 5 kernels and channels last it takes ten times as long.
    """
    return depthwise_in_float32(conv, x, torch.channels_last if conv.kernel_size[0] < 5 else torch.contiguous_format)


def join(frames: list[list[Memory]]) -> list[Memory]:
    """Concatenate the memories of several frames, layer by layer."""
    if len(frames) == 1:
        return frames[0]
    return [Memory(*(torch.cat(p, dim=1) for p in zip(*layer, strict=True))) for layer in zip(*frames, strict=True)]


def hard_cross_entropy(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Mean cross-entropy over the hardest fraction ``share`` of valid pixels, ``(N, C, H, W)`` -> ``(N,)``."""
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none").flatten(1)
    valid = (labels != IGNORED).flatten(1).sum(1)
    return torch.stack(
        [row.topk(max(1, int(share * int(n)))).values.mean() for row, n in zip(losses, valid, strict=True)]
    )


def track_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice over valid pixels, mean over the channels in the truth, ``(N, C, H, W)`` -> ``(N,)``.

    One is added to numerator and denominator.
    """
    valid = (labels != IGNORED)[:, None]
    probability = logits.softmax(1) * valid
    truth = F.one_hot(torch.where(valid[:, 0], labels, 0), logits.shape[1]).permute(0, 3, 1, 2) * valid
    inter, both = (probability * truth).sum((2, 3)), (probability + truth).sum((2, 3))
    there = truth.sum((2, 3)) > 0
    return ((1 - (2 * inter + 1) / (both + 1)) * there).sum(1) / there.sum(1).clamp_min(1)


@torch.no_grad()
def track_iou(predicted: Tensor, labels: Tensor, objects: int) -> Tensor:
    """Mean IoU over valid pixels and the tracks in the truth, ``(N, H, W)`` twice -> ``(N,)``, NaN without tracks."""
    valid = labels != IGNORED
    values = []
    for k in range(1, objects + 1):
        a, b = (predicted == k) & valid, labels == k
        iou = (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp_min(1)
        values.append(torch.where(b.any(2).any(1), iou, torch.nan))
    return torch.stack(values).nanmean(0)


def tracking_loss(logits: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor]:
    """Mean of cross-entropy and Dice loss of the tracked frames, plus those of the first frame with a falling weight.

    Args:
        logits: ``(B, T, C, S, S)``.
        labels: ``(B, T, S, S)``.
        progress: 0..1, share of the training that is done; the weight of the first frame is 1 - progress.

    Returns:
        the loss, and its two terms for the log.
    """
    share = 1 - (1 - HARDEST) * min(1.0, 2 * progress)
    flat, truth = logits.flatten(0, 1), labels.flatten(0, 1)
    terms = torch.stack([hard_cross_entropy(flat, truth, share), track_dice(flat, truth)])
    terms = terms.unflatten(1, labels.shape[:2])  # (2, B, T)
    tracked, given = terms[:, :, 1:].mean((1, 2)), terms[:, :, 0].mean(1)
    return 0.5 * tracked.sum() + (1 - progress) * 0.5 * given.sum(), tracked.detach()


def make_step(
    model: TrackingModel, device: torch.device, bf16: bool
) -> Callable[[Clips], tuple[Tensor, dict[str, float]]]:
    """Make the function from a batch to its loss and metrics."""

    def step(batch: Clips) -> tuple[Tensor, dict[str, float]]:
        clips = Clips(*(x.to(device) for x in batch[:-1]), batch.progress)
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            logits, predicted = model(clips)
        loss, (entropy, dice) = tracking_loss(logits, clips.labels, clips.progress)
        first, *rest = (
            track_iou(predicted[:, t], clips.labels[:, t], model.network.objects).nanmean()
            for t in range(predicted.shape[1])
        )
        metrics = {"entropy": entropy, "dice": dice, "iou_told": first, "iou_next": rest[0], "iou_last": rest[-1]}
        return loss, {name: float(value) for name, value in metrics.items() if torch.isfinite(value)}

    return step


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Load weights of an encoder: a torchvision model of the same architecture, or a whole DeAOT.

    Entries of a classifier, or of stages that the encoder does not have, are ignored.

    Raises:
        InputError: the file cannot be read, or weights of the encoder are missing in it.
    """
    state = {name.removeprefix("encoder."): value for name, value in read_weights(path).items()}
    expected = encoder.state_dict()
    # files of frozen norms do not have the buffers that count batches
    counters = {name: value for name, value in expected.items() if name.endswith("num_batches_tracked")}
    load_strict(encoder, counters | {n: v for n, v in state.items() if n in expected}, f"the encoder ({path})")


def export(
    model: TrackingModel, values: dict[str, Tensor], folder: Path, make: Callable[[int], Clips], first: int
) -> None:
    """Write averaged weights as ``deaot.safetensors`` (float16), which :func:`lisa_micro.build_tracker` loads.

    The statistics of batch norm are estimated again, since those of the training belong to other weights.

    Args:
        model: the trained model, which is not changed.
        values: averaged weights by name.
        folder: folder of the file.
        make: step -> clips, for the statistics.
        first: first step to use.
    """
    network = copy.deepcopy(model.network)
    network.load_state_dict(without_prefix(trained_state(model, values), "network."))
    settle_statistics(network, make, first)
    state = {n: v for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    # a new network draws random numbers, which must not change the random state of the training
    with torch.random.fork_rng(devices=[]):
        load_strict(build_deaot(model.config), state, "the trained tracker")
    save_module(state, folder / "deaot.safetensors")


@torch.no_grad()
def settle_statistics(network: DeAOT, make: Callable[[int], Clips], first: int) -> None:
    """Estimate the statistics of batch norm, if there is any, as plain means over some batches."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
        norm.train()
    device = network.pixel_mean.device
    for k in range(STATISTICS_CLIPS):
        images = make(first + k).images.flatten(0, 1).to(device)
        network.encode(images.expand(-1, 3, -1, -1))
    network.eval()


def run_tracking(stage: TrackingStage, folder: Path, device_name: str = "auto") -> None:
    """Train a tracker; write it to ``folder/weights``. Videos are simulated during the training.

    Raises:
        InputError: weights or settings of clips that cannot be used.
    """
    device = pick_device(device_name)
    schedule = stage.schedule
    torch.manual_seed(schedule.seed)
    config = CONFIGS[stage.tracker]
    random_encoder = stage.encoder_weights is None and stage.start is None
    model = TrackingModel(config, nn.BatchNorm2d if random_encoder else FrozenBatchNorm, stage.encoder_frozen)
    if stage.start is not None:
        load_strict(model.network, read_weights(Path(stage.start)), stage.tracker)
    if stage.encoder_weights is not None:
        load_encoder(model.network.encoder, Path(stage.encoder_weights))
    model.to(device).to(memory_format=torch.channels_last)
    try:
        clip = ClipConfig(**stage.clip)
    except TypeError as error:
        raise InputError(f"clip of the configuration: {error}.") from error
    maker = ClipMaker(clip, schedule.batch_size, schedule.steps, config.objects, schedule.seed)
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, device, use_bf16(stage.precision, device)),
        schedule,
        folder,
        groups=[(["network.encoder."], stage.encoder_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights", maker, schedule.steps),
    )
    export(model, values, folder / "weights", maker, schedule.steps)
    write_record(folder, stage, {"seconds": time.monotonic() - began, "clip": dataclasses.asdict(clip)})
