"""Open videos: a file, a zip of frames or a simulated sample becomes a clip, whose frames can be shown in any order."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lisa_micro.io.video import PICTURE_SUFFIXES, natural_key, read_video
from lisa_micro.types import InputError
from lisa_micro_app.handlers import safe_suffix, shown_name
from lisa_micro_app.limits import MIB, Limits
from lisa_micro_app.state.clip import Clip, remove
from lisa_micro_app.state.current_video import check_idle
from lisa_micro_app.state.frames import FrameStore

if TYPE_CHECKING:
    from lisa_micro_app.state.session import Session

T = TypeVar("T")

SAMPLES: dict[str, dict[str, Any]] = {
    "sintering": {
        "title": "Sintering in BF-TEM",
        "seed": 5,
        "frames": 40,
        "shape": (288, 384),
        "modality": "BF-TEM",
        "n_particles": 12,
        "mechanism": "surface diffusion",
        "frame_time_s": 2.0,
        "pixel_size_nm": 0.25,
        "radius_nm": 5.0,
        "contact_share": 0.7,
        "diffusion_px": 0.4,
    },
    "drifting": {
        "title": "Coalescence in HAADF-STEM, drifting",
        "seed": 21,
        "frames": 30,
        "shape": (256, 320),
        "modality": "HAADF-STEM",
        "n_particles": 16,
        "mechanism": "viscous flow",
        "frame_time_s": 0.5,
        "pixel_size_nm": 0.2,
        "radius_nm": 2.8,
        "contact_share": 0.6,
        "drift_px": (0.5, 0.3),
    },
}
"""Samples by name: title, and arguments of :func:`lisa_micro.sim.simulate_sintering`."""


def open_upload(session: Session, key: str, limits: Limits) -> Iterator[str]:
    """Open an uploaded video in place of the current one. Yields the progress in words.

    Raises:
        InputError: the file did not arrive, cannot be read, is too long, or the current video is being processed. The
            current video stays open then.
    """
    upload = session.take_upload(key, "video")
    path, name = upload.path, shown_name(upload.name)
    names: dict[str, str] = {}
    try:
        check_idle(session)
        if safe_suffix(name) == ".zip":
            yield f"Unpacking {name}"
            path, names = unpack(upload.path, session.new_file(), name, limits)
        yield from _open(session, path, upload.path, name, limits, names)
    except BaseException:  # also when the page was closed
        remove(upload.path, path)
        raise


def open_sample(session: Session, name: object, limits: Limits) -> Iterator[str]:
    """Open a sample, simulated once per session. Yields the progress in words.

    Raises:
        InputError: no sample has this name, or the current video is being processed.
    """
    if not isinstance(name, str) or name not in SAMPLES:
        raise InputError(f"There is no sample {shown_name(name)!r}; choose one of {', '.join(SAMPLES)}.")
    check_idle(session)
    state = session.video
    if name not in state.samples:
        yield "Simulating the sample"
        state.samples[name] = simulate(session.new_file(".tif"), name)
    path = state.samples[name]
    yield from _open(session, path, path, f"{name}.tif", limits, {})


def simulate(path: Path, name: str) -> Path:
    """Simulate a sample and write it as a TIFF stack, with the same bytes each time."""
    import numpy as np

    from lisa_micro.sim import Video, simulate_sintering
    from lisa_micro.sim.files.write import to_integers, write_tiff

    settings = {key: value for key, value in SAMPLES[name].items() if key != "title"}
    video = simulate_sintering(**settings)
    assert isinstance(video, Video)  # of several frames
    pixels = np.stack([to_integers(frame, 8) for frame in video])
    return write_tiff(path, pixels, video.pixel_size_nm, video.frame_time_s)


def _open(
    session: Session, path: Path, upload: Path, name: str, limits: Limits, names: dict[str, str]
) -> Iterator[str]:
    """Read a whole video once, which counts its frames, and store their pictures.

    Args:
        names: the user's names of the files in ``path``.
    """
    names = {**names, str(path): name, path.name: name}

    def with_user_names(text: str) -> str:
        for file_name, shown in names.items():
            text = text.replace(file_name, shown)
        return text

    frames = FrameStore(session.new_file(".frames"), limits.video_px)
    try:
        stream = _guarded(lambda: read_video(path), name, with_user_names)
        check_length(stream.length or 0, stream.shape, name, limits)
        iterator = iter(stream)
        while True:
            pixels = _guarded(lambda: next(iterator, None), name, with_user_names)
            if pixels is None:
                break
            check_length(len(frames) + 1, stream.shape, name, limits)
            frames.append(pixels)
            if len(frames) % 10 == 1:
                of = f" of {stream.length}" if stream.length else ""
                yield f"Reading {name}: frame {len(frames)}{of}"
        if not len(frames):
            raise InputError(f"{name} has no readable frame.")
    except BaseException:
        frames.path.unlink(missing_ok=True)
        raise
    state = session.video
    state.forget()
    state.opened += 1
    facts = replace(stream.facts, length=len(frames), notes=tuple(map(with_user_names, stream.notes)))
    state.clip = Clip(f"c{state.opened}-{frames.path.stem}", name, path, upload, facts, frames)


def _guarded(read: Callable[[], T], name: str, with_user_names: Callable[[str], str]) -> T:
    """Call ``read``; turn any exception into one sentence with the user's name of the file."""
    try:
        return read()
    except InputError as error:
        raise InputError(with_user_names(str(error))) from error
    except MemoryError as error:
        raise InputError(f"{name} does not fit into the memory of this computer.") from error
    except Exception as error:  # third-party readers raise exceptions of many types
        raise InputError(f"{name} cannot be read as a video ({type(error).__name__}).") from error


