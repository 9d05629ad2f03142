"""Batches of the stage ``adapt``: conversations about images, and windows to segment.

A batch depends on the seed and the step alone. Every process draws the whole batch, which is cheap, and makes the
target maps of its own part. So all processes know the totals by which losses are divided, and several processes train
on the same batches as one.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from lisa_micro.datasets.texts import Turn
from lisa_micro.datasets.texts.custom import sample_custom_conversation
from lisa_micro.datasets.texts.programs.sample import canonical
from lisa_micro.language import DEFAULT_VOCABULARY, Vocabulary
from lisa_micro.language.words import ABSENT, SPECIAL_TOKENS
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import STRIDE
from lisa_micro.types import CONCEPTS, InputError
from lisa_micro_finetune.adapt.augment import DEFAULT_AUGMENTATION, Augmentation, Window, crop_window
from lisa_micro_finetune.adapt.data import Goal, Item, TrainingTurn
from lisa_micro_finetune.adapt.plans import (
    AdaptBatch,
    BoxPrompt,
    Drawing,
    ExtraWindow,
    Plan,
    Prompting,
    Share,
    WindowPrompts,
)
from lisa_micro_finetune.data.conversations import IGNORE, conversation_about, encode_turns
from lisa_micro_finetune.data.crops import Maps, box_of, compacted, pick_instance, presence_of, target_maps
from lisa_micro_finetune.data.facts import scene_facts

MOST_GOALS = 3
"""Largest number of [SEG] of a conversation that prompt the decoder in a step; if there are more, a random choice."""
DRAWS = 200
"""Attempts to draw a conversation that is short enough."""
REPLAYED = ("neck", "pore", "agglomerate")
"""Concepts that are replayed besides particles."""
CUSTOM_SHARE = 0.7
"""Fraction of the drawn conversations about an image with labels of a custom class that are about that class."""


DEFAULT_PROMPTING, WHOLE = Prompting(), Share()


class AdaptMaker:
    """Make the part of a step's batch that belongs to this process.

    Args:
        items: images of the user and simulated scenes.
        chat: format of conversations in tokens.
        image_tokens: number of tokens of an image.
        drawing, prompting, share: see these classes.
        vocabulary: concepts of the model.
        augmentation: geometry of the augmented views.

    Raises:
        InputError: the batch is too small for the number of processes and pieces.
    """

    def __init__(
        self,
        items: list[Item],
        chat: ChatFormat,
        image_tokens: int,
        drawing: Drawing,
        prompting: Prompting = DEFAULT_PROMPTING,
        share: Share = WHOLE,
        vocabulary: Vocabulary = DEFAULT_VOCABULARY,
        augmentation: Augmentation = DEFAULT_AUGMENTATION,
    ):
        if drawing.batch_size < share.processes * share.accumulate:
            raise InputError(
                f"A batch of {drawing.batch_size} cannot be divided among {share.processes} processes in "
                f"{share.accumulate} pieces; increase schedule.batch_size or decrease schedule.accumulate."
            )
        self.items, self.chat, self.image_tokens = items, chat, image_tokens
        self.drawing, self.prompting, self.part = drawing, prompting, share
        self.vocabulary, self.augmentation = vocabulary, augmentation
        self.records = [k for k, item in enumerate(items) if item.kind == "record" and (item.turns or item.facts)]
        self.scenes = [k for k, item in enumerate(items) if item.kind == "sim"]
        self.codes = {name: number for number, name in enumerate(prompting.codes or vocabulary.names)}
        self.share = drawing.share if self.scenes else 0.0
        self.replays = prompting.replays and prompting.decodes and not prompting.custom_only
        self.boxes = prompting.boxes and prompting.decodes and not prompting.custom_only
        self.windows = drawing.windows if prompting.replays and prompting.decodes else 0
        self.embeddable = {k: self.embedding_goals(item) for k, item in enumerate(items)}
        self.seg_id = chat.special[SPECIAL_TOKENS[0]]

    def __call__(self, step: int) -> list[AdaptBatch]:
        """Make the pieces of this process's part of a step's batch."""
        rng = np.random.default_rng((self.drawing.seed, 13, step))
        scenes = self.share * self.drawing.batch_size
        # the same number in every batch; a fraction is rounded up or down at random
        count = int(scenes) + int(rng.random() < scenes - int(scenes))
        kinds = [k < count for k in range(self.drawing.batch_size)]
        plans = [self.plan(rng, kind) for kind in kinds]
        plans = [replace(plan, extra=self.draw_extra(rng, kind)) for plan, kind in zip(plans, kinds, strict=True)]
        return self.divide(plans)

    def divide(self, plans: list[Plan]) -> list[AdaptBatch]:
        """Make this process's batches from the plans of all processes."""
        order = sorted(range(len(plans)), key=lambda k: (len(plans[k].ids), k))
        totals = self.totals(plans)
        part = [plans[k] for k in order[self.part.process :: self.part.processes]]
        # all processes need the same number of pieces, since they exchange data in each
        edges = [len(part) * k // self.part.accumulate for k in range(self.part.accumulate + 1)]
        return [self.batch(part[a:b], totals) for a, b in itertools.pairwise(edges)]

    def totals(self, plans: list[Plan]) -> dict[str, float]:
        """Count what losses are divided by: tokens with a loss, [SEG] of a concept, weighted prompts of the decoder."""
        windows = [window for plan in plans for window in (plan, *plan.extra)]
        prompts = sum(len(w.asked) + len(w.concepts) + self.prompting.box_weight * len(w.boxes) for w in windows)
        return {
            "tokens": max(1, sum(label != IGNORE for p in plans for label in p.labels)),
            "concepts": max(1, sum(goal.concept >= 0 for p in plans for goal in p.goals)),
            "prompts": max(1.0, prompts),
        }

    def validation(self, most: int) -> list[AdaptBatch]:
        """Make fixed batches about the first ``most`` items, without augmentation.

        Each has extra windows, since one window per image is too few to tell which weights are better.
        """
        plans = []
        for k in self.records[:most]:
            rng = np.random.default_rng((self.drawing.seed, 17, k))
            plan = self.plan(rng, False, item=k, view=0)
            plans.append(replace(plan, extra=self.extra_windows(rng, [k] * self.windows, 1)))
        return [
            self.batch(plans[s : s + self.drawing.batch_size], self.totals(plans))
            for s in range(0, len(plans), self.drawing.batch_size)
        ]

    def plan(self, rng: np.random.Generator, scene: bool, item: int | None = None, view: int | None = None) -> Plan:
        """Draw a conversation, and what to segment of it.

        Args:
            rng: random numbers.
            scene: whether it is about a simulated scene.
            item, view: image and view; ``None``: random ones.

        Raises:
            InputError: no conversation is short enough.
        """
        pool = self.scenes if scene else self.records
        for _ in range(DRAWS):
            k = pool[int(rng.integers(len(pool)))] if item is None else item
            turns, goals = self.conversation(self.items[k], rng)
            if turns is None:
                continue
            if self.chat.writes_programs:
                turns = canonical(turns, self.vocabulary.own)
            ids, labels = encode_turns(turns, self.chat, self.image_tokens)
            seg = [p for p, t in enumerate(ids) if t == self.seg_id]
            if len(ids) > self.drawing.longest or len(seg) != len(goals):
                continue
            number = int(rng.integers(1 if scene else self.drawing.views)) if view is None else view
            return self.add_prompts(rng, Plan(k, number, ids, labels, seg, goals, Window(0, 0, 1, 1), (), (), ()))
        raise InputError(
            f"No conversation about {self.items[pool[0] if item is None else item].name} or similar images has at most "
            f"{self.drawing.longest} tokens; increase longest."
        )

    def conversation(self, item: Item, rng: np.random.Generator) -> tuple[list[Turn] | None, tuple[Goal, ...]]:
        """Turns and a goal for each [SEG]: those of the record, or drawn from the built-in texts."""
        if item.turns and (item.facts is None or rng.random() >= self.drawing.templates):
            return [as_turn(turn, self.vocabulary) for turn in item.turns], tuple(
                g for turn in item.turns for g in turn.goals
            )
        custom = [c for c in self.vocabulary.own if item.kind == "record" and c.name in item.labels]
        if custom and (rng.random() < CUSTOM_SHARE or "particle" not in item.labels):
            concept = custom[int(rng.integers(len(custom)))]
            turns = sample_custom_conversation(rng, concept, scene_facts(item.facts, rng))
        else:
            turns = conversation_about(item.facts, rng)
        if turns is None:
            return None, ()
        asked = [target.concept for turn in turns for target in turn.targets]
        return turns, tuple(Goal(c if c in item.labels else None, self.codes[c]) for c in asked)

    def add_prompts(self, rng: np.random.Generator, plan: Plan) -> Plan:
        """Choose a window of a plan and the prompts of the decoder in it."""
        prompting, item = self.prompting, self.items[plan.item]
        first = prompting.custom_from if prompting.custom_only else -1
        asked = (
            [(n, goal) for n, goal in enumerate(plan.goals) if goal.key is not None and goal.concept >= first]
            if prompting.decodes
            else []
        )
        if len(asked) > MOST_GOALS:
            picks = sorted(rng.choice(len(asked), MOST_GOALS, replace=False).tolist())
            asked = [asked[p] for p in picks]
        concepts = list(dict.fromkeys(goal for _, goal in asked if goal.concept >= prompting.custom_from))
        if self.replays and item.kind == "sim":
            # necks and pores are found by these concepts, whatever the words ask for
            names = ("particle", REPLAYED[int(rng.integers(len(REPLAYED)))])
            concepts += [Goal(name, CONCEPTS.index(name)) for name in names]
        if not prompting.decodes:
            return replace(plan, asked=tuple(asked), concepts=tuple(concepts))
        aim = asked[int(rng.integers(len(asked)))][1].key if asked else "particle"
        window = self.draw_window(rng, item, plan.view, aim)
        boxes = self.drawn_boxes(rng, item, plan.view, window)
        return replace(plan, window=window, asked=tuple(asked), concepts=tuple(concepts), boxes=boxes)

    def drawn_boxes(self, rng: np.random.Generator, item: Item, view: int, window: Window) -> tuple[BoxPrompt, ...]:
        """Draw a box around one instance in the window; none if the labels do not separate instances."""
        mask = pick_instance(self.crop_labels(item, view, window), rng, True) if self.boxes and item.instances else None
        if mask is None:
            return ()
        shift = np.tile(np.array([window.x0, window.y0], np.float32) * STRIDE, 2)
        return ((box_of(mask, rng) + shift, mask),)

    def embedding_goals(self, item: Item) -> list[Goal]:
        """Goals about an image whose class embeddings may prompt the decoder.

        On simulated scenes these are particles and the replayed concepts, else particles and custom classes.
        """
        wanted = ("particle", *REPLAYED) if item.kind == "sim" else ("particle", *(c.name for c in self.vocabulary.own))
        goals = [Goal(name, self.codes[name]) for name in wanted if name in item.labels]
        return (
            [goal for goal in goals if goal.concept >= self.prompting.custom_from]
            if self.prompting.custom_only
            else goals
        )

    def draw_extra(self, rng: np.random.Generator, scene: bool) -> tuple[ExtraWindow, ...]:
        """Draw further windows of random images of the same kind; the decoder is trained on them without the language
        model, which is cheap."""
        scene = scene and not self.prompting.custom_only
        pool = [k for k in (self.scenes if scene else self.records) if self.embeddable[k]]
        chosen = [pool[int(rng.integers(len(pool)))] for _ in range(self.windows if pool else 0)]
        return self.extra_windows(rng, chosen, 1 if scene else self.drawing.views)

    def extra_windows(self, rng: np.random.Generator, chosen: list[int], views: int) -> tuple[ExtraWindow, ...]:
        """Draw a window of each of these items that has something to segment."""
        found = []
        for k in chosen:
            if not self.embeddable[k]:
                continue
            item, view = self.items[k], int(rng.integers(views))
            order = rng.permutation(len(self.embeddable[k]))[:2]
            goals = tuple(self.embeddable[k][n] for n in order)
            window = self.draw_window(rng, item, view, goals[0].key)
            found.append(ExtraWindow(k, view, window, goals, self.drawn_boxes(rng, item, view, window)))
        return tuple(found)

    def draw_window(self, rng: np.random.Generator, item: Item, view: int, aim: str | None) -> Window:
        """Draw a window, in most cases around a pixel of the labels ``aim``."""
        labels = None if aim is None else item.labels.get(aim)
        height, width = next(iter(item.labels.values())).shape if item.labels else (64, 64)
        labels = np.zeros((height, width), np.int16) if labels is None else labels
        turned = self.augmentation(item, view)(labels)
        # the tower sees the image padded to a multiple of 64 px
        cells = [-(-side // 64) * 4 for side in turned.shape]
        h, w = (min(self.drawing.crop // STRIDE, n) for n in cells)
        y, x = (int(rng.integers(n - s + 1)) for n, s in zip(cells, (h, w), strict=True))
        inside = np.argwhere(turned[::5, ::5] > 0)
        if len(inside) and rng.random() < 0.8:
            row, column = inside[int(rng.integers(len(inside)))] * 5 / STRIDE
            jitter = rng.uniform(-0.3, 0.3, 2)
            y = int(np.clip(round(row - h / 2 + jitter[0] * h), 0, cells[0] - h))
            x = int(np.clip(round(column - w / 2 + jitter[1] * w), 0, cells[1] - w))
        # cells of the encoder's coarsest features have 32 px
        return Window(x // 2 * 2, y // 2 * 2, w, h)

    def crop_labels(
        self, item: Item, view: int, window: Window, keys: tuple[str, ...] = CONCEPTS
    ) -> dict[str, np.ndarray]:
        """Labels of a window by key, ``(16 h, 16 w)`` int32, 0 outside the image."""
        transform = self.augmentation(item, view)
        return {key: crop_window(transform(item.labels[key]), window) for key in keys if key in item.labels}

    def batch(self, plans: list[Plan], totals: dict[str, float]) -> AdaptBatch:
        """Make the tensors of some conversations."""
        longest = -(-max(len(p.ids) for p in plans) // 16) * 16
        ids = torch.zeros(len(plans), longest, dtype=torch.long)
        labels = torch.full_like(ids, IGNORE)
        seg, concept, windows = [], [], []
        for row, plan in enumerate(plans):
            ids[row, : len(plan.ids)] = torch.tensor(plan.ids)
            labels[row, : len(plan.labels)] = torch.tensor(plan.labels)
            if plan.asked or plan.concepts or plan.boxes:
                windows.append(self.window_prompts(plan, row, len(seg)))
            windows += [self.window_prompts(window, row, len(seg)) for window in plan.extra]
            seg += [[row, position] for position in plan.seg]
            concept += [goal.concept for goal in plan.goals]
        return AdaptBatch(
            ids,
            labels,
            torch.tensor(seg, dtype=torch.long).reshape(-1, 2),
            torch.tensor(concept, dtype=torch.long),
            [(p.item, p.view) for p in plans],
            windows,
            totals,
        )

    def window_prompts(self, plan: Plan | ExtraWindow, row: int, first: int) -> WindowPrompts:
        """Make the prompts of one window and their target maps.

        Args:
            plan: the window.
            row: row of its conversation in the batch.
            first: number in the batch of the conversation's first [SEG].
        """
        item, window = self.items[plan.item], plan.window
        asked = [goal for _, goal in plan.asked]
        labels = self.crop_labels(item, plan.view, window, tuple({goal.key for goal in (*asked, *plan.concepts)}))
        shape = self.augmentation(item, plan.view)(np.empty(next(iter(item.labels.values())).shape, bool)).shape
        valid = crop_window(np.ones(shape, np.int16), window) > 0
        rows = []
        for goal in (*asked, *plan.concepts):
            target = compacted(labels[goal.key])
            rows.append(target_maps(target, valid, item.instances, presence_of(target), 1.0))
        for _, mask in plan.boxes:
            rows.append(target_maps(mask.astype(np.int32), valid, False, -1.0, self.prompting.box_weight))
        columns = [torch.as_tensor(np.array(column, np.float32)) for column in zip(*rows, strict=True)]
        boxes = np.array([box for box, _ in plan.boxes], np.float32).reshape(-1, 4)
        return WindowPrompts(
            plan.item,
            plan.view,
            row,
            window,
            torch.tensor([first + n for n, _ in plan.asked], dtype=torch.long),
            torch.tensor([goal.concept for goal in plan.concepts], dtype=torch.long),
            torch.as_tensor(boxes),
            Maps(*columns),
        )


def as_turn(said: TrainingTurn, vocabulary: Vocabulary) -> Turn:
    """Convert a record's turn to a turn of the texts.

    If the reply begins with ``<absent>`` for a known concept, the decoder decides so, and the token has no loss.
    """
    reply = said.reply.strip()
    forced = reply.startswith(ABSENT) and not said.goals and vocabulary.named_in(reply) is not None
    return Turn(said.user, reply, forced_absent=forced)
