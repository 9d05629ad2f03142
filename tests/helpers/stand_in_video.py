"""Small videos, and a stand-in for the assistant that finds known particles in them."""

from __future__ import annotations

import io
import threading
import zipfile

import numpy as np
import tifffile
from known_engine import KnownEngine
from PIL import Image
from stand_in_app import SQUARES, StandIn, squares

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro_app import handlers
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import video_files as video_open
from lisa_micro_app.state import video_run
from lisa_micro_app.state.session import Upload

SHAPE, FRAMES = (48, 64), 6
LIMITS = Limits(video_frames=12, video_px=64, upload_mib=1)


class Watching(StandIn):
    """Finds the three squares of the stand-in. The third one moves right by 1 px per frame; the first two merge in
    frame 4. The darkest value of a frame is its number. A gate can block a frame."""

    def __init__(self):
        super().__init__()
        self.seen: list[int] = []
        self.gates: dict[int, threading.Event] = {}
        self.reached = threading.Event()

    def ask(self, image, prompt):
        t = int(image.pixels.min())
        if t in self.gates:
            self.reached.set()
            self.gates[t].wait(30)
        self.seen.append(t)
        if prompt == "break" and t == 3:
            raise RuntimeError("a defect")
        labels = squares(image.shape, moved(t))
        return Answer("Here are the particles.", (Segmentation(labels, 0.9, 0.9, "particle", "particles"),), prompt)


def speaking(reply="There are <value>count at end</value> particles [SEG].") -> Assistant:
    """An assistant that answers questions: it finds what :func:`shaped` draws, and gives the same reply each time."""
    return Assistant(KnownEngine(reply), "known", "")


def moved(t):
    first, second, (x0, y0, x1, y1) = SQUARES
    pair = (first, second) if t < 4 else ((first[0], first[1], second[2], second[3]),)
    return (*pair, (x0 + t, y0, x1 + t, y1))


def pixels(frames=FRAMES):
    noise = np.random.default_rng(0).integers(100, 4000, (frames, *SHAPE)).astype(np.uint16)
    noise[:, 0, 0] = np.arange(frames)
    return noise


def shaped(t: int) -> np.ndarray:
    """A frame for the engine of ``known_engine``: 0 outside of the squares, rising to 1 with the distance to their
    edges."""
    picture = np.zeros(SHAPE, np.float32)
    for x0, y0, x1, y1 in moved(t):
        rows, columns = (np.arange(n) + 1 for n in (y1 - y0, x1 - x0))
        distance = np.minimum.outer(np.minimum(rows, rows[::-1]), np.minimum(columns, columns[::-1]))
        picture[y0:y1, x0:x1] = 0.4 + 0.6 * distance / distance.max()
    return picture


def shaped_stack() -> bytes:
    """The frames of :func:`shaped` as a TIFF stack."""
    return stack_of(np.stack([shaped(t) for t in range(FRAMES)]))


def stack(frames=FRAMES) -> bytes:
    """A TIFF stack with 0.5 nm a px and 0.5 s a frame."""
    return stack_of(pixels(frames))


def stack_of(frames: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    metadata = {"axes": "TYX", "unit": "nm", "finterval": 0.5}
    tifffile.imwrite(buffer, frames, imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    return buffer.getvalue()


def movie(suffix: str, frames=FRAMES) -> bytes:
    """At 10 frames a second."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=suffix.removeprefix(".")) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SHAPE, "yuv420p"
        for frame in (pixels(frames) // 16).astype(np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())
    return buffer.getvalue()


def zipped(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def picture(t: int, shape=SHAPE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full(shape, 10 * t, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def opened(user, content: bytes | None = None, name="film.tif", limits=LIMITS):
    path = user.new_file(handlers.safe_suffix(name))
    path.write_bytes(stack() if content is None else content)
    user.uploads["key"] = Upload(path, name, "video")
    assert list(video_open.open_upload(user, "key", limits))  # tells its progress
    return user.video.clip


def follow(user, queue, words="follow all particles", limits=LIMITS):
    return list(video_run.track_video(user, queue, words, limits))
