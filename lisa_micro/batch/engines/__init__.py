"""Engines that run the items of a batch: ``serial``, ``processes`` and ``dask``."""

from lisa_micro.batch.engines.base import Engine

__all__ = ["Engine"]
