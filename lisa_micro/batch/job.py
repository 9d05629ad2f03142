"""What a worker is told: the job, which is the same for all items, and one task for each item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lisa_micro.batch.items import Item
from lisa_micro.batch.requests import Request
from lisa_micro.io.lazy.opening import MissingChunks, check_missing
from lisa_micro.io.units import check_pixel_size
from lisa_micro.protocols import Assistant, TilingMode

Status: TypeAlias = Literal["done", "failed"]


@dataclass(frozen=True)
class PresetSource:
    """Loads the assistant of a preset. An instance is sent to worker processes, which call it once.

    Attributes:
        preset, device, precision, projectors: see :func:`lisa_micro.load_assistant`.
    """

    preset: str = "micro"
    device: str = "auto"
    precision: str = "auto"
    projectors: str | None = None

    def __call__(self) -> Assistant:
        """Load it.

        Raises:
            InputError: as :func:`lisa_micro.load_assistant`.
        """
        from lisa_micro import load_assistant

        assistant: Assistant = load_assistant(
            self.preset, device=self.device, precision=self.precision, projectors=self.projectors
        )
        return assistant


AssistantSource: TypeAlias = Callable[[], Assistant]
"""Makes the assistant of a worker; picklable, unless the engine is ``serial``."""


@dataclass(frozen=True)
class Reading:
    """How every image is read and segmented. It is part of the identity of an item.

    Attributes:
        pixel_size_nm: edge length of a pixel in nm, used instead of the files' own.
        tiles: see :class:`lisa_micro.protocols.TilingMode`.
        missing_chunks: what a chunk of OME-Zarr without a file is: an ``"error"``, or ``"fill"``, the fill value.

    Raises:
        InputError: a pixel size that is not positive, or an unknown mode or treatment of chunks.
    """

    pixel_size_nm: float | None = None
    tiles: str = "auto"
    missing_chunks: MissingChunks = "error"

    def __post_init__(self) -> None:
        check_pixel_size(self.pixel_size_nm)
        TilingMode.parse(self.tiles)
        check_missing(self.missing_chunks)


@dataclass(frozen=True)
class Job:
    """What is done with every item.

    Attributes:
        requests: what is asked about each image.
        reading: how it is read.
        folder: of the results, shared by all workers.
    """

    requests: tuple[Request, ...]
    reading: Reading
    folder: str

    def record(self) -> dict[str, object]:
        """Requests and options as plain JSON values."""
        return {"requests": [dict(one.record()) for one in self.requests], "options": asdict(self.reading)}


@dataclass(frozen=True)
class Task:
    """One item for a worker.

    Attributes:
        id: see :func:`item_id`.
        item: the image.
        overlay: whether overlays are drawn.
    """

    id: str
    item: Item
    overlay: bool = False

    @property
    def place(self) -> str:
        """Folder of the item's results, relative to that of the run; no folder has a million entries."""
        return f"items/{self.id[:2]}/{self.id}"

    def folder(self, run: str | Path) -> Path:
        """Folder of the item's results."""
        return Path(run) / self.place


@dataclass(frozen=True)
class Outcome:
    """What a worker tells about a task; the results themselves are in the item's folder.

    Attributes:
        id: of the task.
        status: ``"failed"`` if the image could not be used.
        sentence: why it failed.
        seconds: that it took; 0 if the results were there already.
        memory_bytes: resident memory of the worker afterwards.
    """

    id: str
    status: Status
    sentence: str = ""
    seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class ModelFacts:
    """What a worker tells about its model.

    Attributes:
        preset: name it was loaded by.
        weights_sha256: fingerprint, hexadecimal.
        device: where it runs.
    """

    preset: str
    weights_sha256: str
    device: str


def item_id(item: Item, job: Job, weights_sha256: str) -> str:
    """Identity of an item: a hash of path, size, time of change, page, requests, options and weights.

    Whatever has the same identity has the same result, so it is never done twice.

    Returns:
        24 hexadecimal digits.
    """
    record = {**asdict(item), **job.record(), "weights": weights_sha256}
    del record["name"]
    text = json.dumps(record, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
