"""Read the wordings, and hold out a fixed fifth of them from training.

A wording is addressed by the path of its list, such as ``"asks/command"``. Whether it is held out depends only on the
path and the wording itself, so adding a wording does not move any other.
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
"""Files with wordings of requests; held-out requests draw from the held-out part of their lists."""
CORE = (("concepts/", 12), ("clauses/", 3), ("measures/statistics/", 2), ("decorations/", 1))
"""Numbers of first entries of a list that are never held out: words that every model is expected to know."""
UNSPLIT = ("decorations/numbers", "decorations/units", "decorations/british_american", "clauses/pronouns")
HELD_SHARE_ELSEWHERE = 0.4
"""Probability that a synonym or phrasing in a held-out request is held out; its wording always is."""


@cache
def data(name: str) -> dict:
    """Read a YAML file of this folder."""
    return yaml.safe_load(files(__package__).joinpath(f"{name}.yaml").read_text("utf-8"))


@cache
def leaf(path: str) -> tuple[str, ...]:
    """Read the wordings of a list by its path.

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
    """The nouns outside the vocabulary in the first section of their file: terms of materials science, which are the
    easiest to mistake for something in the vocabulary."""
    text = files(__package__).joinpath("absent_nouns.txt").read_text("utf-8")
    section = text.split("# ---")[1]
    return frozenset(line for line in section.splitlines()[1:] if line)


@cache
def halves(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the wordings of a list into those for training and those held out."""
    items = leaf(path)
    if path.startswith(UNSPLIT):
        return items, ()
    core = next((n for start, n in CORE if path.startswith(start)), 0)
    held = tuple(item for item in items[core:] if is_held_out(path, item))
    return tuple(item for item in items if item not in held), held


def is_held_out(path: str, item: str) -> bool:
    """Whether a wording is held out: every fifth, by the hash of path and wording."""
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
    """All held-out wordings, one ``path<tab>wording`` per line; committed as ``held_out.txt``."""
    return "".join(f"{path}\t{item}\n" for path in all_paths() for item in halves(path)[1])


class Voice:
    """Draw wordings of one split.

    Args:
        rng: random generator.
        split: ``"train"``, or ``"held_out"``: wordings of requests are held-out ones if a list has any; other wordings
            are with probability :data:`HELD_SHARE_ELSEWHERE`.
        nouns: concept -> singular and plural that replace all nouns of the lists for it.

    Raises:
        ValueError: another split.

    Attributes:
        novel: paths of the held-out wordings drawn so far.
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
        """Draw True with a probability."""
        return bool(self.rng.random() < probability)

    def choose(self, items):
        """Draw one item of a sequence."""
        return items[int(self.rng.integers(len(items)))]

    def weighted(self, weights: dict):
        """Draw a key with probability proportional to its value."""
        keys = list(weights)
        values = np.array([weights[key] for key in keys], float)
        return keys[int(self.rng.choice(len(keys), p=values / values.sum()))]

    def pick(self, path: str, fits=lambda item: True) -> str:
        """Draw a wording of a list that ``fits``.

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
        """Whether :meth:`pick` would find a wording."""
        train, held = halves(path)
        return any(map(fits, train)) or (self.split == "held_out" and any(map(fits, held)))
