"""Custom concepts of a data set: the file ``dataset.yaml``, and concepts made from the labels of annotation programs.

``dataset.yaml`` lies beside ``metadata.jsonl`` and gives the nouns of every concept that is not built in::

    concepts:
      shell: [shell, shells]
      oxide_film: {nouns: [oxide film, oxide films], kind: region}

A concept comes in countable instances or, with ``kind: region``, as one region.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from lisa_micro.datasets.bounds import one_line, shown, validation_problem
from lisa_micro.datasets.records import DERIVED
from lisa_micro.datasets.texts.store import data
from lisa_micro.language import Concept, Vocabulary
from lisa_micro.language.words import CONCEPT_NOUNS
from lisa_micro.types import InputError

FILE_NAME = "dataset.yaml"
IGNORED_LABELS = ("background", "_background_", "ignore", "__ignore__", "flag")
"""Labels that annotation programs use for everything that is no object."""
SYNONYMS = 12
"""Number of nouns per concept in the texts that count as synonyms of its name when a label is called so."""
DISTINCT_WORDS = ("precipitate", "precipitates", "hole", "holes")
"""Synonyms in requests that are materials concepts of their own as labels: a precipitate is no separate particle, and a
hole in a support film no pore."""


class _Named(BaseModel):
    model_config = ConfigDict(extra="forbid")
    nouns: tuple[str, str]
    kind: Literal["instances", "region"] = "instances"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    about: str = ""
    concepts: dict[str, _Named] = {}

    @field_validator("concepts", mode="before")
    @classmethod
    def _nouns_alone(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value or {}
        return {name: {"nouns": v} if isinstance(v, list) else v for name, v in value.items()}


def read_vocabulary(folder: str | os.PathLike[str]) -> Vocabulary:
    """Read the vocabulary of a data set: the built-in concepts, and the custom ones of its ``dataset.yaml``, if any.

    Args:
        folder: the folder of ``metadata.jsonl``.

    Raises:
        InputError: a broken file, or a name or noun that cannot be used.
    """
    file = Path(folder) / FILE_NAME
    if not file.is_file():
        return Vocabulary()
    try:
        content = _File.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        return Vocabulary.of((k, *v.nouns, v.kind == "instances") for k, v in content.concepts.items())
    except ValidationError as error:
        faults = "; ".join(validation_problem(e) for e in error.errors()[:3])
        raise InputError(f"{file}: {faults}; it needs concepts: {{shell: [shell, shells]}}") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} cannot be read: {one_line(error)}") from error
    except RecursionError as error:
        raise InputError(f"{file} cannot be read: it is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{file}: {one_line(error)}") from error


def write_vocabulary(folder: str | os.PathLike[str], concepts: Iterable[Concept]) -> Path | None:
    """Write ``dataset.yaml`` for custom concepts; without any, write nothing and return None."""
    named = {
        c.name: [c.singular, c.plural] if c.instances else {"nouns": [c.singular, c.plural], "kind": "region"}
        for c in concepts
    }
    if not named:
        return None
    file = Path(folder) / FILE_NAME
    text = yaml.safe_dump({"concepts": named}, sort_keys=False, allow_unicode=True, default_flow_style=None)
    file.write_text(text, encoding="utf-8")
    return file


@dataclass(frozen=True)
class ConceptMap:
    """The meaning of the labels of a data set.

    Attributes:
        concepts: label -> name of its concept; labels to be left out are missing.
        custom: the custom concepts among them, by name.
        notes: one sentence for each label that was taken for a built-in concept because it is a synonym.
    """

    concepts: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, Concept] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@cache
def _synonyms() -> dict[str, str]:
    """Noun in lower case -> built-in concept: the canonical nouns, and the first synonyms of the texts."""
    words = {noun: name for name, nouns in CONCEPT_NOUNS.items() for noun in nouns}
    for name in CONCEPT_NOUNS:
        for entry in data("concepts")[name]["nouns"][:SYNONYMS]:
            singular, _, plural = str(entry).lower().removeprefix("~").partition("/")
            words.setdefault(singular, name)
            words.setdefault(plural or _plural(singular), name)
    return {word: name for word, name in words.items() if word not in DISTINCT_WORDS or word in CONCEPT_NOUNS}


def concept_map(labels: Iterable[str] | Mapping[str, str], given: Mapping[str, str] | None = None) -> ConceptMap:
    """Find out what the labels of a data set mean.

    A label that is a built-in concept's noun is that concept. A synonym (``grain``) is too, unless another label is the
    concept already; a note says so. ``background`` and the like are left out. Every other label is a custom concept.

    Args:
        labels: names as in the annotation program, if known with the place where each occurs first, for messages.
        given: label -> concept, overrides all of the above; ``""`` leaves the label out.

    Raises:
        InputError: a label that cannot name a concept, or a label in ``given`` that does not occur.

    >>> concept_map(["Particles", "shell", "background"]).concepts
    {'Particles': 'particle', 'shell': 'shell'}
    >>> concept_map(["beads"]).notes
    ("the label 'beads' is taken as the built-in concept particle; --concept beads=NAME makes it another",)
    """
    given = dict(given or {})
    places = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, "")
    labels = list(places)
    unknown = [label for label in given if label not in labels]
    if unknown:
        there = one_line(", ".join(labels)) or "none"
        raise InputError(f"no label is called {unknown[0]!r}; the labels are {there}")
    plain = {label: _plain(label) for label in labels}
    canonical = {noun: name for name, pair in CONCEPT_NOUNS.items() for noun in pair}
    taken = {canonical[word] for label, word in plain.items() if label not in given and word in canonical}
    taken |= set(given.values())
    concepts: dict[str, str] = {}
    custom: dict[str, Concept] = {}
    notes: list[str] = []
    for label in labels:
        word = plain[label]
        if label in given:
            target = given[label]
            if not target:
                continue
        elif word in IGNORED_LABELS:
            continue
        elif word in canonical:
            target = canonical[word]
        else:
            target = _synonyms().get(word, "")
            if target in taken:
                target = ""  # a grain beside a particle is something else
            if target:
                notes.append(
                    f"the label {label!r} is taken as the built-in concept {target}; "
                    f"--concept {label}=NAME makes it another"
                )
        if target in CONCEPT_NOUNS:
            concepts[label] = target
            continue
        try:
            concept = custom_concept(target or label)
        except InputError as error:
            raise InputError(f"{places[label]}: {error}" if places[label] else str(error)) from error
        concepts[label] = concept.name
        custom[concept.name] = concept
    return ConceptMap(concepts, custom, tuple(notes))


def custom_concept(label: str) -> Concept:
    """Make a custom concept from a label; its nouns are the label in singular and plural.

    Args:
        label: as in the annotation program: ``"Shell"``, ``"oxide film"``, ``"twin_boundaries"``.

    Raises:
        InputError: the label gives no usable name or noun.

    >>> custom_concept("Oxide films")
    Concept(name='oxide_film', singular='oxide film', plural='oxide films', instances=True)
    """
    singular = _singular(_plain(label))
    name = re.sub(r"[^a-z0-9_-]+", "_", singular).strip("_-")
    try:
        if name in DERIVED:  # the reply language has no noun for it, and records derive it
            raise ValueError(f"{name!r} is derived from the particles")
        return Concept(name, singular, _plural(singular))
    except ValueError as error:
        short = shown(label)
        raise InputError(
            f"the label {short} cannot become a concept: {one_line(error)}; name it with --concept {short}=NAME"
        ) from error


def _plain(label: str) -> str:
    return " ".join(re.split(r"[\s_]+", label.strip().lower()))


def _plural(noun: str) -> str:
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def _singular(noun: str) -> str:
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh)es$", noun):
        return noun[:-2]
    return noun[:-1] if re.search(r"[^siu]s$", noun) else noun
