"""Reads the wordings, and keeps a fixed fifth of them out of training.

A wording is addressed by the path of its list, such as ``"asks/command"``. Which are held back depends on
nothing but the path and the wording itself, so adding one moves no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

FILES = ("asks", "measures", "followups", "chat", "concepts", "clauses", "decorations")
SPLITS = ("train", "held_out")
ASKING = ("asks", "measures", "followups", "chat")
"""The files whose lists are ways of asking, which a held-out request draws from the held-back part."""
CORE = (("concepts/", 12), ("clauses/", 3), ("measures/statistics/", 2), ("decorations/", 1))
"""Where the first entries of a list are never held back: the words that nobody would expect a model not
to know."""
UNSPLIT = ("decorations/numbers", "decorations/units", "decorations/british_american", "clauses/pronouns")
HELD_SHARE_ELSEWHERE = 0.4
"""In a held-out request its way of asking is held back; each synonym and each phrasing is with this
probability."""


@cache
def data(name: str) -> dict:
    """The content of one YAML file of this folder."""
    return yaml.safe_load(files(__package__).joinpath(f"{name}.yaml").read_text("utf-8"))


@cache
def leaf(path: str) -> tuple[str, ...]:
    """The wordings of a list, by path.

    Raises:
        KeyError: no such list.
    """
    if path == "absent":
        text = files(__package__).joinpath("absent_nouns.txt").read_text("utf-8")
        return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
    name, *keys = path.split("/")
    node = data(name)
    for key in keys:
        if isinstance(node, list):
            node = node[int(key)]
        else:
            node = node[key] if key in node else node[int(key)]
    return tuple(str(item) for item in node)


@cache
def near_absent() -> frozenset[str]:
    """Of the nouns outside the vocabulary those of the first section: what a materials scientist may ask for, and what
    is most easily taken for something in the vocabulary."""
    text = files(__package__).joinpath("absent_nouns.txt").read_text("utf-8")
    section = text.split("# ---")[1]
    return frozenset(line for line in section.splitlines()[1:] if line)


@cache
def halves(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The wordings of a list that may be trained on, and those held back."""
    items = leaf(path)
    if path.startswith(UNSPLIT):
        return items, ()
    core = next((n for start, n in CORE if path.startswith(start)), 0)
    held = tuple(item for item in items[core:] if is_held_out(path, item))
    return tuple(item for item in items if item not in held), held


def is_held_out(path: str, item: str) -> bool:
    """The rule of the split: every fifth by the hash of path and wording."""
    return hashlib.sha256(f"{path}\n{item}".encode()).digest()[0] % 5 == 0


def all_paths() -> list[str]:
    """The paths of all lists, sorted."""
    found = ["absent"]

    def visit(node, path: str) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                visit(child, f"{path}/{key}")
        elif isinstance(node, list):
            if node and isinstance(node[0], dict):
                for position, child in enumerate(node):
                    visit(child, f"{path}/{position}")
            else:
                found.append(path)

    for name in FILES:
        visit(data(name), name)
    return sorted(found)


def held_out_listing() -> str:
    """All that is held back, one ``path<tab>wording`` a line; committed as ``held_out.txt``."""
    return "".join(f"{path}\t{item}\n" for path in all_paths() for item in halves(path)[1])


class Voice:
    """Draws wordings of one split.

    Args:
        rng: source of chance.
        split: ``"train"``, or ``"held_out"``: ways of asking are held-back ones wherever a list has any;
            other wordings are with probability :data:`HELD_SHARE_ELSEWHERE`.
        nouns: concept -> singular and plural that are said in place of all that the lists have for it.

    Raises:
        ValueError: another split.

    Attributes:
        novel: paths of the held-back wordings drawn so far.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        split: str = "train",
        nouns: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, not {split!r}")
        self.rng, self.split = rng, split
        self.nouns = dict(nouns or {})
        self.novel: list[str] = []

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def choose(self, items):
        """One of a sequence."""
        return items[int(self.rng.integers(len(items)))]

    def weighted(self, weights: dict):
        """A key, with probability proportional to its value."""
        keys = list(weights)
        values = np.array([weights[key] for key in keys], float)
        return keys[int(self.rng.choice(len(keys), p=values / values.sum()))]

    def pick(self, path: str, fits=lambda item: True) -> str:
        """A wording of a list that ``fits``.

        Raises:
            LookupError: none fits.
        """
        train, held = ([item for item in half if fits(item)] for half in halves(path))
        asking = path.split("/")[0] in ASKING
        novel = self.split == "held_out" and held and (asking or not train or self.chance(HELD_SHARE_ELSEWHERE))
        items = held if novel else train
        if not items:
            raise LookupError(f"no wording of {path} fits in the split {self.split}")
        if novel:
            self.novel.append(path)
        return self.choose(items)

    def has(self, path: str, fits=lambda item: True) -> bool:
        """Whether :meth:`pick` would find one."""
        train, held = halves(path)
        return any(map(fits, train)) or (self.split == "held_out" and any(map(fits, held)))
