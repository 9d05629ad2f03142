"""Which concepts a model knows: some of the built-in ones, and those that users taught it.

A vocabulary is carried by whoever reads or writes replies and is never changed in place: two models with different ones
work side by side in one process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lisa_micro.language.concepts import ALL_CONCEPTS
from lisa_micro.language.words import CONCEPT_NOUNS

CONCEPT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
"""What a concept may be called in records and files."""
_NOUN = re.compile(r"[^\W\d_](?:[^\W_]|[ '-]){0,38}[^\W_]")


@dataclass(frozen=True)
class Concept:
    """A concept that users taught a model.

    Attributes:
        name: as in records and files: lower-case letters, digits, ``-`` and ``_``.
        singular, plural: the nouns that replies use.
        instances: whether it comes in countable pieces; else all of it is one region.
    """

    name: str
    singular: str
    plural: str
    instances: bool = True

    def __post_init__(self) -> None:
        """Raises:
        ValueError: a name or noun that cannot be used, or is one of the default vocabulary.
        """
        if not CONCEPT_NAME.fullmatch(self.name) or self.name in CONCEPT_NOUNS or self.name == "object":
            raise ValueError(f"{self.name!r} cannot be the name of a new concept: lower-case letters, and a new one")
        taken = {noun for nouns in CONCEPT_NOUNS.values() for noun in nouns}
        for noun in (self.singular, self.plural):
            if not _NOUN.fullmatch(noun) or noun.lower() in taken:
                raise ValueError(f"{noun!r} cannot be a noun of the concept {self.name!r}: letters, and a new word")


@dataclass(frozen=True)
class Vocabulary:
    """The built-in concepts that a model has learnt, and ``own`` ones behind them in the order in which it learnt them.

    Attributes:
        own: concepts that users taught.
        built_in: keys of :data:`lisa_micro.language.concepts.ALL_CONCEPTS`.
    """

    own: tuple[Concept, ...] = ()
    built_in: tuple[str, ...] = tuple(CONCEPT_NOUNS)

    def __post_init__(self) -> None:
        """Raises:
        ValueError: two concepts share a name or a noun, or a built-in concept does not exist.
        """
        missing = [name for name in self.built_in if name not in ALL_CONCEPTS]
        if missing:
            raise ValueError(f"no built-in concept is called {missing[0]!r}; there are {', '.join(ALL_CONCEPTS)}")
        names = [*self.built_in, *(concept.name for concept in self.own)]
        nouns = [noun.lower() for c in self.own for noun in {c.singular, c.plural}]
        nouns += [noun for name in self.built_in for noun in self.built_in_nouns(name)]
        for words in (names, nouns):
            twice = [word for word in words if words.count(word) > 1]
            if twice:
                raise ValueError(f"{twice[0]!r} stands for two concepts")

    @classmethod
    def of(cls, concepts: Iterable[tuple[str, str, str, bool]]) -> Vocabulary:
        """From (name, singular, plural, whether it has instances)."""
        return cls(tuple(Concept(*concept) for concept in concepts))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the model's code book."""
        return (*self.built_in, *(concept.name for concept in self.own))

    @staticmethod
    def built_in_nouns(name: str) -> set[str]:
        """Singular and plural of a built-in concept."""
        return {ALL_CONCEPTS[name].singular, ALL_CONCEPTS[name].plural}

    @cached_property
    def _nouns(self) -> dict[str, tuple[str, str]]:
        built_in = {name: (ALL_CONCEPTS[name].singular, ALL_CONCEPTS[name].plural) for name in self.built_in}
        return built_in | {c.name: (c.singular, c.plural) for c in self.own}

    @cached_property
    def _pattern(self) -> tuple[re.Pattern[str], dict[str, str]]:
        concept_of = {noun.lower(): name for name, nouns in self._nouns.items() for noun in nouns}
        longest = sorted(concept_of, key=len, reverse=True)
        return re.compile(rf"\b({'|'.join(map(re.escape, longest))})\b", re.IGNORECASE), concept_of

    def nouns(self, name: str | None) -> tuple[str, str]:
        """Singular and plural of a concept; ``("object", "objects")`` for an unknown one."""
        return self._nouns.get(name or "", ("object", "objects"))

    def knows(self, name: str | None) -> bool:
        """Whether it is a concept of this vocabulary."""
        return name in self._nouns

    def named_in(self, phrase: str) -> str | None:
        """The concept whose noun stands last in some words, ``None`` where there is none.

        >>> Vocabulary().named_in("The number of sintering necks")
        'neck'
        """
        pattern, concept_of = self._pattern
        found = pattern.findall(phrase)
        return concept_of[found[-1].lower()] if found else None

    def leading_noun(self, text: str) -> tuple[str, int] | None:
        """The concept with whose noun a text begins, and the noun's length; None where it begins with none.

        >>> Vocabulary().leading_noun("necks touching border")
        ('neck', 5)
        """
        pattern, concept_of = self._pattern
        found = pattern.match(text)
        return (concept_of[found[0].lower()], len(found[0])) if found else None

    def has_instances(self, name: str | None) -> bool:
        """Whether a concept comes in countable pieces; true for an unknown one."""
        if name in self.built_in:
            return ALL_CONCEPTS[name].instances
        own = self.own_concept(name)
        return own is None or own.instances

    def own_concept(self, name: str | None) -> Concept | None:
        """A concept that users taught, ``None`` where it is none of those."""
        return next((concept for concept in self.own if concept.name == name), None)


DEFAULT_VOCABULARY = Vocabulary()
"""What the preset ``micro`` knows: the five concepts of version 1."""

FULL_VOCABULARY = Vocabulary(built_in=tuple(ALL_CONCEPTS))
"""All seventeen concepts, for a model that has learnt them."""
