"""Many images: one request, one table, one report.

>>> import lisa_micro as lm
>>> run = lm.batch("films/", "segment all particles", out="results", engine="processes")  # doctest: +SKIP
>>> run.images()  # doctest: +SKIP

The package itself is the function: ``lisa_micro.batch(...)`` is :func:`lisa_micro.batch.run.run_batch`.

A run plans its items (:mod:`~lisa_micro.batch.plan`), lets an engine do them (:mod:`~lisa_micro.batch.engines`, each
with :func:`lisa_micro.batch.process.process`), and collects tables, statistics and a report from their folders.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from lisa_micro.batch.items import Item, list_items
from lisa_micro.batch.job import PresetSource, Reading
from lisa_micro.batch.options import BatchOptions, EngineOptions
from lisa_micro.batch.requests import ExemplarRequest, Request, WordsRequest
from lisa_micro.batch.run import BatchResult, Callbacks, run_batch

__all__ = [
    "BatchOptions",
    "BatchResult",
    "Callbacks",
    "EngineOptions",
    "Item",
    "PresetSource",
    "Reading",
    "ExemplarRequest",
    "Request",
    "WordsRequest",
    "list_items",
    "run_batch",
]


class _CallableModule(ModuleType):
    """Lets ``lm.batch(...)`` run a batch although ``lm.batch`` is also this package."""

    @wraps(run_batch)
    def __call__(self, *args: Any, **kwargs: Any) -> BatchResult:
        return run_batch(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
batch = sys.modules[__name__]
