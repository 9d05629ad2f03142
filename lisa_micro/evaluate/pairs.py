"""Suite ``pairs``: the same words asked of two kinds of pictures, which decide what they mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lisa_micro.datasets.texts.programs.written import PICTURES, halves
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, SuiteResult, share
from lisa_micro.evaluate.scenes import FIRST_SEED
from lisa_micro.language.program import Program, parse_program, render_program, same_program
from lisa_micro.sim import simulate_scene
from lisa_micro.sim.materials import simulate_material
from lisa_micro.types import Micrograph

PAIRS = 40
SHAPE = (512, 512)
SIMULATED = {
    "alloy": "precipitates",
    "catalyst": "supported",
    "coating": "layers",
    "core-shell": "core_shell",
    "cross-section": "layers",
    "dense": "dense_matrix",
    "fibres": "fibres",
    "irradiated": "dislocation_loops",
    "lacey": "holes",
    "plan view": "",
    "polycrystal": "polycrystal",
    "powder": "powder",
    "sintering": "",
}
"""Kind of picture -> kind of simulated material; ``""``: a scene of particles on a support."""


class Pair(NamedTuple):
    """Words, two kinds of pictures, and what the words mean in each."""

    words: str
    kinds: tuple[str, str]
    meanings: tuple[Program, Program]


def pairs(context: Context) -> SuiteResult:
    """Evaluate held-out words about pairs of simulated pictures. A pair is right if both are understood."""
    drawn = draw_pairs(context.limit or PAIRS, context.seed)
    rows: list[dict[str, Any]] = []
    with context.steps("pairs", len(drawn)) as step:
        for number, pair in enumerate(drawn):
            step()
            for kind, meaning in zip(pair.kinds, pair.meanings, strict=True):
                raw = context.read(picture_of(kind, FIRST_SEED + number), pair.words)
                rows.append(
                    {
                        "pair": number,
                        "prompt": pair.words,
                        "picture": kind,
                        "right": same_program(parse_program(raw), meaning),
                        "expected": render_program(meaning),
                        "raw": raw,
                    }
                )
    both = [all(row["right"] for row in rows if row["pair"] == number) for number in range(len(drawn))]
    metrics = (
        Metric(
            "pairs_right",
            "pairs of pictures of which both are read rightly",
            share(both),
            "Share of the pairs for which the same words are understood rightly on both pictures.",
            0.85,
            0.95,
            unit="%",
            n=len(drawn),
        ),
        Metric(
            "pictures_right",
            "pictures read rightly",
            share([row["right"] for row in rows]),
            "Share of the pictures of these pairs on which the words are understood rightly.",
            unit="%",
            n=len(rows),
        ),
    )
    table = [
        {"picture": kind, "n": len(found), "right": round(share(found), 3)}
        for kind in sorted({row["picture"] for row in rows})
        for found in [[row["right"] for row in rows if row["picture"] == kind]]
    ]
    failures = [row for row in rows if not row["right"]]
    return SuiteResult("pairs", metrics, {"By kind of picture": table}, {"pairs-failures.csv": failures})


def draw_pairs(n: int, seed: int = 0) -> list[Pair]:
    """At most ``n`` pairs in held-out words whose meanings differ; the same arguments give the same pairs."""
    meanings: dict[str, dict[str, Program]] = {}
    for conversation in halves((PICTURES,))[1]:
        if conversation.picture in SIMULATED:
            first = conversation.exchanges[0]
            meanings.setdefault(first.user, {}).setdefault(conversation.picture, first.program)
    found = []
    for words, by_kind in sorted(meanings.items()):
        kinds = sorted(by_kind)
        for k, one in enumerate(kinds):
            for other in kinds[k + 1 :]:
                if not same_program(by_kind[one], by_kind[other]):
                    found.append(Pair(words, (one, other), (by_kind[one], by_kind[other])))
    order = np.random.default_rng([seed, 0x9A1]).permutation(len(found))
    return [found[int(k)] for k in order[:n]]


def picture_of(kind: str, seed: int) -> Micrograph:
    """A simulated picture of a kind."""
    material = SIMULATED[kind]
    if material:
        scene = simulate_material(seed, material, SHAPE)
        return Micrograph(scene.pixels, scene.pixel_size_nm, f"simulated {kind} {seed}", "simulator")
    particles = simulate_scene(seed, SHAPE, kind="agglomerate" if kind == "sintering" else None)
    return Micrograph(particles.pixels, particles.pixel_size_nm, f"simulated {kind} {seed}", "simulator")
