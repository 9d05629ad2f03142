"""With which instrument the pictures of EMPS were taken; the data set itself does not say."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources


@cache
def emps_modality() -> dict[str, str]:
    """Modality of the EMPS images by name, as judged by eye; those that could not be told are left out."""
    text = resources.files("lisa_micro.datasets").joinpath("emps_modality.json").read_text("utf-8")
    return {name: m for name, m in json.loads(text)["modality"].items() if m != "unknown"}
