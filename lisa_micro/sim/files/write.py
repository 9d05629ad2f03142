"""Simulated data as files: TIFF with its pixel size in ImageJ's convention, label TIFFs, truth as JSON."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from lisa_micro.io.files import temporary_prefix
from lisa_micro.sim.files.cache import plain
from lisa_micro.sim.scene import Scene, simulate_scene
from lisa_micro.sim.video import Video, simulate_sintering
from lisa_micro.types import InputError

CONCEPT_FILES = {
    "particles": "particles.tif",
    "necks": "necks.tif",
    "pores": "pores.tif",
    "agglomerates": "agglomerates.tif",
}


SHELL_FILES = {"cores": "cores.tif", "shells": "shells.tif"}
"""Of scenes with core-shell particles, beside those."""


def _atomic(path: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a draft beside ``path``, and put it there only when it is whole."""
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    path.chmod(0o644)
    return path


def write_tiff(
    path: str | Path, pixels: np.ndarray, pixel_size_nm: float | None, frame_time_s: float | None = None
) -> Path:
    """Write an image ``(H, W)`` or a stack ``(T, H, W)``, uint8, uint16 or float32, as ImageJ reads it:
    resolution in pixels per nm, unit in the ImageJ description, frame interval in s. Atomic.

    Raises:
        OSError: where the file cannot be written.
    """
    pixels = np.asarray(pixels)
    return _write_stack(Path(path), iter(pixels.reshape(-1, *pixels.shape[-2:])), pixels, pixel_size_nm, frame_time_s)


def _write_stack(path: Path, pages: Iterator[np.ndarray], like, pixel_size_nm, frame_time_s) -> Path:
    """Pages from an iterator, so that a video need not be in memory; ``like`` has the whole's shape and
    dtype."""
    facts: dict[str, Any] = {"axes": "TYX" if len(like.shape) == 3 else "YX"}
    tags: dict[str, Any] = {}
    if pixel_size_nm:
        facts["unit"] = "nm"
        tags["resolution"] = (1 / pixel_size_nm, 1 / pixel_size_nm)
    if frame_time_s:
        facts["finterval"] = float(frame_time_s)
    return _atomic(
        path,
        lambda draft: tifffile.imwrite(
            draft,
            pages,
            shape=like.shape,
            dtype=like.dtype,
            imagej=True,
            metadata=facts,
            photometric="minisblack",
            **tags,
        ),
    )


