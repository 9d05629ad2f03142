"""The download of the page Video: the results of tracking with the command that repeats them."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.types import InputError
from lisa_micro_app.archives import (
    MAX_INPUT_BYTES,
    SCRIPT_HEAD,
    command_options,
    missing_input,
    plain_name,
    zip_folder,
)
from lisa_micro_app.state.clip import Run

if TYPE_CHECKING:
    from lisa_micro_app.state.session import Session


def track_command(run: Run, video: str, preset: str) -> str:
    """The command that repeats a run.

    Args:
        run: the run.
        video: path of the video in the archive.
        preset: of the assistant.
    """
    options = command_options(preset, run.clip.given_nm)
    if run.clip.given_s is not None:
        options += f" --frame-time {run.clip.given_s:.12g}"
    return f"lisa-micro track --out again --force{options} -- {shlex.quote(video)} {shlex.quote(run.words)}"


def pack_video(session: Session, preset: str) -> Path:
    """Pack everything that ``lisa-micro track`` writes, the video and ``repeat.sh`` into one archive in the session's
    folder. Plots and movie are drawn at the first call.

    Args:
        session: whose run.
        preset: of the assistant.

    Raises:
        InputError: there are no tracks, or the archive cannot be written.
    """
    state = session.video
    with state.packing:
        run = state.run
        if run is None:
            raise InputError("Nothing to download yet; track something first.")
        if state.archive is not None and state.archive.is_file():
            return state.archive
        root = session.new_file()
        try:
            path = _pack(run, root, session.new_file(".zip"), preset)
        except OSError as error:  # for example because a new run has replaced this one
            raise InputError(f"Cannot write the download: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(root, ignore_errors=True)
        if state.run is not run:
            path.unlink(missing_ok=True)
            raise InputError("The video was tracked again meanwhile; download once more.")
        state.archive = path
        return path


def _pack(run: Run, root: Path, path: Path, preset: str) -> Path:
    from lisa_micro.video.analysis import write_report

    name = plain_name(run.clip.name)
    video = Path(name).stem if run.clip.path.is_dir() else name
    _, missing = write_report(run.tracks.findings, run.folder, run.clip.stream(len(run.tracks)))
    # linked, not copied: labels and movie may be large
    shutil.copytree(run.folder, root / "results", copy_function=os.link)
    script = [SCRIPT_HEAD, *(f"# {note}" for note in missing)]
    source = run.clip.path
    if sum(file.stat().st_size for file in (source.iterdir() if source.is_dir() else [source])) > MAX_INPUT_BYTES:
        script.append(missing_input(video))
    elif source.is_dir():
        shutil.copytree(source, root / "input" / video, copy_function=os.link)
    else:
        (root / "input").mkdir()
        os.link(source, root / "input" / video)
    if not run.whole:
        script.append(
            f"# This run was stopped after {len(run.tracks)} of {len(run.clip)} frames; the command tracks all of them."
        )
    script.append(track_command(run, f"input/{video}", preset) + "\n")
    (root / "repeat.sh").write_text("\n".join(script), encoding="utf-8")
    return zip_folder(root, path)
