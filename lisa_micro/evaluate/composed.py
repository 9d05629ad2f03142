"""Suite ``programs``: composed requests, executed on simulated scenes and compared with what the right program does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lisa_micro.datasets.texts import SuiteItem
from lisa_micro.datasets.texts.programs.sample import sample
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.language import read_prompts
from lisa_micro.evaluate.programs import judge
from lisa_micro.evaluate.results import Metric, Row, SuiteResult, share
from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of, scene_with_everything
from lisa_micro.execution import LabelledScene, Measures
from lisa_micro.language.program import constructs_of, parse_program, render_program
from lisa_micro.sim import Scene
from lisa_micro.types import CONCEPTS

ITEMS = 300
SCENES = 3


def programs(context: Context) -> SuiteResult:
    """Evaluate held-out composed requests, and those of a file if one is given.

    A reply is right if its program selects the same instances and measures the same numbers as the expected one on
    every scene; it is silently wrong if it does something else without refusing and without asking back.

    Raises:
        InputError: the file of requests cannot be used.
    """
    items = held_out_programs(context.limit or ITEMS, context.seed)
    given = context.limited(read_prompts(context.prompts)) if context.prompts else []
    scenes = _scenes()
    picture = micrograph_of(scenes[0])
    measures = [measures_of(scene) for scene in scenes]
    rows = []
    with context.steps("programs", len(items) + len(given)) as step:
        for source, item in [("held out", item) for item in items] + [("file", item) for item in given]:
            step()
            if item.history and not context.reads_history:
                continue
            raw, doubted = context.read_doubting(picture, item.prompt, item.history)
            rows.append({"from": source, **score_program(item, raw, measures, doubted)})
    metrics: list[Metric] = []
    tables: dict[str, Sequence[Row]] = {}
    for source, prefix in (("held out", ""), ("file", "file_")):
        chosen = [row for row in rows if row["from"] == source]
        if chosen:
            metrics += _metrics(chosen, prefix)
            tables[f"Requests by kind ({source})"] = _by_kind(chosen)
    failures = [row for row in rows if not row["right"]]
    return SuiteResult("programs", tuple(metrics), tables, {"programs-failures.csv": failures})


def held_out_programs(n: int, seed: int = 0) -> list[SuiteItem]:
    """Draw ``n`` different composed requests whose wordings are held out from training.

    The same ``n`` and ``seed`` give the same list.
    """
    rng = np.random.default_rng([seed, 0xC0])
    found: dict[tuple[str, tuple[tuple[str, str], ...]], SuiteItem] = {}
    while len(found) < n:
        voice = Voice(rng, "held_out")
        *before, last = sample(voice)
        history = tuple((turn.user, turn.reply) for turn in before)
        if not voice.novel:
            continue
        kinds = sorted(constructs_of(last.program)) or ["whole concept"]
        item = SuiteItem(last.user, last.program, "follow-up" if history else kinds[0], history, tuple(voice.novel))
        found.setdefault((last.user, history), item)
    return list(found.values())


def score_program(item: SuiteItem, raw: str, measures: Sequence[Measures], doubted: bool = False) -> dict[str, Any]:
    """Compare a raw reply with the expected program, by its text and on scenes.

    Args:
        item: the request and its program.
        raw: the reply.
        measures: of the scenes.
        doubted: whether the answer says how the request was understood, and asks back.
    """
    read = parse_program(raw)
    verdict = judge(item.expected, read, measures)
    return {
        "category": item.category,
        "prompt": item.prompt,
        "right": verdict.right,
        "refused": verdict.refused,
        "asks back": doubted,
        "silently wrong": verdict.silently_wrong and not doubted,
        "outside": bool(item.expected.refusals),
        "expected": render_program(item.expected),
        "read": render_program(read),
        "raw": raw,
        "history": " / ".join(f"{user} -> {said}" for user, said in item.history),
    }


def measures_of(scene: Scene) -> LabelledScene:
    """True labels of a simulated scene, measured."""
    labels = {concept: np.asarray(scene.labels(concept)).astype(np.int32) for concept in CONCEPTS}
    return LabelledScene(labels, scene.pixel_size_nm, scene.pixels)


def _scenes() -> list[Scene]:
    found, first = [], FIRST_SEED
    for _ in range(SCENES):
        found.append(scene_with_everything(first))
        first = found[-1].seed + 1
    return found


def _metrics(rows: list[dict[str, Any]], prefix: str) -> list[Metric]:
    inside = [row for row in rows if not row["outside"]]
    outside = [row for row in rows if row["outside"]]
    where = "requests of the file" if prefix else "held-out composed requests"
    return [
        Metric(
            f"{prefix}right",
            f"{where}: right",
            share([row["right"] for row in inside]),
            "Share of the requests inside the language whose program does on every scene what the right one does.",
            0.92,
            0.98,
            unit="%",
            n=len(inside),
        ),
        Metric(
            f"{prefix}silently_wrong",
            f"{where}: silently wrong",
            share([row["silently wrong"] for row in inside]),
            "Share of the requests inside the language to which another question was answered without a refusal and "
            "without saying how the request was understood.",
            0.04,
            0.005,
            lower=True,
            unit="%",
            n=len(inside),
        ),
        Metric(
            f"{prefix}right_doubted",
            f"{where}: right, but asked back",
            share([row["right"] and row["asks back"] for row in inside]),
            "Share of the requests inside the language that were understood rightly, and told to be unsure.",
            lower=True,
            unit="%",
            n=len(inside),
        ),
        Metric(
            f"{prefix}refused",
            f"{where}: refusals that are due",
            share([row["right"] for row in outside]),
            "Share of the requests with a thing that is unknown or a part that the language cannot express which are "
            "refused.",
            0.9,
            0.98,
            unit="%",
            n=len(outside),
        ),
    ]


def _by_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    table = []
    for name in [*sorted({row["category"] for row in rows}), "all"]:
        chosen = [row for row in rows if name in ("all", row["category"])]
        table.append(
            {
                "category": name,
                "n": len(chosen),
                "right": round(share([row["right"] for row in chosen]), 3),
                "refused": sum(row["refused"] for row in chosen),
                "asks back": sum(row["asks back"] for row in chosen),
                "silently wrong": sum(row["silently wrong"] for row in chosen),
            }
        )
    return table
