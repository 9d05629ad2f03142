"""Training in the stage ``adapt``: build the model, make its batches, run the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lisa_micro.extras import missing_extra
from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.device import pick_device
from lisa_micro.models.lisa.adapter import WEIGHTS, AdapterConfig, part_of, read_parts
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.augment import Augmentation
from lisa_micro_finetune.adapt.batches import AdaptMaker
from lisa_micro_finetune.adapt.data import Item
from lisa_micro_finetune.adapt.digest import short_digest
from lisa_micro_finetune.adapt.export import load_adapter_state
from lisa_micro_finetune.adapt.features import FeatureSettings, FeatureStore
from lisa_micro_finetune.adapt.losses import adapt_loss
from lisa_micro_finetune.adapt.model import FAST_PARAMETERS, VISION_PARAMETERS, AdaptModel, build_model
from lisa_micro_finetune.adapt.plans import AdaptBatch, Drawing, Prompting, Share
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.checkpoints import full_tensor
from lisa_micro_finetune.loop import Job, Trainer, add
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.processes import AcceleratedProcesses

if TYPE_CHECKING:
    from accelerate import Accelerator

CHANGEABLE = ("judge", "name", "tensorboard", "start")
"""Settings that may change when a run is resumed."""
CHANGEABLE_IN_SCHEDULE = ("save_every", "log_every", "workers")
"""Settings of the schedule that may change when a run is resumed."""
VALIDATION_IMAGES = 16
"""Largest number of validation images whose loss decides which weights are the best."""

Track = Callable[[str, int, dict[str, float]], None]
"""Called with ``"training"`` or ``"validation"``, step and metrics."""


@dataclass(frozen=True)
class Machine:
    """Where a run takes place.

    Attributes:
        accelerator: accelerate's handle on this and the other processes.
        device: device of this process.
        bf16: whether to compute in bfloat16.
        folder: folder of the run.
        cache: folder for features and simulated scenes.
        log: receives lines of text, in the main process.
    """

    accelerator: Accelerator
    device: torch.device
    bf16: bool
    folder: Path
    cache: Path
    log: Callable[[str], None]


@dataclass(frozen=True)
class StartAdapter:
    """The adapter from which training continues: its folder and its configuration."""

    folder: Path
    config: AdapterConfig


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes:
        stage: settings, with ``learn.tower`` decided.
        home: folder of the base.
        start: the adapter from which training continues.
        config: configuration of the base, with all new concepts.
        items: images to train on, simulated scenes among them.
        validation: images whose loss decides which weights are the best.
        data, weights: SHA-256 of the records and of the base's weights.
        custom_decoder: whether the decoder is trained for custom classes alone.
    """

    stage: AdaptStage
    home: Path
    start: StartAdapter | None
    config: LisaConfig
    items: list[Item]
    validation: list[Item]
    data: dict[str, str]
    weights: dict[str, str]
    custom_decoder: bool

    @property
    def augmentation(self) -> Augmentation:
        """Geometry of the augmented views."""
        return Augmentation(self.stage.zoom, (self.config.least_side, self.config.work_side))

    @cached_property
    def start_state(self) -> dict[str, torch.Tensor]:
        """Tensors of the adapter from which training continues; empty without one."""
        return {} if self.start is None else read_state(self.start.folder / WEIGHTS)

    @property
    def staged(self) -> bool:
        """Whether the decoder of custom classes has its own copy of the SAM tower's top-down path."""
        return self.custom_decoder and (self.stage.learn.tower == "last" or bool(part_of(self.start_state, "own_top")))

    @property
    def live(self) -> bool:
        """Whether the SAM tower is trained, so that its features cannot be cached."""
        return not self.staged and self.stage.learn.tower != "no"


