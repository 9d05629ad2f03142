"""What the app allows: sizes, numbers, times. One place, so that a user is told the same limits everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


def samples_folder() -> Path:
    """Folder of the sample micrographs: the installed package ``lisa_micro_samples``, or the checkout."""
    # a package that holds data alone is a namespace, which importlib.resources cannot read in an editable install
    spec = find_spec("lisa_micro_samples")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if Path(location).is_dir():
            return Path(location)
    return Path(__file__).resolve().parent.parent / "data" / "samples"  # a checkout that is not installed


STATIC = Path(__file__).resolve().parent / "static"
SAMPLES = samples_folder()

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of one app.

    Attributes:
        upload_mib: largest file that is taken, MiB.
        images: micrographs in one conversation.
        megapixels: of all micrographs of one conversation, million px; four times this is their memory in MB.
        turns: requests in one conversation; the oldest go first.
        waiting: requests in the queue, of all users.
        request_seconds: how long one request may work before it is given up.
        idle_seconds: a session that was not touched for so long ends.
        leave_seconds: a page that was closed ends its session after so long; a reload or a network that was gone for a
            moment comes back in time.
        sessions: at the same time.
        display_px: longer side of the picture that is sent to the browser.
        table_rows: instances in the table on the page; the downloaded table holds all.
        boxes: drawn in a comparison.
        corrections: steps in correcting one layer.
        points: that mark one object to be added.
        examples: for training, kept from one session.
        video_frames: of one video.
        video_megapixels: of all frames of one video, million px.
        video_px: longer side of a frame that is sent to the browser.
        video_seconds: how long following a video may work at a time; what was done is kept and can be gone on with.
            Less than ``idle_seconds``.
        questions: about one video.
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
