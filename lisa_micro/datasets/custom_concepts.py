"""``dataset.yaml``: what the concepts of a data set are called that are none of the reply language's.

It lies beside ``metadata.jsonl``::

    concepts:
      shell: [shell, shells]
      oxide_film: {nouns: [oxide film, oxide films], kind: region}

A concept comes in countable pieces, or, with ``kind: region``, as one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from lisa_micro.datasets.records import DERIVED
from lisa_micro.datasets.texts.store import data
from lisa_micro.language import Concept, Vocabulary
from lisa_micro.language.words import CONCEPT_NOUNS
from lisa_micro.types import InputError

FILE_NAME = "dataset.yaml"
IGNORED_LABELS = ("background", "_background_", "ignore", "__ignore__", "flag")
"""Names that labelling programs give to what is no object."""
SYNONYMS = 12
"""How many of the nouns that the texts have for a concept are taken for it when a label is called so."""


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
    """The concepts of a data set: those of the reply language, and its own from ``dataset.yaml`` where there is one.

    Args:
        folder: that holds ``metadata.jsonl``.

    Raises:
        InputError: the file is broken, or a name or noun in it cannot be used.
    """
    file = Path(folder) / FILE_NAME
    if not file.is_file():
        return Vocabulary()
    try:
        content = _File.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        return Vocabulary.of((k, *v.nouns, v.kind == "instances") for k, v in content.concepts.items())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors())
        raise InputError(f"{file}: {faults}; it needs concepts: {{shell: [shell, shells]}}") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error


def write_vocabulary(folder: str | os.PathLike[str], concepts: Iterable[Concept]) -> Path | None:
    """Write ``dataset.yaml`` for a data set's own concepts; nothing where there is none."""
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


@cache
def _synonyms() -> dict[str, str]:
    """Noun in lower case -> default concept: the canonical nouns, and the first synonyms of the texts."""
    words = {noun: name for name, nouns in CONCEPT_NOUNS.items() for noun in nouns}
    for name in CONCEPT_NOUNS:
        for entry in data("concepts")[name]["nouns"][:SYNONYMS]:
            singular, _, plural = str(entry).lower().removeprefix("~").partition("/")
            words.setdefault(singular, name)
            words.setdefault(plural or _plural(singular), name)
    return words


def concept_map(
    labels: Iterable[str],
    given: Mapping[str, str] | None = None,
    nouns: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[dict[str, str], dict[str, Concept]]:
    """What the labels' names of a data set mean.

    A canonical noun is that concept; a synonym (``grain``) is too, where no other label is; ``background`` and the like
    mean nothing; every other name is a concept of its own.

    Args:
        labels: names as in the labelling program.
        given: label -> concept, which goes before all that; ``""``: to be left out.
        nouns: name of an own concept -> its singular and plural, instead of those made from the label.

    Returns:
        label -> name of its concept (labels to be left out are missing), and the own concepts by name.

    Raises:
        InputError: a name that can be no concept, or a concept given that is not in the labels.

    >>> concept_map(["Particles", "shell", "background"])[0]
    {'Particles': 'particle', 'shell': 'shell'}
    """
    given, nouns = dict(given or {}), dict(nouns or {})
    labels = list(dict.fromkeys(labels))
    unknown = [label for label in given if label not in labels]
    if unknown:
        there = ", ".join(labels) or "none"
        raise InputError(f"there is no label {unknown[0]!r} to be taken as a concept; the labels are {there}")
    plain = {label: " ".join(re.split(r"[\s_]+", label.strip().lower())) for label in labels}
    canonical = {noun: name for name, pair in CONCEPT_NOUNS.items() for noun in pair}
    taken = {canonical[word] for label, word in plain.items() if label not in given and word in canonical}
    taken |= set(given.values())
    named: dict[str, str] = {}
    own: dict[str, Concept] = {}
    for label in labels:
        word = plain[label]
        if label not in given and word in IGNORED_LABELS:
            continue
        target = given.get(label, canonical.get(word) or _synonyms().get(word, ""))
        if label in given and not target:
            continue
        if label not in given and word not in canonical and target in taken:
            target = ""  # a grain beside a particle is something else
        if target in CONCEPT_NOUNS:
            named[label] = target
            continue
        concept = own_concept(target or label)
        if concept.name in nouns:
            concept = own_concept(target or label, nouns[concept.name])
        named[label] = concept.name
        own[concept.name] = concept
    return named, own


def own_concept(label: str, nouns: tuple[str, str] | None = None) -> Concept:
    """A concept of its own from a label's name.

    Args:
        label: as in the labelling program: ``"Shell"``, ``"oxide film"``, ``"twin_boundaries"``.
        nouns: singular and plural; None: made from the label, whose name then is the singular.

    Raises:
        InputError: no name or noun can be made of it.

    >>> own_concept("Oxide films")
    Concept(name='oxide_film', singular='oxide film', plural='oxide films', instances=True)
    """
    plain = " ".join(re.split(r"[\s_]+", label.strip().lower()))
    singular, plural = nouns or (_singular(plain), _plural(_singular(plain)))
    name = re.sub(r"[^a-z0-9_-]+", "_", _singular(plain)).strip("_-")
    try:
        if name in DERIVED:  # the reply language has no noun for it, and records derive it
            raise ValueError(f"{name!r} is derived from the particles")
        return Concept(name, singular, plural)
    except ValueError as error:
        raise InputError(
            f"the label {label!r} cannot become a concept: {error}; say which it is with --concept {label}=NAME"
        ) from error


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
