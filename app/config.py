"""What the app allows: sizes, numbers, times. One place, so that a user is told the same limits everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).resolve().parent / "static"
SAMPLES = Path(__file__).resolve().parent.parent / "data" / "samples"

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