def check_length(frames: int, shape: tuple[int, int], name: str, limits: Limits) -> None:
    """Raises:
    InputError: the video has too many frames, or too many pixels in all.
    """
    if frames > limits.video_frames:
        raise InputError(
            f"{name} is too long: videos may have up to {limits.video_frames} frames. Shorten it, or use the command "
            "lisa-micro track, which has no limit."
        )
    if frames * shape[0] * shape[1] > limits.video_megapixels * 1e6:
        raise InputError(
            f"{name} is too large: the frames of a video may have {limits.video_megapixels} million px together. "
            "Shorten it, or use the command lisa-micro track, which has no limit."
        )


def unpack(archive: Path, folder: Path, name: str, limits: Limits) -> tuple[Path, dict[str, str]]:
    """Extract the images of a zip archive into a new folder, numbered in natural order of their names.

    Args:
        archive: the uploaded file; its metadata are not trusted.
        folder: new folder for the images.
        name: the user's name of the archive.
        limits: of the app.

    Returns:
        the folder, and the names in the archive by the names in the folder.

    Raises:
        InputError: the file is no archive, damaged or encrypted, has no images, or is too large.
    """
    most = 4 * limits.upload_mib * MIB
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = [
                entry
                for entry in packed.infolist()
                if not entry.is_dir()
                and safe_suffix(entry.filename) in PICTURE_SUFFIXES
                and not any(part.startswith((".", "__MACOSX")) for part in entry.filename.split("/"))
            ]
            if not entries:
                raise InputError(f"{name} contains no images; zip the frames of a video, one image per frame.")
            check_length(len(entries), (0, 0), name, limits)
            entries.sort(key=lambda entry: natural_key(entry.filename))
            folder.mkdir()
            left, names = most, {}
            for k, entry in enumerate(entries):
                path = folder / f"frame{k:06d}{safe_suffix(entry.filename)}"
                names[path.name] = shown_name(entry.filename)
                with packed.open(entry) as source, path.open("wb") as target:
                    while chunk := source.read(MIB):
                        left -= len(chunk)
                        if left < 0:
                            raise InputError(f"{name} is too large: it has more than {most // MIB} MiB when unpacked.")
                        target.write(chunk)
    except InputError:
        remove(folder)
        raise
    except OSError as error:
        remove(folder)
        raise InputError(f"{name} cannot be unpacked: {error.strerror or 'it is damaged'}.") from error
    except Exception as error:  # zipfile raises many types: damage, passwords, unknown compression
        remove(folder)
        raise InputError(f"{name} cannot be unpacked: it is damaged, encrypted or no zip archive.") from error
    return folder, names
