"""Stage 3 for version 2 of the reply language: LoRA adapter, new tokens and projectors on programs that compose."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lisa_micro.language.program.terms import CANNOT, END_PLOT, PLOT, UNKNOWN
from lisa_micro.language.words import ABSENT, END_VALUE, VALUE
from lisa_micro.models.checkpoints import read_state, save_module, sha256
from lisa_micro.models.device import pick_device
from lisa_micro.models.lisa.build import PARTS, build_lisa, load_parts
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.model import LisaModel
from lisa_micro.types import InputError
from lisa_micro_finetune.config import ProgramStage
from lisa_micro_finetune.data.conversations import IGNORE, LanguageBatch, pooled_features
from lisa_micro_finetune.data.pictures import collect_pictures
from lisa_micro_finetune.data.programs import NO_IMAGE, MixedBatch, MixedMaker, Mixture, Pictures
from lisa_micro_finetune.loop import run_loop
from lisa_micro_finetune.losses import OTHERS, prompt_terms
from lisa_micro_finetune.precision import use_bf16
from lisa_micro_finetune.stages.common import save_part, without_prefix, write_record
from lisa_micro_finetune.stages.language import (
    FAST,
    FEATURE_SEED,
    freeze,
    image_slots,
    image_token_count,
    load_adapter,
    pooler,
    trained_parts,
)

LIKE = {PLOT: VALUE, END_PLOT: END_VALUE, UNKNOWN: ABSENT, CANNOT: ABSENT}
"""The token of version 1 near whose row a token of version 2 starts."""
TEMPERATURE = 0.07
"""Of the cosines between image tokens and words for kinds of images."""
KIND_BATCH = 128
"""Images of a step in which the projector learns their kinds alone."""


def build(stage: ProgramStage, device: torch.device, bf16: bool) -> tuple[LisaModel, ChatFormat]:
    """Build the model that a configuration describes, on the CPU, with all frozen but the parts to train.

    Args:
        stage: the configuration; ``start`` may hold a model of either version of the reply language.
        device: device on which the model will be trained.
        bf16: whether the language model is in bfloat16.

    Raises:
        InputError: weights that are missing or do not match.
    """
    start = Path(stage.start)
    given = LisaConfig.read(start)
    config = given.model_copy(update={"reply_language": 2, "trained": {}})
    # torch's fused attention has a slow backward pass on a CPU for short sequences
    attention = {"attn_implementation": "eager"} if device.type == "cpu" else {}
    model, tokenizer = build_lisa(config, torch.bfloat16 if bf16 else torch.float32, **attention)
    chat = ChatFormat(tokenizer)
    load_parts(model, start, tuple(part for part in PARTS if part != "new_tokens"))
    load_rows(model, chat, read_state(start / "new_tokens.safetensors")["rows"], given.special_tokens)
    load_adapter(model.language, start / "lora.safetensors")
    freeze(model)
    for module in (model.concept_head, model.concept_top, model.exemplar_encoder):
        if module is not None:
            module.requires_grad_(False)
    return model.eval(), chat


@torch.no_grad()
def load_rows(model: LisaModel, chat: ChatFormat, rows: Tensor, tokens: tuple[str, ...]) -> None:
    """Load the rows of new tokens; those that are missing start near the row of a similar token.

    Args:
        model: with rows for the tokens of ``chat``.
        chat: format of conversations.
        rows: ``(len(tokens), hidden)``.
        tokens: tokens that ``rows`` belong to.

    Raises:
        InputError: the rows have another shape.
    """
    own = model.new_tokens.rows
    if rows.shape != (len(tokens), own.shape[1]):
        raise InputError(f"The rows of the new tokens have shape {tuple(rows.shape)}, not {len(tokens), own.shape[1]}.")
    known = dict(zip(tokens, rows.to(own.dtype), strict=True))
    spread = 0.3 * rows.float().std()
    for number, token in enumerate(chat.special):
        if token in known:
            own[number] = known[token]
        else:
            noise = torch.randn(own.shape[1], generator=torch.Generator().manual_seed(number))
            own[number] = known[LIKE[token]] + spread * noise


class KindWords(NamedTuple):
    """Words for the kinds of images, which the image tokens shall resemble.

    Attributes:
        embeddings: ``(K, hidden)``, mean embeddings of the names of K kinds, or of kinds that go together.
        of_row: ``(rows,)`` long, number of the kind of each row of the pooled features, -1 where it is not known.
    """

    embeddings: Tensor
    of_row: Tensor

    def distance(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """How little the image tokens tell the kind of image.

        Args:
            tokens: ``(B, N, hidden)`` image tokens of the CLIP tower.
            rows: ``(B,)`` rows of the pooled features.

        Returns:
            cross-entropy of the kinds by the cosine of their words and the mean token.
        """
        kinds = self.of_row[rows].to(tokens.device)
        known = kinds >= 0
        if not bool(known.any()):
            return tokens.new_zeros(())
        mean = F.normalize(tokens[known].float().mean(1), dim=-1)
        cosine = mean @ F.normalize(self.embeddings.to(mean), dim=-1).T
        return F.cross_entropy(cosine / TEMPERATURE, kinds[known])


@torch.no_grad()
def kind_words(model: LisaModel, chat: ChatFormat, pictures: Pictures) -> KindWords:
    """The words for the kinds of some images."""
    names = sorted({kinds for kinds in pictures.kinds if kinds})
    rows = max(row for rows in pictures.rows for row in rows) + 1
    of_row = torch.full((rows,), -1)
    for kinds, own in zip(pictures.kinds, pictures.rows, strict=True):
        if kinds:
            of_row[list(own)] = names.index(kinds)
    words = [
        torch.tensor(chat.tokenizer(" " + " ".join(kinds), add_special_tokens=False)["input_ids"]) for kinds in names
    ]
    return KindWords(torch.stack([model.embed(ids).float().mean(0) for ids in words]), of_row)


def teach_kinds(model: LisaModel, features: Tensor, words: KindWords, steps: int, lr: float = 1e-3) -> float:
    """Train the projector of the CLIP tower alone to tell the kinds of images, :data:`KIND_BATCH` images a step.

    So that a few thousand images are not learnt by heart, the features get noise of half their spread, a fifth of the
    channels is dropped in each image, and weights decay strongly. Kinds of few images are drawn more often than their
    share, by the square root of its inverse.

    Args:
        model: the model, on the CPU.
        features: ``(rows, N, C)`` pooled features of the CLIP tower.
        words: of the kinds.
        steps: number of steps.
        lr: peak learning rate, which falls to 0.

    Returns:
        cross-entropy in the last step.
    """
    projector = model.clip_projector
    assert projector is not None
    known = (words.of_row >= 0).nonzero()[:, 0]
    kinds = words.of_row[known]
    often = kinds.bincount().clamp(min=1).float()[kinds].rsqrt()
    noise = 0.5 * features[known].float().std((0, 1))
    optimiser = torch.optim.AdamW(projector.parameters(), lr, weight_decay=0.3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loss = torch.zeros(())
    for _ in range(steps):
        rows = known[torch.multinomial(often, KIND_BATCH, replacement=True)]
        given = features[rows].float()
        given = F.dropout1d((given + noise * torch.randn_like(given)).transpose(1, 2), 0.2).transpose(1, 2)
        loss = words.distance(projector.project(given), rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    return float(loss.detach())


def compile_layers(model: LisaModel) -> None:
    """Let torch compile the layers of the language model at their first use, once for all lengths; names stay."""
    for layer in model.language.get_base_model().model.layers:
        layer.compile(dynamic=True)


class LossWeights(NamedTuple):
    """Weights of the terms of the loss beside the cross-entropy of the programs, which has 1.

    Attributes:
        prompt: of the distance of the projected state of each [SEG] to the class embedding of its concept.
        kind: of :meth:`KindWords.distance`.
        back: of the cross-entropy of the requests that follow their programs.
    """

    prompt: float = 1.0
    kind: float = 0.0
    back: float = 0.0


def make_step(
    model: LisaModel,
    features: dict,
    image_start: int,
    weights: LossWeights,
    device: torch.device,
    bf16: bool,
    words: KindWords | None = None,
) -> Callable[[MixedBatch], tuple[Tensor, dict[str, float]]]:
    """Make the function from a batch to its loss and metrics.

    The loss is the cross-entropy of the programs plus the terms of :class:`LossWeights`. What kind of image it is
    decides meanings, and a word for it is what a language model reads most easily, so image tokens shall resemble one.
    With what a request would be for a program, a reply can be judged from the other side (noisy channel, Yee et al.,
    arXiv:1908.05731).

    Args:
        model: has class embeddings of all concepts in the batches.
        features: ``clip`` and ``sam``, pooled features of all images; empty for a stage of texts alone.
        image_start: position of the first image token.
        weights: of the terms.
        device: device to compute on.
        bf16: whether to compute in bfloat16.
        words: of the kinds of images; None: their term is left out.
    """
    class_embeddings = model.mask_head.code_book.weight.detach().to(device)

    def half(batch: LanguageBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Summed cross-entropy, (number of tokens, number of correct ones), the distance of the prompts and of the
        kinds of images."""
        kind = torch.zeros((), device=device)
        ids, labels = batch.ids.to(device), batch.labels.to(device)
        embeddings = model.embed(ids)
        if int(batch.image[0]) != NO_IMAGE:
            tokens = model.image_tokens(
                features["clip"][batch.image].to(device).float(),
                features["sam"][batch.image].to(device).float(),
                pooled=True,
            )
            embeddings = image_slots(embeddings, tokens, image_start)
            if words is not None and model.config.towers != "sam":
                kind = words.distance(tokens[:, : model.config.clip_side**2], batch.image)
        states = model.states(embeddings, use_cache=False)
        wanted = labels != IGNORE
        logits, truth = model.logits(states[wanted]).float(), labels[wanted]
        language = F.cross_entropy(logits, truth, reduction="sum")
        right = (logits.argmax(-1) == truth).sum()
        prompt = torch.zeros((), device=device)
        if len(batch.seg):
            seg = batch.seg.to(device)
            shift = 0 if model.config.seg_state == "at" else 1
            projected = model.seg_projector(states[seg[:, 0], seg[:, 1] - shift]).float()
            far, others, _ = prompt_terms(projected, batch.concept.to(device), class_embeddings)
            prompt = (far + OTHERS * others).mean()
        return language, torch.stack([wanted.sum(), right]), prompt, kind

    def way_back(batch: LanguageBatch) -> Tensor:
        states = model.states(model.embed(batch.ids.to(device)), use_cache=False)
        labels = batch.labels.to(device)
        wanted = labels != IGNORE
        return F.cross_entropy(model.logits(states[wanted]).float(), labels[wanted])

    def step(batch: MixedBatch) -> tuple[Tensor, dict[str, float]]:
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            halves = [half(part) for part in (batch.images, batch.texts) if part is not None]
            back = way_back(batch.back) if batch.back is not None else torch.zeros((), device=device)
        counted = torch.stack([counts for _, counts, _, _ in halves]).sum(0)
        language = torch.stack([summed for summed, _, _, _ in halves]).sum() / counted[0]
        prompt = torch.stack([term for _, _, term, _ in halves]).mean()
        kind = torch.stack([term for _, _, _, term in halves]).sum()
        metrics = {
            "words": float(language.detach()),
            "token": float(counted[1] / counted[0]),
            "far": float(prompt.detach()),
            "kind": float(kind.detach()),
            "back": float(back.detach()),
        }
        return language + weights.prompt * prompt + weights.kind * kind + weights.back * back, metrics

    return step


