"""Wordings of the generator (``composed/frames.yaml``, ``composed/concepts.yaml``), a fifth of them held back."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from lisa_micro.datasets.texts.phrases import Noun, read_noun
from lisa_micro.datasets.texts.store import HELD_SHARE_ELSEWHERE, Voice, is_held_out

ASKING = (
    "commands", "two", "value", "list", "share", "ratio", "ratio of counts", "difference", "difference of counts",
    "distance",
    "histogram", "cumulative", "scatter", "unknown", "cannot/frames",
)  # fmt: skip
"""Lists of ways of asking, which a held-out request draws from the held-back part."""
UNSPLIT = ("ops", "factors", "statistics", "set statistics", "places", "ends", "assembly")
"""Lists of words that nobody would expect a model not to know."""
CORE_NOUNS = 4
"""Names of a concept that are never held back."""


@cache
def _data(name: str) -> dict:
    return yaml.safe_load(files("lisa_micro.datasets.texts").joinpath("composed", f"{name}.yaml").read_text("utf-8"))


@cache
def leaf(path: str) -> tuple[str, ...]:
    """The wordings of a list of ``frames.yaml``, by its path (keys with ``/`` between them).

    Raises:
        KeyError: no such list.
    """
    node = _data("frames")
    for key in path.split("/"):
        node = node[key] if key in node else node[float(key)] if _is_number(key) else node[int(key)]
    return tuple(str(item) for item in node)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


@cache
def halves(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The wordings that may be trained on, and those held back (none where that would leave nothing)."""
    items = leaf(path)
    if path.split("/")[0] in UNSPLIT or len(items) < 3:
        return items, ()
    held = tuple(item for item in items if is_held_out(f"composed/{path}", item))
    train = tuple(item for item in items if item not in held)
    return (train, held) if train else (items, ())


def all_paths() -> list[str]:
    """The paths of all lists, sorted."""
    found = []

    def visit(node, path: str) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                visit(child, f"{path}/{key}" if path else str(key))
        else:
            found.append(path)

    visit(_data("frames"), "")
    return sorted(found)


def pick(voice: Voice, path: str) -> str:
    """A wording of a list, of the voice's split."""
    train, held = halves(path)
    asking = path.startswith(ASKING)
    if voice.split == "held_out" and held and (asking or voice.chance(HELD_SHARE_ELSEWHERE)):
        voice.novel.append(path)
        return voice.choose(held)
    return voice.choose(train)


@cache
def nouns(concept: str) -> tuple[tuple[Noun, ...], tuple[Noun, ...]]:
    """The names of a concept that may be trained on, and those held back."""
    entries = [str(entry) for entry in _data("concepts")[concept]]
    held = {e for e in entries[CORE_NOUNS:] if is_held_out(f"composed/nouns/{concept}", e)}
    kept = tuple(read_noun(e, concept) for e in entries if e not in held)
    return kept, tuple(read_noun(e, concept) for e in entries if e in held)


def draw_noun(voice: Voice, concept: str) -> Noun:
    """A name of a concept: mostly one of the first."""
    train, held = nouns(concept)
    if voice.split == "held_out" and held and voice.chance(HELD_SHARE_ELSEWHERE):
        voice.novel.append(f"nouns/{concept}")
        return voice.choose(held)
    return train[0] if voice.chance(0.4) else voice.choose(train)
