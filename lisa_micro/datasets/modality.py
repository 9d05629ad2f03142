"""Imaging modality of the EMPS images, which the data set itself does not state."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


@cache
def emps_modality() -> dict[str, str]:
    """Read the modality of the EMPS images by name, as classified by eye; unclear images are left out."""
    text = resources.files("lisa_micro.datasets").joinpath("emps_modality.json").read_text("utf-8")
    return {name: m for name, m in json.loads(text)["modality"].items() if m != "unknown"}
