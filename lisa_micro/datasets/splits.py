"""Fixed training and validation splits of the public data sets, from ``splits.json``.

Related images are in the same part: near duplicates, panels of one figure and overlapping crops (in ``tem-sintering``
frames of the same area) were found by cross-correlation of every pair and by eye.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from lisa_micro.types import InputError

SPLITS = ("train", "validation")


@cache
def validation_names(dataset: str) -> frozenset[str]:
    """Read the names, without extension, of the validation images of a data set.

    Args:
        dataset: ``"emps"`` or ``"tem-sintering"``.

    Raises:
        InputError: no validation list for the data set.
    """
    lists = json.loads(resources.files(__package__).joinpath("splits.json").read_text(encoding="utf-8"))
    if dataset not in lists or not isinstance(lists[dataset], dict):
        known = ", ".join(k for k, v in lists.items() if isinstance(v, dict))
        raise InputError(f"no validation list for the data set {dataset!r}; there is one for {known}")
    return frozenset(lists[dataset]["validation"])


def split_of(dataset: str, name: str) -> str:
    """The part of an image, ``"validation"`` or ``"train"``, by its name without extension."""
    return "validation" if name in validation_names(dataset) else "train"


def check_split(split: str) -> str:
    """Return a valid name of a split.

    Raises:
        InputError: not train, validation or all.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(f"no split called {split!r}; choose train, validation or all")
    return split
