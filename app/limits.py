"""Limits of the app: sizes, counts and times, in one place, so that every message states the same limits."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


def samples_folder() -> Path:
    """Folder of the sample micrographs: in the installed package ``lisa_micro_samples``, or in the checkout."""
    spec = find_spec("lisa_micro_samples")
    # not importlib.resources: the search path of an editable install has an entry that is no folder, which it rejects
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    checkout = Path(__file__).resolve().parent.parent / "data" / "samples"
    return next((folder for folder in folders if folder.is_dir()), checkout)


STATIC = Path(__file__).resolve().parent / "static"
SAMPLES = samples_folder()

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of one app.

    Attributes:
        upload_mib: largest file, MiB.
        images: number of micrographs in one conversation.
        megapixels: size of all micrographs of one conversation together, million px; they take four times as many MB.
        turns: number of requests in one conversation; the oldest are removed first.
        waiting: number of requests in the queue, of all users.
        request_seconds: longest time for one request.
        idle_seconds: a session ends after this time without use.
        leave_seconds: a session ends this long after its page was closed; a reload or a short loss of the network is
            shorter.
        sessions: number of sessions at the same time.
        display_px: longer side of a picture that is sent to the browser.
        table_rows: number of instances in the table on the page; the downloaded table has all.
        boxes: number of boxes drawn in a comparison.
        corrections: number of correction steps of one layer.
        points: number of points that mark one object to add.
        examples: number of training examples of one session.
        video_frames: number of frames of one video.
        video_megapixels: size of all frames of one video together, million px.
        video_px: longer side of a frame that is sent to the browser.
        video_seconds: longest time for tracking before it stops; its results are kept and the run can be resumed. Less
            than ``idle_seconds``.
        questions: number of questions about one run.
        batch_images: number of images of one batch.
        batch_mib: size of all images of one batch together, MiB.
        batch_seconds: longest time of one batch before it stops; what was done stays, and the run can go on.
    """

    upload_mib: int = 512
    images: int = 12
    megapixels: int = 400
    turns: int = 200
    waiting: int = 24
    request_seconds: float = 600.0
    idle_seconds: float = 3600.0
    leave_seconds: float = 30.0
    sessions: int = 64
    display_px: int = 2048
    table_rows: int = 2000
    boxes: int = 400
    corrections: int = 1000
    points: int = 32
    examples: int = 100
    video_frames: int = 2000
    video_megapixels: int = 4000
    video_px: int = 1024
    video_seconds: float = 3000.0
    questions: int = 100
    batch_images: int = 500
    batch_mib: int = 2048
    batch_seconds: float = 3000.0
