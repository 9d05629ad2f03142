"""What programs ask about videos: following and questions, by the page's own handlers, with plain values in and plain
data out. As :mod:`lisa_micro_app.api.programs`, which does the same for micrographs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.language import check_prompt
from lisa_micro.measure import column
from lisa_micro.types import InputError
from lisa_micro_app.api.programs import plain_value, table_record
from lisa_micro_app.errors import Advice, AdvisedError, advised
from lisa_micro_app.jobs import Desk
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import current_video as video
from lisa_micro_app.state import video_files as video_open
from lisa_micro_app.state import video_run
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.video_views import vague_notes

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.video.questions.answer import VideoAnswer
    from lisa_micro_app.state.clip import Clip, Run

NOTHING_FOLLOWED = "Nothing was followed in this session yet; call track first, then it can be asked about."
_FILES = {
    "tracks.csv": "text/csv",
    "events.csv": "text/csv",
    "necks.csv": "text/csv",
    "labels.tif": "image/tiff",
    "lineage.json": "application/json",
}
"""What following itself leaves in its folder, and is there for the fetching."""
IN_PROGRAMS = {
    Advice.RESUME: "send the same request again to resume",
    Advice.WAIT: "wait for it",
    Advice.SEND_AGAIN: "send it with ?kind=video, or give the name of a sample",
}


def follow(
    session: Session,
    desk: Desk,
    limits: Limits,
    name: object,
    words: object,
    pixel_size_nm: float | None,
    frame_time_s: float | None,
    rows: int,
    preset: str | None = None,
) -> dict[str, Any]:
    """Follow what the words mean through a video; what came of it as :func:`run_record`. A run that takes too long
    gives the frames that there was time for. Asked for the same again, it goes on with the next frame; where all frames
    are done, nothing is followed anew, and questions begin anew.

    Args:
        name: key of an upload, name of a sample, or ``video`` of an earlier result.
        pixel_size_nm, frame_time_s: ``None``: as given before, else as the file says.
        rows: of each table, at most.
        preset: of the assistant, to pack everything that ``lisa-micro track`` writes; ``None``: it is not packed.

    Raises:
        InputError: as :func:`lisa_micro_app.state.video_files.open_upload` and
        :func:`lisa_micro_app.state.video_run.follow_video`.
    """
    with _working(session):
        mine = session.video
        _open(session, name, limits)
        if pixel_size_nm is not None:
            video.set_pixel_size(session, pixel_size_nm)
        if frame_time_s is not None:
            video.set_frame_time(session, frame_time_s)
        before, note = mine.run, ""
        if before is not None and mine.clip is not None and _done(before, mine.clip, words):
            mine.conversation = None
        else:
            try:
                for _ in video_run.follow_video(session, desk, words, limits):
                    pass
            except InputError as error:
                if mine.run is None or mine.run is before or mine.run.whole:
                    raise
                note = _for_programs(error)  # there was time for some frames
            if mine.run is None or mine.run is before:
                raise InputError("The request was called off.")
        record = run_record(session, mine.run, rows, note)
        if preset is not None:
            path = video_run.pack_video(session, preset)
            record["archive"] = session.put(path, "application/zip", "lisa-micro-video.zip", key=path.stem)
        return record


def ask(session: Session, desk: Desk, limits: Limits, question: object) -> dict[str, Any]:
    """Ask about what was followed last; the answer as :func:`answer_record`.

    Raises:
        InputError: as :func:`lisa_micro_app.state.video_run.ask_video`.
    """
    with _working(session):
        mine = session.video
        if mine.run is None:
            raise InputError(NOTHING_FOLLOWED)
        before = 0 if mine.conversation is None else len(mine.conversation.answers)
        for _ in video_run.ask_video(session, desk, question, limits):
            pass
        answers = [] if mine.conversation is None else mine.conversation.answers
        if len(answers) <= before:
            raise InputError("The request was called off.")
        return answer_record(answers[-1], mine.run)


@contextmanager
def _working(session: Session) -> Iterator[None]:
    """One thing at a time, and errors in the words of a program."""
    lock = session.programs.working
    if not lock.acquire(blocking=False):
        raise InputError(advised("The video is being processed", IN_PROGRAMS[Advice.WAIT]))
    try:
        yield
    except InputError as error:
        raise InputError(_for_programs(error)) from error
    finally:
        lock.release()


def _for_programs(error: InputError) -> str:
    if isinstance(error, AdvisedError):
        return advised(error.problem, IN_PROGRAMS[error.advice])
    return str(error)


def _open(session: Session, name: object, limits: Limits) -> None:
    """Open a video in place of the one that is open, unless it is that one."""
    name, mine = str(name or ""), session.video
    opened = session.programs.videos
    key = opened.get(name, name)
    if mine.clip is not None and mine.clip.key == key:
        return
    if name in video_open.SAMPLES:
        steps = video_open.open_sample(session, name, limits)
    elif name in opened or name in opened.values():
        raise InputError("Another video has taken the place of that one; send it again.")
    else:
        steps = video_open.open_upload(session, name, limits)
    for _ in steps:
        pass
    assert mine.clip is not None
    opened[name] = mine.clip.key


def _done(run: Run, clip: Clip, words: object) -> bool:
    """Whether a run holds all that is asked for."""
    text, _ = check_prompt(str(words or ""))
    sizes = [(c.key, c.pixel_size_nm, c.frame_time_s) for c in (run.clip, clip)]
    return run.whole and run.words == text and sizes[0] == sizes[1]


# ---------------------------------------------------------------------------------------------------- results


def run_record(session: Session, run: Run, rows: int, note: str = "") -> dict[str, Any]:
    """What came of following as plain data: numbers, tables, addresses of files.

    Args:
        rows: of each table, at most.
        note: to be told first.
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
        "reply": tracks.record.get("reply") or "Followed.",
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
        "tracks": table_record(_lives(tracks), rows),
        "necks": table_record(_pairs(tracks.necks), rows),
        "growth": table_record(tracks.findings.growth, rows),
        "files": _files(session, run),
        "archive": None,
        "notes": list(dict.fromkeys((*notes, *tracks.notes, *vague_notes(tracks)))),
        "seconds": round(run.seconds, 2),
    }


