"""Conversations about windows of images, as batches: a function of seed and step alone, dealt out to the processes.

Every process draws the whole batch, which is cheap, and makes the maps of its own part of it. So the totals by which
losses are divided are known to all, and several processes learn from the same batches as one.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from lisa_micro.datasets.texts import Turn
from lisa_micro.datasets.texts.custom import sample_custom_conversation
from lisa_micro.language import DEFAULT_VOCABULARY, Vocabulary
from lisa_micro.language.words import ABSENT, SPECIAL_TOKENS
from lisa_micro.models.lisa.chat import ChatFormat
from lisa_micro.models.lisa.mask_head import STRIDE
from lisa_micro.types import CONCEPTS, InputError
from lisa_micro_finetune.adapt.augment import DEFAULT_VIEWS, Views, Window, piece
from lisa_micro_finetune.adapt.data import Goal, Item, Said
from lisa_micro_finetune.adapt.plans import AdaptBatch, Drawing, Look, Plan, Prompting, Share, Sight
from lisa_micro_finetune.data.conversations import IGNORE, conversation_about, encode_turns
from lisa_micro_finetune.data.crops import Maps, box_of, compacted, pick_instance, presence_of, target_maps
from lisa_micro_finetune.data.facts import scene_facts

MOST_GOALS = 3
"""Of one conversation that are outlined in a step, drawn by chance where there are more."""
DRAWS = 200
KEPT = ("neck", "pore", "agglomerate")
OWN_SHARE = 0.7
"""Of the drawn conversations about an image with labels of a concept that users taught: so many are about it."""


DEFAULT_PROMPTING, WHOLE = Prompting(), Share()


class AdaptMaker:
    """Make the part of a step's batch that belongs to this process.

    Args:
        items: the user's images and the default's scenes.
        chat: format of conversations in tokens. image_tokens: number of tokens of an image.
        drawing, prompting, share: see these classes.
        vocabulary: concepts of the model.
        augment: geometry of the augmented views.

    Raises:
        InputError: the batch is too small for the processes and pieces.
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
        augment: Views = DEFAULT_VIEWS,
    ):
        if drawing.batch_size < share.processes * share.accumulate:
            raise InputError(
                f"a batch of {drawing.batch_size} cannot be divided among {share.processes} processes in "
                f"{share.accumulate} pieces; raise schedule.batch_size or lower schedule.accumulate"
            )
        self.items, self.chat, self.image_tokens = items, chat, image_tokens
        self.drawing, self.prompting, self.part = drawing, prompting, share
        self.vocabulary, self.lies = vocabulary, augment
        self.own = [k for k, item in enumerate(items) if item.kind == "own" and (item.turns or item.facts)]
        self.scenes = [k for k, item in enumerate(items) if item.kind == "sim"]
        self.codes = {name: number for number, name in enumerate(prompting.codes or vocabulary.names)}
        self.share = drawing.share if self.scenes else 0.0
        self.keeps = prompting.keeps and prompting.decodes and not prompting.apart
        self.boxes = prompting.boxes and prompting.decodes and not prompting.apart
        self.windows = drawing.windows if prompting.keeps and prompting.decodes else 0
        self.shown = {k: self.known(item) for k, item in enumerate(items)}
        self.seg_id = chat.special[SPECIAL_TOKENS[0]]

    def __call__(self, step: int) -> list[AdaptBatch]:
        """The pieces of this process's part of a step's batch."""
        rng = np.random.default_rng((self.drawing.seed, 13, step))
        scenes = self.share * self.drawing.batch_size
        # the same share in every batch, but for the odd one that is drawn
        count = int(scenes) + int(rng.random() < scenes - int(scenes))
        kinds = [k < count for k in range(self.drawing.batch_size)]
        plans = [self.plan(rng, kind) for kind in kinds]
        plans = [replace(plan, more=self.further(rng, kind)) for plan, kind in zip(plans, kinds, strict=True)]
        return self.deal(plans)

    def deal(self, plans: list[Plan]) -> list[AdaptBatch]:
        """This process's batches from the plans of all."""
        order = sorted(range(len(plans)), key=lambda k: (len(plans[k].ids), k))
        totals = self.totals(plans)
        own = [plans[k] for k in order[self.part.process :: self.part.processes]]
        # the same number of pieces in every process, for some of them wait for each other in every piece
        edges = [len(own) * k // self.part.accumulate for k in range(self.part.accumulate + 1)]
        return [self.batch(own[a:b], totals) for a, b in itertools.pairwise(edges)]

    def totals(self, plans: list[Plan]) -> dict[str, float]:
        """What losses are divided by: learnt tokens, coded [SEG], prompts of the decoder by their weights."""
        seen = [sight for plan in plans for sight in (plan, *plan.more)]
        prompts = sum(len(s.asked) + len(s.codes) + self.prompting.box_weight * len(s.boxes) for s in seen)
        return {
            "tokens": max(1, sum(label != IGNORE for p in plans for label in p.labels)),
            "codes": max(1, sum(goal.code >= 0 for p in plans for goal in p.goals)),
            "prompts": max(1.0, prompts),
        }

    def validation(self, most: int) -> list[AdaptBatch]:
        """Fixed batches about each of the first ``most`` items, as they lie, with windows more of each: one window an
        image is too few to tell which weights are better."""
        plans = []
        for k in self.own[:most]:
            rng = np.random.default_rng((self.drawing.seed, 17, k))
            plan = self.plan(rng, False, item=k, view=0)
            plans.append(replace(plan, more=self.sights(rng, [k] * self.windows, 1)))
        return [
            self.batch(plans[s : s + self.drawing.batch_size], self.totals(plans))
            for s in range(0, len(plans), self.drawing.batch_size)
        ]

    def plan(self, rng: np.random.Generator, scene: bool, item: int | None = None, view: int | None = None) -> Plan:
        """Draw a conversation, and what to outline of it.

        Raises:
            InputError: no conversation is short enough.
        """
        pool = self.scenes if scene else self.own
        for _ in range(DRAWS):
            k = pool[int(rng.integers(len(pool)))] if item is None else item
            turns, goals = self.conversation(self.items[k], rng)
            if turns is None:
                continue
            ids, labels = encode_turns(turns, self.chat, self.image_tokens)
            seg = [p for p, t in enumerate(ids) if t == self.seg_id]
            if len(ids) > self.drawing.longest or len(seg) != len(goals):
                continue
            number = int(rng.integers(1 if scene else self.drawing.views)) if view is None else view
            return self.outlines(rng, k, number, ids, labels, seg, goals)
        raise InputError(
            f"no conversation about {self.items[pool[0] if item is None else item].name} or its like has at most "
            f"{self.drawing.longest} tokens; raise longest"
        )

    def conversation(self, item: Item, rng: np.random.Generator) -> tuple[list[Turn] | None, tuple[Goal, ...]]:
        """Turns and a goal for each [SEG]: the record's own, or drawn from the default's texts."""
        if item.turns and (item.facts is None or rng.random() >= self.drawing.templates):
            return [as_turn(turn, self.vocabulary) for turn in item.turns], tuple(
                g for turn in item.turns for g in turn.goals
            )
        taught = [c for c in self.vocabulary.own if item.kind == "own" and c.name in item.labels]
        if taught and (rng.random() < OWN_SHARE or "particle" not in item.labels):
            concept = taught[int(rng.integers(len(taught)))]
            turns = sample_custom_conversation(rng, concept, scene_facts(item.facts, rng))
        else:
            turns = conversation_about(item.facts, rng)
        if turns is None:
            return None, ()
        asked = [target.concept for turn in turns for target in turn.targets]
        return turns, tuple(Goal(c if c in item.labels else None, self.codes[c]) for c in asked)

    def outlines(
        self,
        rng: np.random.Generator,
        k: int,
        view: int,
        ids: list[int],
        labels: list[int],
        seg: list[int],
        goals: tuple[Goal, ...],
    ) -> Plan:
        item = self.items[k]
        least = self.prompting.custom_from if self.prompting.apart else -1
        known = (
            [(n, g) for n, g in enumerate(goals) if g.key is not None and g.code >= least]
            if self.prompting.decodes
            else []
        )
        if len(known) > MOST_GOALS:
            picks = sorted(rng.choice(len(known), MOST_GOALS, replace=False).tolist())
            known = [known[p] for p in picks]
        codes = list(dict.fromkeys(goal for _, goal in known if goal.code >= self.prompting.custom_from))
        if self.keeps and item.kind == "sim":
            # what necks and pores are found by, whatever the words ask for
            names = ("particle", KEPT[int(rng.integers(len(KEPT)))])
            codes += [Goal(name, CONCEPTS.index(name)) for name in names]
        window, boxes = Window(0, 0, 1, 1), ()
        if self.prompting.decodes:
            aim = known[int(rng.integers(len(known)))][1].key if known else "particle"
            window = self.window(rng, item, view, aim)
            boxes = self.drawn_boxes(rng, item, view, window)
        return Plan(k, view, ids, labels, seg, goals, window, tuple(known), tuple(codes), boxes)

    def drawn_boxes(self, rng: np.random.Generator, item: Item, view: int, window: Window) -> tuple:
        """A box around one instance in the window, as in :class:`Plan`; none where instances are not told apart."""
        mask = pick_instance(self.cut(item, view, window), rng, True) if self.boxes and item.instances else None
        if mask is None:
            return ()
        shift = np.tile(np.array([window.x0, window.y0], np.float32) * STRIDE, 2)
        return ((box_of(mask, rng) + shift, mask),)

    def known(self, item: Item) -> list[Goal]:
        """What codes may prompt about an image: on scenes what all else rests on; on one's own, concepts that users
        taught and particles."""
        wanted = ("particle", *KEPT) if item.kind == "sim" else ("particle", *(c.name for c in self.vocabulary.own))
        goals = [Goal(name, self.codes[name]) for name in wanted if name in item.labels]
        return [goal for goal in goals if goal.code >= self.prompting.custom_from] if self.prompting.apart else goals

    def further(self, rng: np.random.Generator, scene: bool) -> tuple[Sight, ...]:
        """Further windows, of any images of the same kind: the decoder learns from them without the language
        model."""
        scene = scene and not self.prompting.apart
        pool = [k for k in (self.scenes if scene else self.own) if self.shown[k]]
        chosen = [pool[int(rng.integers(len(pool)))] for _ in range(self.windows if pool else 0)]
        return self.sights(rng, chosen, 1 if scene else self.drawing.views)

    def sights(self, rng: np.random.Generator, chosen: list[int], views: int) -> tuple[Sight, ...]:
        """A window of each of these items that has something to prompt by."""
        found = []
        for k in chosen:
            if not self.shown[k]:
                continue
            item, view = self.items[k], int(rng.integers(views))
            order = rng.permutation(len(self.shown[k]))[:2]
            goals = tuple(self.shown[k][n] for n in order)
            window = self.window(rng, item, view, goals[0].key)
            found.append(Sight(k, view, window, goals, self.drawn_boxes(rng, item, view, window)))
        return tuple(found)

    def window(self, rng: np.random.Generator, item: Item, view: int, aim: str) -> Window:
        """Where to look: mostly around a pixel of what is asked for."""
        labels = item.labels.get(aim)
        height, width = next(iter(item.labels.values())).shape if item.labels else (64, 64)
        labels = np.zeros((height, width), np.int16) if labels is None else labels
        turned = self.lies(item, view)(labels)
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
        # the encoder's coarsest features have cells of 32 px
        return Window(x // 2 * 2, y // 2 * 2, w, h)

    def cut(self, item: Item, view: int, window: Window, keys: tuple[str, ...] = CONCEPTS) -> dict[str, np.ndarray]:
        """Labels of a window ``(16 h, 16 w)`` int32, by key; 0 beyond the image."""
        lies = self.lies(item, view)
        return {key: piece(lies(item.labels[key]), window) for key in keys if key in item.labels}

    def batch(self, plans: list[Plan], totals: dict[str, float]) -> AdaptBatch:
        """Token tensors and target maps of some conversations."""
        longest = -(-max(len(p.ids) for p in plans) // 16) * 16
        ids = torch.zeros(len(plans), longest, dtype=torch.long)
        labels = torch.full_like(ids, IGNORE)
        seg, code, looks = [], [], []
        for row, plan in enumerate(plans):
            ids[row, : len(plan.ids)] = torch.tensor(plan.ids)
            labels[row, : len(plan.labels)] = torch.tensor(plan.labels)
            if plan.asked or plan.codes or plan.boxes:
                looks.append(self.look(plan, row, len(seg)))
            looks += [self.look(sight, row, len(seg)) for sight in plan.more]
            seg += [[row, position] for position in plan.seg]
            code += [goal.code for goal in plan.goals]
        return AdaptBatch(
            ids,
            labels,
            torch.tensor(seg, dtype=torch.long).reshape(-1, 2),
            torch.tensor(code, dtype=torch.long),
            [(p.item, p.view) for p in plans],
            looks,
            totals,
        )

    def look(self, plan: Plan | Sight, row: int, first: int) -> Look:
        """The prompts of one window and their targets; ``first``: number in the batch of the conversation's first
        [SEG]."""
        item, window = self.items[plan.item], plan.window
        asked = [goal for _, goal in plan.asked]
        labels = self.cut(item, plan.view, window, tuple({goal.key for goal in (*asked, *plan.codes)}))
        shape = self.lies(item, plan.view)(np.empty(next(iter(item.labels.values())).shape, bool)).shape
        valid = piece(np.ones(shape, np.int16), window) > 0
        rows = []
        for goal in (*asked, *plan.codes):
            target = compacted(labels[goal.key])
            rows.append(target_maps(target, valid, item.instances, presence_of(target), 1.0))
        for _, mask in plan.boxes:
            rows.append(target_maps(mask.astype(np.int32), valid, False, -1.0, self.prompting.box_weight))
        columns = [torch.as_tensor(np.array(column, np.float32)) for column in zip(*rows, strict=True)]
        boxes = np.array([box for box, _ in plan.boxes], np.float32).reshape(-1, 4)
        return Look(
            plan.item,
            plan.view,
            row,
            window,
            torch.tensor([first + n for n, _ in plan.asked], dtype=torch.long),
            torch.tensor([goal.code for goal in plan.codes], dtype=torch.long),
            torch.as_tensor(boxes),
            Maps(*columns),
        )


def as_turn(said: Said, vocabulary: Vocabulary) -> Turn:
    """A record's turn as the texts have it. Where a reply says at once that nothing of a known kind is there, it is the
    decoder that finds so: the token that says it is not to be learnt."""
    reply = said.reply.strip()
    forced = reply.startswith(ABSENT) and not said.goals and vocabulary.named_in(reply) is not None
    return Turn(said.user, reply, forced_absent=forced)