def export(model: LisaModel, values: dict[str, Tensor], folder: Path, start: Path) -> None:
    """Write a complete model folder.

    Args:
        model: the trained model.
        values: averaged weights of the trained parts, written in float16.
        folder: the folder to write.
        start: folder from which all other parts are copied.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    trained = trained_parts(model.config)
    for source in start.glob("*.safetensors"):
        if source.stem not in (*trained, "lora"):
            shutil.copyfile(source, folder / source.name)
    for part in trained:
        save_part(values, part, folder)
    adapter = without_prefix(values, "language.")
    save_module(get_peft_model_state_dict(model.language, state_dict=adapter), folder / "lora.safetensors")
    (folder / "config.json").write_text(model.config.model_dump_json(indent=2))


def run_programs(stage: ProgramStage, folder: Path, cache: Path, device_name: str = "auto") -> None:
    """Train LoRA adapter, new tokens and projectors; write a complete model to ``folder/weights``.

    Raises:
        InputError: ``start`` is missing, or weights do not match.
    """
    device = pick_device(device_name)
    bf16 = use_bf16(stage.precision, device)
    start, schedule = Path(stage.start), stage.schedule
    torch.manual_seed(schedule.seed)
    model, chat = build(stage, device, bf16)
    sources, pictures = collect_pictures(stage, cache) if stage.image_batch else ([], Pictures())
    features: dict[str, Tensor] = {}
    if sources:
        key = "+".join(sha256(start / f"{part}.safetensors")[:12] for part in ("sam_tower", "clip_tower"))
        file = cache / "pooled_programs.pt"
        features = pooled_features(sources, pooler(model, bf16), file, stage.views, FEATURE_SEED, key)
    mixture = Mixture(
        stage.image_batch,
        stage.text_batch,
        stage.longest,
        stage.picture_share,
        stage.composed_share,
        stage.version_1_share,
        schedule.seed,
        stage.back_batch,
    )
    maker = MixedMaker(chat, image_token_count(model.config), mixture, pictures, model.config.vocabulary)
    words = kind_words(model, chat, pictures) if sources and stage.kind_weight else None
    if words is not None and stage.kind_steps:
        left = teach_kinds(model, features["clip"], words, stage.kind_steps)
        print(f"image tokens: cross-entropy of kinds {left:.3f}", flush=True)
    model.to(device)
    if stage.compiled:
        compile_layers(model)
    image_start = len(chat.user_ids("", first=True)[0])
    weights = LossWeights(stage.prompt_weight, stage.kind_weight, stage.back_weight)
    began = time.monotonic()
    values = run_loop(
        model,
        maker,
        make_step(model, features, image_start, weights, device, bf16, words),
        schedule,
        folder,
        groups=[(FAST, stage.fast_lr)],
        on_save=lambda _, v: export(model, v, folder / "weights", start),
    )
    export(model, values, folder / "weights", start)
    write_record(folder, stage, {"seconds": time.monotonic() - began})
