"""Simulated scenes for the suites, and the suite ``declines``: requests for what is absent and what is present."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lisa_micro.evaluate.context import Context, came_back_empty, declined
from lisa_micro.evaluate.results import Metric, SuiteResult, share
from lisa_micro.evaluate.wordings import foreign_wordings, whole_concept_wordings
from lisa_micro.sim import Scene, simulate_scene
from lisa_micro.types import Micrograph

FIRST_SEED = 5_000_000
"""First seed of the validation scenes; training uses smaller seeds."""
SIDE = 512
DECLINE_SCENES = 50
FOREIGN_PER_SCENE = 2
PRESENT_PER_SCENE = 3
MIN_PRESENT_PX = 16
"""A concept counts as present if its largest instance has at least this many pixels, and as absent only without any
instance. Anything between, such as a pore of 4 px, is not asked for.
"""
ASKED = ("particle", "neck", "pore", "agglomerate")


def scene_of(seed: int) -> Scene:
    """The scene of a seed, 512 x 512 px, of any modality.

    Even seeds give scenes of any kind and odd seeds agglomerates, since otherwise too few scenes would show necks and
    pores.
    """
    return simulate_scene(seed, (SIDE, SIDE), kind="agglomerate" if seed % 2 else None)


def scenes(n: int, first: int = FIRST_SEED) -> Iterator[Scene]:
    """``n`` scenes, with seeds from ``first``."""
    return map(scene_of, range(first, first + n))


def scene_with_everything(first: int = FIRST_SEED, most: int = 500) -> Scene:
    """The first scene in which every concept is present.

    Raises:
        LookupError: none within ``most`` seeds.
    """
    for seed in range(first, first + most):
        scene = scene_of(seed)
        if all(is_there(scene, concept) for concept in ASKED):
            return scene
    raise LookupError(f"none of {most} scenes shows every concept")


def micrograph_of(scene: Scene, pixel_size_known: bool = True) -> Micrograph:
    """The scene as a user would have it: pixels, with or without a pixel size."""
    return Micrograph(
        scene.pixels,
        scene.pixel_size_nm if pixel_size_known else None,
        source=f"simulated scene {scene.seed}",
        pixel_size_origin="simulator" if pixel_size_known else "none",
    )


def is_there(scene: Scene, concept: str) -> bool | None:
    """Whether a concept is present.

    Returns:
        true if its largest instance has at least :data:`MIN_PRESENT_PX` px, false without any instance, ``None``
        between.
    """
    sizes = np.bincount(scene.labels(concept).ravel())[1:]
    largest = int(sizes.max(initial=0))
    return None if 0 < largest < MIN_PRESENT_PX else largest > 0


def requests(scene: Scene, number: int) -> tuple[list[str], list[str]]:
    """Concepts that are absent from a scene, and some of those present (chosen in turn by the scene's number)."""
    state = {concept: is_there(scene, concept) for concept in ASKED}
    present = [concept for concept in ASKED if state[concept]]
    rotated = [present[(number + k) % len(present)] for k in range(len(present))]
    return [concept for concept in ASKED if state[concept] is False], rotated[:PRESENT_PER_SCENE]


def declines(context: Context) -> SuiteResult:
    """Evaluate requests for things outside the vocabulary, for absent concepts, and for present ones."""
    n = context.limit or DECLINE_SCENES
    foreign = foreign_wordings(FOREIGN_PER_SCENE * n, context.seed)
    wordings = {concept: whole_concept_wordings(concept, 20, context.seed) for concept in ASKED}
    rows: list[dict] = []
    with context.steps("declines", n) as step:
        for number, scene in enumerate(scenes(n)):
            micrograph = micrograph_of(scene)
            absent, present = requests(scene, number)
            asked = [("not in the vocabulary", "", w) for w in foreign[number::n][:FOREIGN_PER_SCENE]]
            for kind, concepts in (("absent", absent), ("present", present)):
                asked += [(kind, c, wordings[c][number % len(wordings[c])]) for c in concepts]
            for kind, concept, wording in asked:
                answer = context.ask(micrograph, wording)
                good = not came_back_empty(answer) if kind == "present" else declined(answer)
                rows.append(
                    {
                        "kind": kind,
                        "concept": concept,
                        "seed": scene.seed,
                        "prompt": wording,
                        "right": good,
                        "reply": answer.text,
                        "raw": answer.raw,
                    }
                )
            step()
    return SuiteResult(
        "declines",
        _figures(rows),
        {"By concept": _by_concept(rows)},
        {"declines-failures.csv": [row for row in rows if not row["right"]]},
    )


def _of(rows: list[dict], *kinds: str) -> list[bool]:
    return [row["right"] for row in rows if row["kind"] in kinds]


def _figures(rows: list[dict]) -> tuple[Metric, ...]:
    foreign, absent, present = (_of(rows, kind) for kind in ("not in the vocabulary", "absent", "present"))
    return (
        Metric(
            "declined",
            "requests for what is not there: declined",
            share(foreign + absent),
            "Share of the requests for things outside the vocabulary or for concepts that the scene lacks "
            "whose answer is marked as declined and segments nothing.",
            0.9,
            0.98,
            unit="%",
            n=len(foreign + absent),
        ),
        Metric(
            "declined_foreign",
            "of these outside the vocabulary",
            share(foreign),
            "Dislocations, bacteria, cats ...; every other noun does not occur in training.",
            unit="%",
            n=len(foreign),
        ),
        Metric(
            "declined_absent",
            "of these concepts that the scene lacks",
            share(absent),
            "Particles, necks, pores or agglomerates of which the scene has no instance.",
            unit="%",
            n=len(absent),
        ),
        Metric(
            "false_declines",
            "requests for what is there: declined",
            share([not right for right in present]),
            "Share of the requests for a concept whose largest instance has at least "
            f"{MIN_PRESENT_PX} px that are declined or come back empty.",
            0.03,
            0.01,
            lower=True,
            unit="%",
            n=len(present),
        ),
    )


def _by_concept(rows: list[dict]) -> list[dict]:
    table = []
    for concept in ASKED:
        absent = [row["right"] for row in rows if row["concept"] == concept and row["kind"] == "absent"]
        present = [not row["right"] for row in rows if row["concept"] == concept and row["kind"] == "present"]
        table.append(
            {
                "asked for": concept,
                "scenes without": len(absent),
                "declined": round(share(absent), 3),
                "scenes with": len(present),
                "false declines": round(share(present), 3),
            }
        )
    return table
