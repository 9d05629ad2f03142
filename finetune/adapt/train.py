"""Training in the stage ``adapt``: the model built, its batches made, the loop run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lisa_micro.extras import missing_extra
from lisa_micro.models.checkpoints import read_state
from lisa_micro.models.device import pick_device
from lisa_micro.models.lisa.adapter import WEIGHTS, AdapterConfig, part_of, read_parts
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.types import InputError
from lisa_micro_finetune.adapt.augment import Views
from lisa_micro_finetune.adapt.batches import AdaptMaker
from lisa_micro_finetune.adapt.data import Item
from lisa_micro_finetune.adapt.export import load_adapter_state
from lisa_micro_finetune.adapt.features import FeatureStore, Seeing
from lisa_micro_finetune.adapt.losses import adapt_loss
from lisa_micro_finetune.adapt.model import FAST, SEEING, AdaptModel, build_model
from lisa_micro_finetune.adapt.plans import Drawing, Prompting, Share
from lisa_micro_finetune.adapt.settings import AdaptStage
from lisa_micro_finetune.digest import short_digest
from lisa_micro_finetune.loop import Job, Trainer, add
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.processes import AcceleratedProcesses

FREE = ("judge", "name", "tensorboard", "start")
"""Settings that may change when a run goes on; of the schedule, those that say when to write."""
FREE_SCHEDULE = ("save_every", "log_every", "workers")
JUDGED_IMAGES = 16
"""Validation images whose loss decides what the best weights are, at most."""


@dataclass(frozen=True)
class Machine:
    """Where a run takes place.

    accelerator: accelerate's handle on this and the other processes. bf16: whether to compute in bfloat16. folder: of
    the run. cache: for features and scenes. log: told what a person wants to know.
    """

    accelerator: Any
    device: torch.device
    bf16: bool
    folder: Path
    cache: Path
    log: Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What is learnt from what.

    stage: settings, ``learn.tower`` decided. home: folder of the base. begun: the adapter to go on from. config: the
    base's, with all new concepts. items: to learn from, the default's scenes among them; judged: to choose the best
    weights by. data, weights: fingerprints of the records and of the base. apart: whether the decoder is one of users'
    own concepts alone.
    """

    stage: AdaptStage
    home: Path
    begun: tuple[Path, AdapterConfig] | None
    config: LisaConfig
    items: list[Item]
    judged: list[Item]
    data: dict[str, str]
    weights: dict[str, str]
    apart: bool

    @property
    def lies(self) -> Views:
        """How views lie."""
        return Views(self.stage.zoom, (self.config.least_side, self.config.work_side))

    @cached_property
    def begun_state(self) -> dict[str, torch.Tensor]:
        """Tensors of the adapter to go on from; empty without one."""
        return {} if self.begun is None else read_state(self.begun[0] / WEIGHTS)

    @property
    def staged(self) -> bool:
        """Whether the decoder of users' own concepts sees through a top-down path of its own."""
        return self.apart and (self.stage.learn.tower == "last" or bool(part_of(self.begun_state, "own_top")))


