"""Requests of programs about videos: tracking and questions, with plain values in and plain data out; as
:mod:`lisa_micro_app.api.programs` for micrographs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.language import check_prompt
from lisa_micro.measure import column
from lisa_micro.types import InputError
from lisa_micro_app.api.programs import plain_value, table_record
from lisa_micro_app.errors import Advice, AdvisedError, advised
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import current_video, video_archive, video_files, video_run
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.video_views import uncertain_fit_notes

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.video.questions.answer import VideoAnswer
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.clip import Clip, Run

NOTHING_TRACKED = "Nothing was tracked in this session yet; call track first, then ask about it."
_FILES = {
    "tracks.csv": "text/csv",
    "events.csv": "text/csv",
    "necks.csv": "text/csv",
    "labels.tif": "image/tiff",
    "lineage.json": "application/json",
}
"""Media types of the result files that a program can fetch."""
IN_PROGRAMS = {
    Advice.RESUME: "send the same request again to resume",
    Advice.WAIT: "wait for it",
    Advice.SEND_AGAIN: "send it with ?kind=video, or give the name of a sample",
}
"""Advice in the words of the API."""


@dataclass(frozen=True)
class TrackRequest:
    """What to track, and what to return.

    Attributes:
        video: key of an upload, name of a sample, or ``video`` of an earlier result.
        words: the request.
        pixel_size_nm, frame_time_s: ``None``: as given before, else as the file says.
        rows: maximum number of rows of each table.
        archive_preset: name of the model for the command in the archive; ``None``: no archive.
    """

    video: object
    words: object
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    rows: int = 50
    archive_preset: str | None = None


def track(session: Session, queue: JobQueue, limits: Limits, request: TrackRequest) -> dict[str, Any]:
    """Track what the words mean through a video; return :func:`run_record`.

    A run that exceeds the time limit gives the tracks of its first frames; the same request again resumes it. If all
    frames are tracked already, the same request returns the same tracks and starts a new conversation about them.

    Raises:
        InputError: as :func:`lisa_micro_app.state.video_files.open_upload` and
            :func:`lisa_micro_app.state.video_run.track_video`.
    """
    with _one_at_a_time(session):
        state = session.video
        _open(session, request.video, limits)
        if request.pixel_size_nm is not None:
            current_video.set_pixel_size(session, request.pixel_size_nm)
        if request.frame_time_s is not None:
            current_video.set_frame_time(session, request.frame_time_s)
        clip = current_video.current_clip(session)
        before, note = state.run, ""
        if before is not None and _is_complete(before, clip, request.words):
            state.conversation = None
        else:
            try:
                for _ in video_run.track_video(session, queue, request.words, limits):
                    pass
            except InputError as error:
                if state.run is None or state.run is before or state.run.whole:
                    raise
                note = _message_for_programs(error)  # there are tracks of the first frames
            if state.run is None or state.run is before:
                raise InputError("The request was cancelled.")
        assert state.run is not None
        record = run_record(session, state.run, request.rows, note)
        if request.archive_preset is not None:
            path = video_archive.pack_video(session, request.archive_preset)
            record["archive"] = session.put(path, "application/zip", "lisa-micro-video.zip", key=path.stem)
        return record


def ask(session: Session, queue: JobQueue, limits: Limits, question: object) -> dict[str, Any]:
    """Ask about the last tracks; return :func:`answer_record`.

    Raises:
        InputError: as :func:`lisa_micro_app.state.video_run.ask_video`.
    """
    with _one_at_a_time(session):
        state = session.video
        if state.run is None:
            raise InputError(NOTHING_TRACKED)
        before = 0 if state.conversation is None else len(state.conversation.answers)
        for _ in video_run.ask_video(session, queue, question, limits):
            pass
        answers = [] if state.conversation is None else state.conversation.answers
        if len(answers) <= before:
            raise InputError("The request was cancelled.")
        return answer_record(answers[-1], state.run)


@contextmanager
def _one_at_a_time(session: Session) -> Iterator[None]:
    """Hold the lock of the session's video; put advice into the words of the API."""
    lock = session.programs.working
    if not lock.acquire(blocking=False):
        raise InputError(advised("The video is being processed", IN_PROGRAMS[Advice.WAIT]))
    try:
        yield
    except InputError as error:
        raise InputError(_message_for_programs(error)) from error
    finally:
        lock.release()


def _message_for_programs(error: InputError) -> str:
    if isinstance(error, AdvisedError):
        return advised(error.problem, IN_PROGRAMS[error.advice])
    return str(error)


def _open(session: Session, name: object, limits: Limits) -> None:
    """Open a video in place of the current one, unless it is the current one."""
    name, state = str(name or ""), session.video
    opened = session.programs.videos
    key = opened.get(name, name)
    if state.clip is not None and state.clip.key == key:
        return
    if name in video_files.SAMPLES:
        steps = video_files.open_sample(session, name, limits)
    elif name in opened or name in opened.values():
        raise InputError("Another video has replaced that one; send it again.")
    else:
        steps = video_files.open_upload(session, name, limits)
    for _ in steps:
        pass
    opened[name] = current_video.current_clip(session).key


