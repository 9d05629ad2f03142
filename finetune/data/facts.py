"""Facts about prepared images that texts and captions need: modality, counts, contacts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from lisa_micro.datasets.modality import emps_modality
from lisa_micro.datasets.texts import SceneFacts
from lisa_micro.measure import contacts
from lisa_micro_finetune.data.sources import Source, read_source


def facts_of(source: Source) -> dict:
    """Collect facts about an image.

    Returns:
        ``modality`` or None; ``counts`` by known concept; ``in_contact``, the fraction of particles that touch another
        one; ``complete``, whether necks, pores and agglomerates are known; ``kind`` of the source.
    """
    modality = source.modality
    if source.kind == "emps":
        modality = emps_modality().get(source.name)
    elif source.kind == "tem":
        modality = "BF-TEM"
    counts = {c: int(m.max(initial=0)) for c, m in source.labels.items()}
    share = 0.0
    if source.instances and counts.get("particle"):
        share = len(np.unique(contacts(source.labels["particle"]))) / counts["particle"]
    return {
        "modality": modality,
        "counts": counts,
        "in_contact": share,
        "complete": source.instances,
        "kind": source.kind,
    }


def collect_facts(paths: list[Path], file: Path) -> dict[str, dict]:
    """Collect the facts of all prepared images; they are cached in a JSON file.

    Args:
        paths: prepared images.
        file: the cache.

    Returns:
        facts by ``folder/stem`` of the image, in the order of ``paths``.
    """
    known = json.loads(file.read_text()) if file.is_file() else {}
    # the folder belongs to the key: the same seed at another size is another image
    names = {p: f"{p.parent.name}/{p.stem}" for p in paths}
    missing = [p for p in paths if names[p] not in known]
    for path in missing:
        known[names[path]] = facts_of(read_source(path))
    if missing:
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(known))
        os.replace(temporary, file)
    return {names[p]: known[names[p]] for p in paths}


def scene_facts(facts: dict, rng: np.random.Generator) -> SceneFacts:
    """Convert facts for the texts. Whether the pixel size is known is random, since users write nm and px."""
    return SceneFacts(facts["modality"], facts["counts"], facts["in_contact"], bool(rng.random() < 0.7))


def caption(facts: dict, rng: np.random.Generator) -> str:
    """Write a random caption from known facts."""
    modality = facts["modality"]
    counts, particles = facts["counts"], facts["counts"].get("particle", 0)
    kind = {
        None: ["electron micrograph", "micrograph"],
        "BF-TEM": ["bright-field TEM image", "BF-TEM micrograph", "transmission electron micrograph"],
        "HAADF-STEM": ["HAADF-STEM image", "dark-field STEM micrograph"],
        "SEM": ["SEM image", "scanning electron micrograph"],
    }[modality]
    text = str(rng.choice(kind))
    if not facts["complete"]:
        return f"{text} of nanoparticles"
    if particles == 0:
        return f"{text} of {rng.choice(['bare substrate', 'an empty support film'])}, no particles"
    if particles == 1:
        number = "a single particle"
    elif particles <= 9:
        number = "a few particles"
    elif particles <= 40:
        number = "many particles"
    else:
        number = "a great many particles"
    share = facts["in_contact"]
    if particles > 1:
        number += ", all isolated" if share == 0 else ", some in contact" if share < 0.5 else ", most in contact"
    parts = [f"{text} of {number}"]
    for concept, words in (("neck", "necks"), ("pore", "pores"), ("agglomerate", "agglomerates")):
        if rng.random() < 0.6:
            parts.append(("with " if counts.get(concept) else "no ") + words)
    return ", ".join(parts)
