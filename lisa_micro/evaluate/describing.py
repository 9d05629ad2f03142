"""Suite ``scene``: descriptions of whole images by the language model.

Only here does the model report what it sees without the mask decoder, so this suite shows what the visual towers
contribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from lisa_micro.datasets.modality import emps_modality
from lisa_micro.datasets.readers import read_emps
from lisa_micro.datasets.texts import SceneFacts, describe, sample_request
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, SuiteResult, share
from lisa_micro.evaluate.scenes import FIRST_SEED, micrograph_of, scenes
from lisa_micro.evaluate.wordings import facts_of
from lisa_micro.measure import contacts
from lisa_micro.types import Micrograph

SCENES = 100
_SENTENCE = re.compile(r"^An? (?P<modality>.+?) micrograph with (?P<number>.+? particles?)(?:, (?P<contact>.+))?\.$")
ASPECTS = ("modality", "number", "contact")


def aspects(sentence: str) -> dict[str, str | None]:
    """Modality, number of particles and contact as stated by a description; ``None`` for what is not stated.

    >>> aspects("An SEM micrograph with a few particles, all isolated.")
    {'modality': 'SEM', 'number': 'a few particles', 'contact': 'all isolated'}
    """
    match = _SENTENCE.match(sentence.strip())
    return match.groupdict() if match else dict.fromkeys(ASPECTS)


def asked(n: int, seed: int) -> list[str]:
    """``n`` held-out ways to ask what an image shows, repeated if there are fewer."""
    rng = np.random.default_rng([seed, 0x5CE])
    found: dict[str, None] = {}
    for _ in range(40 * n):
        found.setdefault(sample_request(rng, SceneFacts.with_everything(), "held_out", "scene").user)
        if len(found) == n:
            break
    words = list(found)
    return [words[k % len(words)] for k in range(n)]


def pictures(context: Context, simulated: int) -> Iterator[tuple[str, Micrograph, SceneFacts]]:
    """Kind, image and facts: simulated scenes, then validation images of EMPS of known modality."""
    for scene in scenes(simulated, FIRST_SEED):
        yield "simulated", micrograph_of(scene), facts_of(scene)
    modality = emps_modality()
    examples = read_emps("validation", context.data)
    for k in context.limited(k for k, name in enumerate(examples.names) if name in modality):
        example = examples[k]
        assert example.labels is not None  # the reader gives every image its labels
        count = int(example.labels.max(initial=0))
        touching = len(np.unique(contacts(example.labels))) / max(count, 1)
        yield "EMPS", example.micrograph, SceneFacts(modality[example.name], {"particle": count}, touching)


def scene(context: Context) -> SuiteResult:
    """Ask what each image shows, in held-out wordings, and compare with the truth.

    Raises:
        InputError: EMPS is not found.
    """
    simulated = context.limit or SCENES
    words = asked(simulated, context.seed)
    rows: list[dict] = []
    with context.steps("scene", simulated) as step:
        for number, (kind, micrograph, facts) in enumerate(pictures(context, simulated)):
            prompt = words[number % len(words)]
            raw = context.read(micrograph, prompt)
            truth, said = aspects(describe(facts)), aspects(raw)
            row = {"kind": kind, "prompt": prompt, "expected": describe(facts), "said": raw}
            # contact is undefined for fewer than two particles
            row |= {name: None if truth[name] is None else said[name] == truth[name] for name in ASPECTS}
            row["all"] = raw.strip() == describe(facts)
            rows.append(row)
            if number < simulated:
                step()
    figures = tuple(
        Metric(
            f"{name}_{kind.lower()}",
            f"{kind}: {what}",
            share([row[name] for row in rows if row["kind"] == kind and row[name] is not None]),
            definition,
            unit="%",
            n=sum(row["kind"] == kind and row[name] is not None for row in rows),
        )
        for kind in ("simulated", "EMPS")
        for name, what, definition in (
            ("modality", "modality right", "Share of the descriptions with the right one of BF-TEM, HAADF-STEM, SEM."),
            ("number", "number right", "Share with the right one of no, a single, a few (up to nine), many."),
            ("contact", "contact right", "Share with the right one of all isolated, some, most in contact."),
            ("all", "all of it right", "Share of the descriptions that are entirely right."),
        )
    )
    return SuiteResult("scene", figures, {}, {"scene-failures.csv": [row for row in rows if not row["all"]]})
