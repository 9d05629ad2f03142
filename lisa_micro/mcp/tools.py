"""The tools: one file, one folder. They know nothing of the protocol."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.mcp.allowed import AllowedFolders
from lisa_micro.mcp.results import FolderResult, SegmentResult, SegmentSummary
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.batch.job import PresetSource
    from lisa_micro.batch.progress import Progress
    from lisa_micro.protocols import Assistant
    from lisa_micro.results.answer import Answer
    from lisa_micro.types import Micrograph

MOST_FAILURES = 50
SHOWN_STATISTICS = ("D10", "D50", "D90", "mean", "number density")


@dataclass
class Tools:
    """The tools and the model behind them, which is loaded at first use.

    Attributes:
        allowed: folders that may be used.
        source: makes the assistant.
        workers: worker processes of a folder; ``None``: what cores and memory allow.
    """

    allowed: AllowedFolders
    source: PresetSource
    workers: int | None = None
    _assistant: Assistant | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def segment_file(
        self, path: str, prompt: str, out: str = "", pixel_size_nm: float | None = None, page: int = 0
    ) -> tuple[SegmentResult, bytes]:
        """Answer a request about one file, and write all files of the answer.

        Args:
            path: of the image.
            prompt: the request.
            out: folder for the results; empty: ``STEM-lisa`` beside the image.
            pixel_size_nm: used instead of the file's own.
            page: of a stack.

        Returns:
            the result, and an overlay as PNG of bounded size.

        Raises:
            InputError: a path outside of the allowed folders, or a file or request that cannot be used.
        """
        from lisa_micro.io import read_micrograph
        from lisa_micro.results import save_answer

        source = self.allowed.path(path)
        folder = self.allowed.path(out or str(source.with_name(f"{source.stem}-lisa")))
        micrograph = read_micrograph(source, pixel_size_nm, page)
        with self._lock:
            assistant = self._loaded()
            answer = assistant.open_conversation(micrograph).ask(prompt)
        written = save_answer(
            answer, micrograph, folder, preset=assistant.preset, weights_sha256=assistant.weights_sha256, force=True
        )
        return _result(answer, micrograph, written), _picture(answer, micrograph)

    def run_folder(
        self,
        images: str,
        prompt: str,
        out: str = "",
        group_by: str = "",
        limit: int | None = None,
        pixel_size_nm: float | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[FolderResult, list[bytes]]:
        """Answer a request about many files; a run that the folder of results holds already is continued.

        Args:
            images: folder, file or pattern.
            prompt: the request.
            out: folder for the results; empty: ``lisa-micro-batch`` beside the images.
            group_by: ``"folder"``, ``"name:REGEX"``, the path of a CSV file, or empty.
            limit: number of images.
            pixel_size_nm: used instead of the files' own.
            progress: called after each image.

        Returns:
            the result, and up to three overlays as JPEG.

        Raises:
            InputError: a path outside of the allowed folders, or what :func:`lisa_micro.batch` raises.
        """
        from lisa_micro.batch import BatchOptions, Callbacks, EngineOptions, Reading, run_batch

        found = self.allowed.images(images)
        first = Path(found if isinstance(found, str) else found[0])
        folder = self.allowed.path(out or str((first if first.is_dir() else first.parent) / "lisa-micro-batch"))
        if group_by.lower().endswith(".csv"):
            group_by = str(self.allowed.path(group_by))
        options = BatchOptions(
            reading=Reading(pixel_size_nm),
            engine=EngineOptions(workers=self.workers),
            group_by=group_by or None,
            limit=limit,
            resume=True,
        )
        with self._lock:
            run = run_batch(
                found, prompt, folder, assistant=self.source, options=options, callbacks=Callbacks(progress=progress)
            )
        pictures = sorted(folder.glob("items/*/*/overlay_1.jpg"))[:3]
        result = FolderResult(
            done=run.counts.done,
            failed=run.counts.failed,
            instances=run.counts.instances,
            statistics=_rows(
                folder / "statistics.csv",
                lambda row: row["statistic"] in SHOWN_STATISTICS and row.get("basis") in (None, "number", "volume"),
            ),
            comparisons=_rows(folder / "comparisons.csv"),
            outliers=_rows(folder / "outliers.csv"),
            failures=_rows(folder / "failed.csv")[:MOST_FAILURES],
            notes=list(run.notes),
            files=[str(path) for path in run.files],
        )
        return result, [path.read_bytes() for path in pictures]

    def _loaded(self) -> Assistant:
        if self._assistant is None:
            self._assistant = self.source()
        return self._assistant


def _result(answer: Answer, micrograph: Micrograph, written: Sequence[Path]) -> SegmentResult:
    from lisa_micro.results.summary import summarise_segments

    segments = [
        SegmentSummary(
            concept=segment.concept,
            phrase=segment.phrase,
            condition=segment.where,
            count=summary.count,
            area_fraction=summary.area_fraction,
            quantity=summary.property,
            unit=summary.unit,
            mean=_known(summary.mean),
            median=_known(summary.median),
            D10=_known(summary.D10),
            D90=_known(summary.D90),
        )
        for segment, summary in zip(answer.segments, summarise_segments(answer.segments), strict=True)
    ]
    values = [
        {"measure": one.measure, "value": _known(one.value), "unit": one.unit, "standard_error": one.standard_error}
        for one in answer.values
    ]
    notes = (*micrograph.notes, *answer.notes, *(text for segment in answer.segments for text in segment.notes))
    return SegmentResult(
        reply=answer.text,
        found=bool(answer.segments),
        segments=segments,
        values=values,
        pixel_size_nm=micrograph.pixel_size_nm,
        pixel_size_origin=micrograph.pixel_size_origin,
        notes=list(dict.fromkeys(notes)),
        files=[str(path) for path in written],
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _picture(answer: Answer, micrograph: Micrograph) -> bytes:
    import numpy as np

    from lisa_micro.viz.thumbnail import overlay_thumbnail

    labels = [segment.labels for segment in answer.segments] or [np.zeros(micrograph.shape, np.int32)]
    names = [segment.phrase or segment.concept for segment in answer.segments] or None
    return overlay_thumbnail(labels, micrograph.pixels, micrograph.pixel_size_nm, names)


def _rows(table: Path, wanted: Callable[[dict[str, Any]], bool] | None = None) -> list[dict[str, Any]]:
    """Rows of a table as plain values, without empty cells."""
    import pandas as pd

    try:
        frame = pd.read_csv(table)
    except (OSError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{table} cannot be read.") from error
    rows = [{str(name): value for name, value in row.items() if value == value} for row in frame.to_dict("records")]
    return [row for row in rows if wanted is None or wanted(row)]
