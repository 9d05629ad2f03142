"""LISA-micro: a multimodal-LLM segmentation assistant for microscopy.

>>> import lisa_micro as lm
>>> image = lm.read_micrograph("film.tif")
>>> assistant = lm.load_assistant("micro")
>>> assistant.ask(image, "segment all sintering necks").text

Public names are imported on first use, so that ``import lisa_micro`` is fast. The library logs to the logger
``lisa_micro`` and prints nothing.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

logging.getLogger(__name__).addHandler(logging.NullHandler())

_PUBLIC = {
    "Answer": "lisa_micro.results",
    "CONCEPTS": "lisa_micro.types",
    "Exemplar": "lisa_micro.exemplar",
    "InputError": "lisa_micro.types",
    "LisaModel": "lisa_micro.models.lisa.pretrained",
    "Micrograph": "lisa_micro.types",
    "Prompt": "lisa_micro.types",
    "Segmentation": "lisa_micro.results",
    "as_micrograph": "lisa_micro.io",
    "batch": "lisa_micro.batch",
    "draw_overlay": "lisa_micro.viz",
    "labels_signal": "lisa_micro.results.signals",
    "outline_markers": "lisa_micro.results.signals",
    "read_exemplar": "lisa_micro.exemplar",
    "read_labels": "lisa_micro.io",
    "read_micrograph": "lisa_micro.io",
    "read_stack": "lisa_micro.io.lazy",
    "read_video": "lisa_micro.io",
    "save_answer": "lisa_micro.results",
    "to_unit_range": "lisa_micro.io",
    "measure_necks": "lisa_micro.measure",
    "measure_particles": "lisa_micro.measure",
    "simulate_scene": "lisa_micro.sim",
    "simulate_sintering": "lisa_micro.sim",
    "simulate_volume": "lisa_micro.sim.volumes",
    "build_segmenter": "lisa_micro.models.segmenters",
    "build_tracker": "lisa_micro.models.trackers",
    "load_assistant": "lisa_micro.loading",
    "compare_prompts": "lisa_micro.evaluate.comparison",
    "compare_wordings": "lisa_micro.evaluate.comparison",
    "segment_large": "lisa_micro.large_images",
    "segment_plane": "lisa_micro.large_images.planes",
    "Tracks": "lisa_micro.video.tracks",
    "track": "lisa_micro.video.track",
    "Volume": "lisa_micro.volumes",
    "link_slices": "lisa_micro.volumes",
    "segment_volume": "lisa_micro.volumes",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value = version("lisa-micro")
        except PackageNotFoundError:  # a checkout that is not installed
            value = "0+unknown"
    elif name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