def _with_lists(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table.assign(**{name: [[int(k) for k in names] for names in table[name]] for name in columns})


def _lives(tracks: Any) -> pd.DataFrame:
    """One row an identity: when it was there, what it came of and became, its size at first and at last."""
    import pandas as pd

    unit = "px" if tracks.pixel_size_nm is None else "nm"
    sizes = tracks.tracks.sort_values("frame").groupby("identity")[column("diameter", unit)].agg(["first", "last"])
    rows = []
    for name, life in tracks.lineage.items():
        first, last = sizes.loc[name] if name in sizes.index else (np.nan, np.nan)
        seen = (life["first_frame"], life["last_frame"], life["frames"])
        parents, children = ([int(k) for k in life[of]] for of in ("parents", "children"))
        rows.append((name, *seen, float(first), float(last), parents, children, life["end"]))
    columns = ["identity", "first_frame", "last_frame", "frames", f"first_diameter_{unit}", f"last_diameter_{unit}"]
    return pd.DataFrame(rows, columns=[*columns, "parents", "children", "end"])


def _pairs(necks: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of particles in contact: from when to when, and its neck at first and at last; the file has every
    frame."""
    unit = "nm" if "x_nm" in necks else "px"
    measures = (f"x_{unit}", f"R_{unit}", "x_over_R")
    groups = necks.sort_values("frame").groupby(["particle_a", "particle_b"], sort=True)
    spans = {"first_frame": ("frame", "first"), "last_frame": ("frame", "last"), "frames": ("frame", "size")}
    ends = {f"{end}_{name}": (name, end) for name in measures for end in ("first", "last")}
    return groups.agg(**spans, **ends).reset_index()


def _files(session: Session, run: Run) -> dict[str, str]:
    """Name -> address of the files with all rows and all frames, kept until something else is followed."""
    mine, addresses = session.video, {}
    for name, media_type in _FILES.items():
        source = run.folder / name
        if not source.is_file():
            continue
        path = session.folder / f"{run.folder.name}.{name}"
        if not path.exists():
            # linked, not copied: labels may be large; and what is fetched may be taken away, which the run must not be
            os.link(source, path)
            mine.fetched.append(path)
        addresses[name] = session.put(path, media_type, name, key=path.name)
    content = run.tracks.findings.growth.to_csv(index=False).encode("utf-8")
    addresses["growth.csv"] = session.put(content, "text/csv", "growth.csv", key=f"{run.folder.name}.growth.csv")
    return addresses


def answer_record(answer: VideoAnswer, run: Run) -> dict[str, Any]:
    """An answer about a video as plain data: text, values, what is meant by it and in which frames."""
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