def to_integers(pixels: np.ndarray, bits: int = 16) -> np.ndarray:
    """0..1 as uint8 or uint16 over the whole range.

    Raises:
        InputError: where ``bits`` is neither 8 nor 16.
    """
    if bits not in (8, 16):
        raise InputError("images are written with 8 or 16 bits")
    return np.rint(np.clip(pixels, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def prepare_folder(out_dir: str | Path, force: bool) -> Path:
    """Make a folder for results.

    Raises:
        InputError: where it holds results already and ``force`` is false, or where it cannot be made.
    """
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    if (folder / "truth.json").exists() and not force:
        raise InputError(f"{folder} already holds a simulation; choose another folder or overwrite it with --force")
    return folder


def write_scene(scene: Scene, out_dir: str | Path, bits: int = 16, force: bool = False) -> dict[str, Path]:
    """Write ``image.tif``, a uint16 label TIFF a concept (:data:`CONCEPT_FILES`; with core-shell particles
    :data:`SHELL_FILES` too), ``overlay.tif`` where letters or bars are on the image, and ``truth.json``.

    Returns:
        name -> path of what was written.

    Raises:
        InputError: as :func:`prepare_folder` and :func:`to_integers`.
        OSError: where a file cannot be written.
    """
    folder = prepare_folder(out_dir, force)
    size = scene.pixel_size_nm
    written = {"image": write_tiff(folder / "image.tif", to_integers(scene.pixels, bits), size)}
    files = CONCEPT_FILES | (SHELL_FILES if scene.shells is not None else {})
    for name, file in files.items():
        written[name] = write_tiff(folder / file, getattr(scene, name).astype(np.uint16), size)
    if scene.overlay.any():
        written["overlay"] = write_tiff(folder / "overlay.tif", scene.overlay.astype(np.uint8) * 255, size)
    particles = [
        {"label": k + 1, "x": float(x), "y": float(y), "radius_px": float(r)}
        for k, ((x, y), r) in enumerate(zip(scene.centres, scene.radii, strict=True))
    ]
    truth = {
        "image": "image.tif",
        "labels": files,
        "shape": list(scene.shape),
        "pixel_size_nm": size,
        "modality": scene.modality,
        "seed": scene.seed,
        "counts": {name: int(getattr(scene, name).max(initial=0)) for name in files},
        "particles": particles,
        "necks": scene.neck_table,
        "contacts": scene.contacts.tolist(),
        "params": scene.params,
    }
    written["truth"] = _write_json(folder / "truth.json", truth)
    return written


def write_video(video: Video, out_dir: str | Path, bits: int = 8, force: bool = False) -> dict[str, Path]:
    """Write ``video.tif`` (stack), ``particles.tif`` (stack, label = identity), ``necks.tif`` (stack,
    numbered per frame) and ``truth.json`` with events, lineage and x(t) of each pair.

    Returns and raises as :func:`write_scene`.
    """
    folder = prepare_folder(out_dir, force)
    kind = np.uint8 if bits == 8 else np.uint16

    def stack(name: str, pages: Iterator[np.ndarray], dtype) -> Path:
        like = np.broadcast_to(np.zeros(1, dtype), (len(video), *video.shape))
        return _write_stack(folder / name, pages, like, video.pixel_size_nm, video.frame_time_s)

    steps = range(len(video))
    written = {
        "video": stack("video.tif", (to_integers(frame, bits) for frame in video), kind),
        "particles": stack("particles.tif", (video.labels(t).astype(np.uint16) for t in steps), np.uint16),
        "necks": stack("necks.tif", (video.neck_labels(t)[0].astype(np.uint16) for t in steps), np.uint16),
    }
    truth = {
        "video": "video.tif",
        "labels": {"particles": "particles.tif", "necks": "necks.tif"},
        "frames": len(video),
        "shape": list(video.shape),
        "pixel_size_nm": video.pixel_size_nm,
        "frame_time_s": video.frame_time_s,
        "modality": video.modality,
        "seed": video.seed,
        "mechanism": video.mechanism,
        "B": video.B,
        "events": video.events,
        "lineage": video.lineage,
        "necks": video.necks,
        "offsets": video.offsets.tolist(),
        "params": video.params,
    }
    written["truth"] = _write_json(folder / "truth.json", truth)
    return written


def _write_json(path: Path, facts: dict[str, Any]) -> Path:
    text = json.dumps(plain(facts), indent=1, allow_nan=False)
    return _atomic(path, lambda draft: draft.write_text(text + "\n", encoding="utf-8"))


def write_simulation(
    out_dir: str | Path,
    seed: int = 0,
    frames: int = 1,
    kind: str | None = None,
    force: bool = False,
    bits: int | None = None,
    **settings: Any,
) -> dict[str, Path]:
    """Simulate and write: what ``lisa-micro simulate`` does.

    Args:
        out_dir: made where it is missing.
        seed, frames: of :func:`lisa_micro.sim.video.simulate_sintering`.
        kind: ``None`` or ``"sintering"`` for a heating experiment; ``"any"`` or a key of
            :data:`lisa_micro.sim.layouts.KINDS` for a random scene of
            :func:`lisa_micro.sim.scene.simulate_scene`.
        force: overwrite a simulation that is there.
        bits: 8 or 16; 16 for one image and 8 for a video where ``None``.
        settings: further arguments of the two; those that are ``None`` are left to them.

    Returns:
        name -> path of what was written.

    Raises:
        InputError: for arguments that cannot be, and as :func:`prepare_folder`.
        OSError: where a file cannot be written.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    prepare_folder(out_dir, force)
    if kind not in (None, "sintering"):
        if frames != 1:
            raise InputError("only a sintering simulation can have more than one frame")
        scene = simulate_scene(seed, kind=None if kind == "any" else kind, **settings)
        return write_scene(scene, out_dir, bits or 16, force)
    result = simulate_sintering(seed, frames, **settings)
    if isinstance(result, Video):
        return write_video(result, out_dir, bits or 8, force)
    return write_scene(result, out_dir, bits or 16, force)