def start_processes(stage: AdaptStage, folder: Path, cache: Path, device_name: str) -> Machine:
    """Set up accelerate and the device of this process.

    Raises:
        InputError: accelerate is configured in an unsupported way.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs

    device = pick_device(device_name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    bf16 = use_bf16(stage.precision, device)
    handlers = [
        # a batch without [SEG] leaves the decoder unused; evaluation in the main process keeps the others waiting
        DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        InitProcessGroupKwargs(timeout=timedelta(hours=12)),
    ]
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision="bf16" if bf16 else "no", kwargs_handlers=handlers
    )
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise InputError("Only version 2 of FSDP is supported; set fsdp_version: 2 in accelerate's configuration.")
    log: Callable[[str], None] = _print if accelerator.is_main_process else (lambda _: None)
    return Machine(accelerator, accelerator.device, bf16, folder, cache, log)


def _print(text: str) -> None:
    print(text, flush=True)


def run_settings(stage: AdaptStage, data: dict[str, str], base: dict[str, str], processes: int) -> dict[str, Any]:
    """Settings that must be the same when a run is resumed, as a flat dictionary."""
    settings = stage.model_dump(mode="json", exclude=set(CHANGEABLE))
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {
                f"{name}.{k}": v for k, v in value.items() if not (name == "schedule" and k in CHANGEABLE_IN_SCHEDULE)
            }
        else:
            flat[name] = value
    flat["data"] = short_digest(data)
    flat["base"] = short_digest(base)
    flat["processes"] = processes
    if isinstance(stage.validation, Path):
        flat["validation"] = "a folder"  # its files are in data
    return flat


@dataclass(frozen=True)
class TrainedModel:
    """A trained model: the module, its best weights by name, finished steps, and the metrics of every validation."""

    module: AdaptModel
    values: dict[str, torch.Tensor]
    steps: int
    history: list[dict[str, Any]]


def train_model(task: Task, machine: Machine) -> TrainedModel:
    """Build the model and train it.

    Raises:
        InputError: weights or an adapter that do not match, or a package that is not installed.
    """
    stage, config, device = task.stage, task.config, machine.device
    schedule, learn = stage.schedule, stage.learn
    torch.manual_seed(schedule.seed)
    parts = read_parts(task.home)
    base_concepts = len(parts.config.code_names)
    dtype = torch.bfloat16 if machine.bf16 else torch.float32
    lisa, tokenizer = build_model(parts, task.home, config, stage, dtype, device, task.staged)
    if task.start is not None:
        load_adapter_state(lisa, task.start_state, task.start.config.lora, str(task.start.folder))
    if stage.gradient_checkpointing:
        lisa.language.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    chat = ChatFormat(tokenizer)
    image_start = len(chat.user_ids("", first=True)[0])
    module = AdaptModel(lisa, image_start, base_concepts, exact=learn.language == "qlora").to(device)
    image_tokens = sum(p.side**2 for p in (lisa.clip_projector, lisa.sam_projector) if p is not None)
    features = FeatureSettings(
        machine.cache / "adapt",
        feature_key(task, machine.bf16),
        device,
        machine.bf16,
        task.live,
        task.staged,
        task.augmentation,
    )
    share = Share(machine.accelerator.process_index, machine.accelerator.num_processes, schedule.accumulate)
    maker = make_batches(task, task.items, chat, image_tokens, base_concepts, share)
    store = FeatureStore(lisa, task.items, features)

    def loss_of(
        wrapped: nn.Module, batch: AdaptBatch, source: FeatureStore = store
    ) -> tuple[torch.Tensor, dict[str, float]]:
        batch = source.fill(batch)
        class_embeddings = full_tensor(lisa.mask_head.code_book.weight.detach())
        return adapt_loss(wrapped(batch), batch, class_embeddings, stage.loss)

    validate: Callable[[nn.Module], dict[str, float]] | None = None
    if task.validation:
        validation_maker = make_batches(task, task.validation, chat, image_tokens, base_concepts, Share())
        validation_store = FeatureStore(lisa, task.validation, features)

        def validation_metrics(wrapped: nn.Module) -> dict[str, float]:
            total: dict[str, float] = {}
            for batch in validation_maker.validation(VALIDATION_IMAGES):
                loss, sums = loss_of(wrapped, batch, validation_store)
                add(total, {"loss": float(loss), "#loss": 1, **sums})
            return total

        validate = validation_metrics

    track, close = tracker(machine.folder, stage.tensorboard and machine.accelerator.is_main_process)
    job = Job(
        maker,
        loss_of,
        validate,
        run_settings(stage, task.data, task.weights, machine.accelerator.num_processes),
        factors=((FAST_PARAMETERS, schedule.fast_lr), (VISION_PARAMETERS, schedule.seeing_lr)),
        without_decay=("lisa.mask_head.code_book",),
        track=track,
    )
    processes = AcceleratedProcesses(machine.accelerator)
    trainer = Trainer(module, job, schedule, machine.folder, processes, machine.log)
    count = sum(p.numel() for p in trainer.parameters.values())
    machine.log(f"training {count / 1e6:.2f} million weights on {device.type} in {processes.count} process(es)")
    try:
        values = trainer.run()
    finally:
        close()
    history = [{"step": step, **metrics} for step, metrics in trainer.state.history]
    return TrainedModel(module, values, trainer.state.step, history)


def feature_key(task: Task, bf16: bool) -> str:
    """A string that identifies all that cached features depend on."""
    config = task.config
    key = "+".join(task.weights.get(p, "") for p in ("sam_tower", "clip_tower"))
    if task.start is not None:
        # the adapter may have changed a tower
        key += "+" + short_digest({n: str(v.double().sum()) for n, v in task.start_state.items() if "tower" in n})
    key += f"+{config.work_side}+{config.least_side}+{config.clip_side}+{config.sam_side}+{bf16}"
    return key + f"+{task.live}+{task.staged}+{task.stage.zoom}"


def make_batches(
    task: Task, items: list[Item], chat: ChatFormat, image_tokens: int, base_concepts: int, share: Share
) -> AdaptMaker:
    """Set up the batches of a task.

    Args:
        task: settings.
        items: images that batches are about.
        chat: format of conversations in tokens.
        image_tokens: number of tokens of an image.
        base_concepts: number of the base's concepts.
        share: the part of this process.
    """
    stage = task.stage
    drawing = Drawing(
        stage.schedule.batch_size,
        stage.schedule.seed,
        crop=stage.crop,
        share=stage.replay.share,
        templates=stage.templates,
        views=stage.views,
        longest=stage.longest,
        # if the tower is trained for all concepts, every window needs a whole image to pass through it
        windows=stage.looks if task.custom_decoder or stage.learn.tower == "no" else 0,
    )
    prompting = Prompting(
        decodes=stage.loss.decodes,
        boxes=stage.loss.box > 0 and stage.learn.vision,
        box_weight=stage.loss.box,
        replays=stage.learn.vision,
        codes=task.config.code_names,
        custom_from=base_concepts,
        custom_only=task.custom_decoder,
    )
    return AdaptMaker(items, chat, image_tokens, drawing, prompting, share, task.config.vocabulary, task.augmentation)


def tracker(folder: Path, wanted: bool) -> tuple[Track, Callable[[], None]]:
    """A function that writes metrics for TensorBoard, if that is wanted, and one that closes the file.

    Raises:
        InputError: tensorboard is not installed.
    """
    if not wanted:
        return (lambda *_: None), (lambda: None)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra("tensorboard: true", "tensorboard") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(part: str, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(f"{part}/{name}", value, step)

    return track, writer.close
