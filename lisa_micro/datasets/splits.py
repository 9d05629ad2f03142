"""Which images are for training and which for validation: fixed lists of names in ``splits.json``.

The lists keep related images on one side: near duplicates, panels of one figure and crops that overlap (in
``tem-sintering`` frames of the same area) were found by cross-correlation of every pair and by eye.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from lisa_micro.types import InputError

SPLITS = ("train", "validation")


@cache
def validation_names(dataset: str) -> frozenset[str]:
    """Names, without extension, of the validation images of a data set.

    Args:
        dataset: ``"emps"`` or ``"tem-sintering"``.

    Raises:
        InputError: no list for that data set.
    """
    lists = json.loads(resources.files(__package__).joinpath("splits.json").read_text(encoding="utf-8"))
    if dataset not in lists or not isinstance(lists[dataset], dict):
        known = ", ".join(k for k, v in lists.items() if isinstance(v, dict))
        raise InputError(f"no validation list for the data set {dataset!r}; there is one for {known}")
    return frozenset(lists[dataset]["validation"])


def split_of(dataset: str, name: str) -> str:
    """``"validation"`` or ``"train"`` for an image's name without extension."""
    return "validation" if name in validation_names(dataset) else "train"


def check_split(split: str) -> str:
    """The split's name.

    Raises:
        InputError: neither train, validation nor all.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(f"no split called {split!r}; choose train, validation or all")
    return split