def _is_complete(run: Run, clip: Clip, words: object) -> bool:
    """Whether a run has all frames of this request."""
    text, _ = check_prompt(str(words or ""))
    sizes = [(c.key, c.pixel_size_nm, c.frame_time_s) for c in (run.clip, clip)]
    return run.whole and run.words == text and sizes[0] == sizes[1]


# ---------------------------------------------------------------------------------------------------- results


def run_record(session: Session, run: Run, rows: int, note: str = "") -> dict[str, Any]:
    """Tracks as plain data: numbers, tables, addresses of files.

    Args:
        session: whose run.
        run: the tracks.
        rows: maximum number of rows of each table.
        note: goes first among the notes.
    """
    tracks, clip = run.tracks, run.clip
    counts = tracks.counts()
    notes = [note] if note else []
    if not run.whole:
        notes.append(f"These are the first {len(tracks)} of {len(clip)} frames.")
    return {
        "video": clip.key,
        "name": clip.name,
        "words": run.words,
        "reply": tracks.record.get("reply") or "Done.",
        "what": tracks.concept,
        "frames": len(tracks),
        "frames_in_video": len(clip),
        "whole": run.whole,
        "frame_size_px": [tracks.shape[1], tracks.shape[0]],
        "frame_time_s": tracks.frame_time_s,
        "pixel_size_nm": tracks.pixel_size_nm,
        "followed": len(tracks.lineage),
        "count_first": int(counts[0]),
        "count_last": int(counts[-1]),
        "event_counts": {str(kind): int(n) for kind, n in tracks.events["kind"].value_counts().items()},
        "events": table_record(_with_lists(tracks.events, "before", "after"), rows),
        "tracks": table_record(_track_table(tracks), rows),
        "necks": table_record(_neck_table(tracks.necks), rows),
        "growth": table_record(tracks.findings.growth, rows),
        "files": _files(session, run),
        "archive": None,
        "notes": list(dict.fromkeys((*notes, *tracks.notes, *uncertain_fit_notes(tracks)))),
        "seconds": round(run.seconds, 2),
    }


def _with_lists(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table.assign(**{name: [[int(k) for k in names] for names in table[name]] for name in columns})


def _track_table(tracks: Tracks) -> pd.DataFrame:
    """One row per track: its frames, its parents and children, its first and last diameter."""
    import pandas as pd

    unit = "px" if tracks.pixel_size_nm is None else "nm"
    sizes = tracks.tracks.sort_values("frame").groupby("identity")[column("diameter", unit)].agg(["first", "last"])
    rows = []
    for name, entry in tracks.lineage.items():
        first, last = sizes.loc[name] if name in sizes.index else (np.nan, np.nan)
        frames = (entry["first_frame"], entry["last_frame"], entry["frames"])
        parents, children = ([int(k) for k in entry[of]] for of in ("parents", "children"))
        rows.append((name, *frames, float(first), float(last), parents, children, entry["end"]))
    columns = ["identity", "first_frame", "last_frame", "frames", f"first_diameter_{unit}", f"last_diameter_{unit}"]
    return pd.DataFrame(rows, columns=[*columns, "parents", "children", "end"])


def _neck_table(necks: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of particles in contact: its frames, and its first and last neck; the file has every frame."""
    unit = "nm" if "x_nm" in necks else "px"
    measures = (f"x_{unit}", f"R_{unit}", "x_over_R")
    groups = necks.sort_values("frame").groupby(["particle_a", "particle_b"], sort=True)
    spans = {"first_frame": ("frame", "first"), "last_frame": ("frame", "last"), "frames": ("frame", "size")}
    ends = {f"{end}_{name}": (name, end) for name in measures for end in ("first", "last")}
    return groups.agg(**spans, **ends).reset_index()


def _files(session: Session, run: Run) -> dict[str, str]:
    """Addresses of the result files by name; they are valid until the next run."""
    state, addresses = session.video, {}
    for name, media_type in _FILES.items():
        source = run.folder / name
        if not source.is_file():
            continue
        path = session.folder / f"{run.folder.name}.{name}"
        if not path.exists():
            # linked, not copied: labels may be large; old assets are removed, but the files of the run must stay
            os.link(source, path)
            state.links.append(path)
        addresses[name] = session.put(path, media_type, name, key=path.name)
    content = run.tracks.findings.growth.to_csv(index=False).encode("utf-8")
    addresses["growth.csv"] = session.put(content, "text/csv", "growth.csv", key=f"{run.folder.name}.growth.csv")
    return addresses


def answer_record(answer: VideoAnswer, run: Run) -> dict[str, Any]:
    """An answer about a video as plain data: text, values, and the tracks and frames that it refers to."""
    last = len(run.tracks) - 1
    meant = [
        {
            "what": target.phrase or target.concept,
            "where": target.where,
            "frame": None if target.frame is None else min(max(int(target.frame), 0), last),
            "identities": [int(k) for k in target.identities],
            "pairs": [[int(a), int(b)] for a, b in target.pairs],
        }
        for target in answer.targets
    ]
    return {
        "video": run.clip.key,
        "question": answer.prompt,
        "text": answer.text,
        "values": [{"measure": v.measure, "value": plain_value(v.value), "unit": v.unit} for v in answer.values],
        "meant": meant,
        "frames": sorted({entry["frame"] for entry in meant if entry["frame"] is not None}),
        "notes": list(answer.notes),
        "seconds": round(sum(answer.seconds.values()), 2),
    }