def start_processes(stage: AdaptStage, folder: Path, cache: Path, device_name: str) -> Machine:
    """This and the other processes, ready to compute.

    Raises:
        InputError: accelerate is set up in a way that is not supported.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    device = pick_device(device_name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    bf16 = use_bf16(stage.precision, device)
    handlers = [
        # a batch without [SEG] leaves the decoder unused; the one process that judges keeps the others waiting
        DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        InitProcessGroupKwargs(timeout=timedelta(hours=12)),
    ]
    accelerator = Accelerator(
        cpu=device.type == "cpu", mixed_precision="bf16" if bf16 else "no", kwargs_handlers=handlers
    )
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and getattr(plugin, "fsdp_version", 1) != 2:
        raise InputError("FSDP is used in its version 2 only: set fsdp_version: 2 in accelerate's configuration")
    log: Callable[[str], None] = (lambda _: None) if not accelerator.is_main_process else _say
    return Machine(accelerator, accelerator.device, bf16, folder, cache, log)


def _say(text: str) -> None:
    print(text, flush=True)


def run_settings(stage: AdaptStage, data: dict[str, str], base: dict[str, str], processes: int) -> dict[str, Any]:
    """What a run that goes on must have in common with how it began, as flat plain data."""
    settings = stage.model_dump(mode="json", exclude=set(FREE))
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{k}": v for k, v in value.items() if not (name == "schedule" and k in FREE_SCHEDULE)}
        else:
            flat[name] = value
    flat["data"] = short_digest(data)
    flat["base"] = short_digest(base)
    flat["processes"] = processes
    if isinstance(stage.validation, Path):
        flat["validation"] = "a folder"  # its content is in data
    return flat


def train_model(task: Task, machine: Machine) -> tuple[AdaptModel, dict[str, torch.Tensor], tuple[int, list]]:
    """Build, train, and give back the model, its best weights by name, and (steps done, validation figures)."""
    stage, config, begun, device = task.stage, task.config, task.begun, machine.device
    schedule, learn = stage.schedule, stage.learn
    torch.manual_seed(schedule.seed)
    parts = read_parts(task.home)
    taught = len(parts.config.code_names)
    staged = task.staged
    live = not staged and learn.tower != "no"
    dtype = torch.bfloat16 if machine.bf16 else torch.float32
    lisa, tokenizer = build_model(parts, task.home, config, stage, dtype, device, staged)
    if begun is not None:
        load_adapter_state(lisa, task.begun_state, begun[1].lora, str(begun[0]))
    if stage.gradient_checkpointing:
        lisa.language.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    chat = ChatFormat(tokenizer)
    sides = [p.side for p in (lisa.clip_projector, lisa.sam_projector) if p is not None]
    opening = len(chat.user_ids("", first=True)[0])
    module = AdaptModel(lisa, opening, taught, exact=learn.language == "qlora").to(device)
    tokens = sum(s * s for s in sides)
    make = _maker(task, chat, tokens, task.items, taught, machine.accelerator)
    key = "+".join(task.weights.get(p, "") for p in ("sam_tower", "clip_tower"))
    if begun is not None:
        # a tower that the adapter has changed sees otherwise
        key += "+" + short_digest({n: str(v.double().sum()) for n, v in task.begun_state.items() if "tower" in n})
    key += f"+{config.work_side}+{config.least_side}+{config.clip_side}+{config.sam_side}+{machine.bf16}"
    key += f"+{live}+{staged}+{stage.zoom}"
    seen = Seeing(machine.cache / "adapt", key, device, machine.bf16, live, staged, task.lies)
    store = FeatureStore(lisa, task.items, seen)
    fixed, own = None, None
    if task.judged:
        own = FeatureStore(lisa, task.judged, seen)
        fixed = _maker(task, chat, tokens, task.judged, taught, None)

    def loss_of(
        wrapped: nn.Module, batch: Any, features: FeatureStore = store
    ) -> tuple[torch.Tensor, dict[str, float]]:
        batch = features.fill(batch)
        codes = lisa.mask_head.code_book.weight.detach()
        codes = codes.full_tensor() if hasattr(codes, "full_tensor") else codes
        return adapt_loss(wrapped(batch), batch, codes, stage.loss)

    def judge(wrapped: nn.Module) -> dict[str, float]:
        total: dict[str, float] = {}
        for batch in fixed.validation(JUDGED_IMAGES):
            loss, sums = loss_of(wrapped, batch, own)
            add(total, {"loss": float(loss), "#loss": 1, **sums})
        return total

    settings = run_settings(stage, task.data, task.weights, machine.accelerator.num_processes)
    track, close = tracker(machine.folder, stage.tensorboard and machine.accelerator.is_main_process)
    job = Job(
        make,
        loss_of,
        judge if task.judged else None,
        settings,
        factors=((FAST, schedule.fast_lr), (SEEING, schedule.seeing_lr)),
        without_decay=("lisa.mask_head.code_book",),
        track=track,
    )
    processes = AcceleratedProcesses(machine.accelerator)
    trainer = Trainer(module, job, schedule, machine.folder, processes, machine.log)
    count = sum(p.numel() for p in trainer.parameters.values())
    machine.log(f"{count / 1e6:.2f} million weights are trained, on {device.type}, {processes.count} process(es)")
    try:
        values = trainer.run()
    finally:
        close()
    return module, values, (trainer.state.step, [{"step": s, **f} for s, f in trainer.state.history])


def _maker(task: Task, chat: ChatFormat, tokens: int, items: list[Item], taught: int, parts: Any) -> AdaptMaker:
    stage = task.stage
    drawing = Drawing(
        stage.schedule.batch_size,
        stage.schedule.seed,
        crop=stage.crop,
        share=stage.replay.share,
        templates=stage.templates,
        views=stage.views,
        longest=stage.longest,
        # where the tower is trained for all concepts, a window takes a whole image through it
        windows=stage.looks if task.apart or stage.learn.tower == "no" else 0,
    )
    prompting = Prompting(
        decodes=stage.loss.decodes,
        boxes=stage.loss.box > 0 and stage.learn.seeing,
        box_weight=stage.loss.box,
        keeps=stage.learn.seeing,
        codes=task.config.code_names,
        custom_from=taught,
        apart=task.apart,
    )
    share = Share() if parts is None else Share(parts.process_index, parts.num_processes, stage.schedule.accumulate)
    return AdaptMaker(items, chat, tokens, drawing, prompting, share, task.config.vocabulary, task.lies)


def tracker(folder: Path, wanted: bool) -> tuple[Callable[[str, int, dict[str, float]], None], Callable[[], None]]:
    """Where figures go beside the log: TensorBoard, where it is wanted.

    Raises:
        InputError: it is not installed.
    """
    if not wanted:
        return (lambda *_: None), (lambda: None)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra("tensorboard: true", "tensorboard") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(part: str, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(f"{part}/{name}", value, step)

    return track, writer.close
