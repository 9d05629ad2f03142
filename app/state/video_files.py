"""Videos in, without the page: a file, a zip of frames or a simulated sample becomes a clip, whose frames can be looked
at in any order."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.io.video import PICTURE_SUFFIXES, natural_key, read_video
from lisa_micro.types import InputError
from lisa_micro_app.handlers import safe_suffix, shown_name
from lisa_micro_app.limits import MIB, Limits
from lisa_micro_app.state.clip import Clip, remove
from lisa_micro_app.state.current_video import check_idle
from lisa_micro_app.state.frames import FrameStore

if TYPE_CHECKING:
    from lisa_micro_app.state.session import Session

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
"""Name -> title, and what :func:`lisa_micro.sim.simulate_sintering` is called with."""


def open_upload(session: Session, key: str, limits: Limits) -> Iterator[str]:
    """Read a video that the browser sent, in place of the one that is open: yields how far it is.

    Raises:
        InputError: it did not arrive, cannot be read, is too long, or the one that is open is being followed. The one
            that is open stays then.
    """
    upload = session.take_upload(key, "video")
    path, name = upload.path, shown_name(upload.name)
    told: dict[str, str] = {}
    try:
        check_idle(session)
        if safe_suffix(name) == ".zip":
            yield f"Unpacking {name}"
            path, told = unpack(upload.path, session.new_file(), name, limits)
        yield from _open(session, path, upload.path, name, limits, told)
    except BaseException:  # the page may also have gone
        remove(upload.path, path)
        raise


def open_sample(session: Session, name: object, limits: Limits) -> Iterator[str]:
    """Simulate a sample, or take it as it was simulated for this session before, and open it: yields how far it is.

    Raises:
        InputError: there is none of that name, or the video that is open is being followed.
    """
    if not isinstance(name, str) or name not in SAMPLES:
        raise InputError("There is no sample of that name.")
    check_idle(session)
    mine = session.video
    if name not in mine.samples:
        yield "Simulating the sample"
        mine.samples[name] = simulate(session.new_file(".tif"), name)
    path = mine.samples[name]
    yield from _open(session, path, path, f"{name}.tif", limits, {})


def simulate(path: Path, name: str) -> Path:
    """Write a sample as a TIFF stack; the same bytes each time."""
    import numpy as np

    from lisa_micro.sim import simulate_sintering
    from lisa_micro.sim.write import to_integers, write_tiff

    settings = {key: value for key, value in SAMPLES[name].items() if key != "title"}
    video = simulate_sintering(**settings)
    pixels = np.stack([to_integers(frame, 8) for frame in video])
    return write_tiff(path, pixels, video.pixel_size_nm, video.frame_time_s)


def _open(session: Session, path: Path, upload: Path, name: str, limits: Limits, told: dict[str, str]) -> Iterator[str]:
    """Read a whole video once, which tells how many frames it has, and keep its pictures.

    Args:
        told: name of a file within ``path`` -> what the user calls it.
    """
    told = {**told, str(path): name, path.name: name}

    def plain(text: str) -> str:
        for own, shown in told.items():
            text = text.replace(own, shown)
        return text

    frames = FrameStore(session.new_file(".frames"), limits.video_px)
    try:
        stream = _guarded(lambda: read_video(path), name, plain)
        check_length(stream.length or 0, stream.shape, name, limits)
        iterator = iter(stream)
        while True:
            pixels = _guarded(lambda: next(iterator, None), name, plain)
            if pixels is None:
                break
            check_length(len(frames) + 1, stream.shape, name, limits)
            frames.append(pixels)
            if len(frames) % 10 == 1:
                of = f" of {stream.length}" if stream.length else ""
                yield f"Reading {name}: frame {len(frames)}{of}"
        if not len(frames):
            raise InputError(f"{name} holds no frame that can be read.")
    except BaseException:
        frames.path.unlink(missing_ok=True)
        raise
    mine = session.video
    mine.forget()
    mine.counted += 1
    facts = replace(stream.facts, length=len(frames), notes=tuple(plain(note) for note in stream.notes))
    mine.clip = Clip(f"c{mine.counted}-{frames.path.stem}", name, path, upload, facts, frames)


def _guarded(read: Callable[[], Any], name: str, plain: Callable[[str], str]) -> Any:
    """What ``read`` gives; whatever goes wrong, in one sentence that knows the file by the user's name."""
    try:
        return read()
    except InputError as error:
        raise InputError(plain(str(error))) from error
    except MemoryError as error:
        raise InputError(f"{name} is too large for this machine's memory.") from error
    except Exception as error:  # a reader of a foreign format may fail in ways that nobody foresaw
        raise InputError(f"{name} cannot be read as a video ({type(error).__name__}).") from error


def check_length(frames: int, shape: tuple[int, int], name: str, limits: Limits) -> None:
    """Raises:
    InputError: a video of so many frames of ``shape`` is too long.
    """
    if frames > limits.video_frames:
        raise InputError(
            f"{name} is too long: videos may have up to {limits.video_frames} frames. Cut it, or follow it with the "
            "command lisa-micro track, which has no such limit."
        )
    if frames * shape[0] * shape[1] > limits.video_megapixels * 1e6:
        raise InputError(
            f"{name} is too large: the frames of a video may have {limits.video_megapixels} million px together. Cut "
            "it, or follow it with the command lisa-micro track, which has no such limit."
        )


def unpack(archive: Path, folder: Path, name: str, limits: Limits) -> tuple[Path, dict[str, str]]:
    """Put the images of a zip archive into a new folder, in natural order of their names there, under plain names.

    Args:
        archive: as it was sent; what it says of itself is not believed.
        folder: where they go.

    Returns:
        the folder, and name there -> name in the archive.

    Raises:
        InputError: no archive, a damaged or an encrypted one, no image in it, or too many or too large.
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
                raise InputError(f"{name} holds no images; zip the frames of a video, one image a frame.")
            check_length(len(entries), (0, 0), name, limits)
            entries.sort(key=lambda entry: natural_key(entry.filename))
            folder.mkdir()
            left, told = most, {}
            for k, entry in enumerate(entries):
                path = folder / f"frame{k:06d}{safe_suffix(entry.filename)}"
                told[path.name] = shown_name(entry.filename)
                with packed.open(entry) as source, path.open("wb") as target:
                    while chunk := source.read(MIB):
                        left -= len(chunk)
                        if left < 0:
                            raise InputError(f"{name} is too large: unpacked it has more than {most // MIB} MiB.")
                        target.write(chunk)
    except InputError:
        remove(folder)
        raise
    except OSError as error:
        remove(folder)
        raise InputError(f"{name} cannot be unpacked: {error.strerror or 'it is damaged'}.") from error
    except Exception as error:  # zipfile fails in many ways: damage, passwords, methods that it does not know
        remove(folder)
        raise InputError(f"{name} cannot be unpacked: it is damaged, encrypted or no zip archive.") from error
    return folder, told
