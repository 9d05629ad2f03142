"""A video and its tracks as plain data for the page; see :mod:`lisa_micro_app.views.turns` about user input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lisa_micro.io import format_length
from lisa_micro.measure import column
from lisa_micro.results.quantities import number
from lisa_micro.viz.movie import EVENT_COLOURS
from lisa_micro.viz.plots import KIND_STYLES, best_pairs
from lisa_micro_app.handlers import Pending
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.clip import Clip, Run
from lisa_micro_app.state.conversation import hex_colour
from lisa_micro_app.state.video_files import SAMPLES
from lisa_micro_app.state.video_run import Progress, unfinished
from lisa_micro_app.views.turns import ORIGINS

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.session import Session

TIME_ORIGINS = {
    "user": "typed by you",
    "imagej": "from the file (ImageJ)",
    "ome": "from the file (OME)",
    "rosettasciio": "from the file",
}
SUGGESTIONS = (
    "how many particles are there at the end?",
    "when does the first coalescence happen?",
    "what is the mean diameter at the start?",
)
ENDS = {"video end": "present at the end"}


def pixel_size_words(clip: Clip | None) -> str:
    """The origin of the pixel size, in words."""
    if clip is None:
        return "Of the open video."
    if clip.pixel_size_nm is None:
        return "Unknown: sizes are in px. Type it to get nm."
    origin = "typed by you" if clip.given_nm is not None else ORIGINS.get(clip.facts.pixel_size_origin, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another value to change it."


def frame_time_words(clip: Clip | None) -> str:
    """The origin of the frame time, in words."""
    if clip is None:
        return "Of the open video."
    if clip.frame_time_s is None:
        return "Unknown: times are in frames. Type it to get seconds."
    kind = "user" if clip.given_s is not None else clip.facts.frame_time_origin
    if kind == "movie":
        return "The playback rate of the movie. Type the frame time of the experiment if it differs."
    origin = TIME_ORIGINS.get(kind, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another value to change it."


def video_view(session: Session, limits: Limits, notice: str = "", message: str = "") -> dict[str, Any]:
    """The video with its tracks, the samples, and the address for uploads.

    Args:
        session: whose video.
        limits: of the app.
        notice: what is wrong.
        message: what is being done, such as reading a file.
    """
    state = session.video
    clip, run = state.clip, state.run
    view: dict[str, Any] = {
        "clip": None,
        "run": None,
        "samples": [
            {"name": name, "title": sample["title"], "text": f"{sample['frames']} frames, simulated when you click"}
            for name, sample in SAMPLES.items()
        ],
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "notice": notice,
        "message": message,
    }
    if clip is None:
        return view
    height, width = clip.facts.shape
    shown = run is not None and run.clip.key == clip.key
    stated = run.clip if shown and run is not None else clip  # scale and times belong to the shown tracks
    facts = f"{len(clip)} frame{'s' if len(clip) != 1 else ''} · {width} × {height} px"
    if clip.pixel_size_nm is not None:
        nm = clip.pixel_size_nm
        facts += f" · {format_length(width * nm)} × {format_length(height * nm)}"
    view["clip"] = {
        "key": clip.key,
        "name": clip.name,
        "facts": facts,
        "notes": list(clip.stream().notes),
        "count": len(clip),
        "url": f"/lisa/frame/{session.token}/{clip.key}/",
        "width": width,
        "height": height,
        "nm": stated.pixel_size_nm,
        "seconds": stated.frame_time_s,
    }
    if shown and run is not None:
        view["run"] = {
            "key": run.key,
            "concept": run.tracks.concept,
            "count": len(run.tracks),
            "url": f"/lisa/frame/{session.token}/{run.key}/",
            "colours": {str(name): colour for name, colour in run.colours.items()},
            "marks": marks(run),
        }
    return view


def marks(run: Run) -> list[dict[str, Any]]:
    """Events to mark on the frames."""
    names = ("kind", "frame", "x_px", "y_px", "before", "after")
    found = []
    for kind, frame, x, y, before, after in zip(*(run.tracks.events[name] for name in names), strict=True):
        if math.isfinite(x) and math.isfinite(y):
            who = sorted({*before, *after})
            found.append(
                {
                    "kind": kind,
                    "frame": min(int(frame), len(run.tracks) - 1),
                    "x": round(float(x), 1),
                    "y": round(float(y), 1),
                    "who": who,
                    "after": list(after),
                    "colour": hex_colour(EVENT_COLOURS[kind]),
                }
            )
    return found


def run_view(
    session: Session, limits: Limits, progress: Progress | None = None, notice: str = "", message: str = ""
) -> dict[str, Any]:
    """The progress of tracking, or a summary of the tracks with tables.

    Args:
        session: whose run.
        limits: of the app.
        progress: of the current run.
        notice: what is wrong.
        message: what is being done.
    """
    state = session.video
    run, partial = state.run, unfinished(state)
    view: dict[str, Any] = {
        "notice": notice,
        "message": message,
        "pending": None if progress is None else progress_view(progress),
        "run": None,
        "partial": None,
        "open": state.clip is not None,
    }
    if partial is not None and state.clip is not None:
        view["partial"] = f"{partial.frames} of {len(state.clip)} frames of “{partial.words}” are done."
    if run is None:
        return view
    from lisa_micro.video.questions.frames import nouns  # imports torch, which is slow

    tracks = run.tracks
    kinds = tracks.events["kind"].value_counts()
    notes = list(tracks.notes)
    notes += uncertain_fit_notes(tracks)
    if not run.whole:
        notes.insert(0, f"The run was stopped; shown are the first {len(tracks)} of {len(run.clip)} frames.")
    if state.clip is not None and (state.clip.pixel_size_nm, state.clip.frame_time_s) != (
        run.clip.pixel_size_nm,
        run.clip.frame_time_s,
    ):
        notes.insert(0, "Measured with the earlier pixel size and frame time; press “Track” to use the new values.")
    view["run"] = {
        "words": run.words,
        "reply": tracks.record.get("reply") or "Done.",
        "facts": [
            [f"{nouns(tracks.concept)[1]} tracked", len(tracks.lineage)],
            ["at start", int(tracks.counts()[0])],
            ["at end", int(tracks.counts()[-1])],
        ],
        "kinds": [
            {"kind": kind, "number": int(kinds[kind]), "colour": colour}
            for kind, (colour, *_) in KIND_STYLES.items()
            if kind in kinds
        ],
        "notes": list(dict.fromkeys(notes)),
        "seconds": round(run.seconds, 1),
        "events": event_rows(run, limits.table_rows),
        "tracks": track_rows(run, limits.table_rows),
    }
    return view


def uncertain_fit_notes(tracks: Tracks) -> list[str]:
    """A warning about fits of neck growth that do not determine the mechanism; empty if there are none."""
    fitted = best_pairs(tracks.findings.growth)
    uncertain = int((fitted["n_low"] <= 0).sum())
    if not uncertain:
        return []
    return [
        f"For {uncertain} of the {len(fitted)} fitted necks the confidence interval of n includes 0: they do not "
        "determine the mechanism."
    ]


def progress_view(progress: Pending) -> dict[str, Any]:
    """The progress of a request: ``stage``, ``share`` (0..1; ``None`` if unknown) and ``left`` (time in words)."""
    stage = "The model is still loading; your video is next" if progress.loading else progress.status
    share, left = None, ""
    if isinstance(progress, Progress) and progress.total and progress.done:
        share = progress.done / progress.total
        if progress.left is not None and progress.done < progress.total:
            left = f"about {time_words(progress.left)} left"
    return {"stage": stage, "share": share, "left": left, "seconds": progress.seconds}


def time_words(seconds: float) -> str:
    """Format a duration, such as ``40 s``, ``12 min`` or ``1 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _time(frame: int, step: float | None) -> str:
    return "" if step is None else number(frame * step)


def _who(names: Sequence[int]) -> str:
    return ", ".join(map(str, names)) or "–"


def event_rows(run: Run, most: int) -> dict[str, Any]:
    """The table of events as plain data: ``columns``, ``rows`` (cells as text and for sorting, frame, track IDs,
    colour) and ``note``."""
    tracks = run.tracks
    timed = tracks.frame_time_s is not None
    columns = ["event", "frame", *(["time (s)"] if timed else []), "before", "after"]
    events, rows = tracks.events, []
    names = ("kind", "frame", "before", "after")
    for kind, frame, before, after in list(zip(*(events[name] for name in names), strict=True))[:most]:
        frame = int(frame)
        time = [_time(frame, tracks.frame_time_s)] if timed else []
        rows.append(
            {
                "text": [kind, str(frame), *time, _who(before), _who(after)],
                "sort": [kind, frame, *([frame] if timed else []), _who(before), _who(after)],
                "frame": min(frame, len(tracks) - 1),
                "who": list(after) or list(before),
                "colour": KIND_STYLES[kind][0],
            }
        )
    return {"columns": columns, "rows": rows, "note": _left_out(len(events), most)}


def track_rows(run: Run, most: int) -> dict[str, Any]:
    """The table of tracks, one row per track; as :func:`event_rows`."""
    tracks = run.tracks
    unit = "px" if tracks.pixel_size_nm is None else "nm"
    size = column("diameter", unit)
    columns = ["#", "frames", f"first diameter ({unit})", f"last diameter ({unit})", "formed from", "end"]
    spans = tracks.tracks.sort_values("frame").groupby("identity")[size].agg(["first", "last"])
    rows = []
    for name, entry in list(tracks.lineage.items())[:most]:
        first, last = (float(v) for v in spans.loc[name]) if name in spans.index else (math.nan, math.nan)
        end = ENDS.get(entry["end"], entry["end"])
        if entry["children"]:
            end = f"{end}: {_who(entry['children'])}"
        parents = _who(entry["parents"])
        seen = (entry["first_frame"], entry["last_frame"])
        rows.append(
            {
                "text": [str(name), f"{seen[0]} to {seen[1]}", number(first), number(last), parents, end],
                "sort": [name, seen[0], *(v if math.isfinite(v) else None for v in (first, last)), parents, end],
                "frame": seen[0],
                "who": [name],
                "colour": run.colours.get(name, "#888888"),
            }
        )
    return {"columns": columns, "rows": rows, "note": _left_out(len(tracks.lineage), most)}


def _left_out(count: int, most: int) -> str:
    return f"{count - most} more rows are in the downloaded table." if count > most else ""


def questions_view(session: Session, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """Questions about the video and their answers.

    Args:
        session: whose questions.
        pending: progress of the current question.
        notice: what is wrong.
    """
    state = session.video
    answers = state.conversation.answers if state.conversation is not None else []
    last = len(state.run.tracks) - 1 if state.run is not None else 0
    turns = []
    for answer in answers:
        places = []
        for target in answer.targets:
            who = sorted({*target.identities, *(name for pair in target.pairs for name in pair)})
            if who or target.frame is not None:
                frame = None if target.frame is None else min(max(int(target.frame), 0), last)
                places.append({"phrase": target.phrase or target.concept, "frame": frame, "who": who})
        turns.append(
            {
                "prompt": answer.prompt,
                "text": answer.text,
                "notes": list(answer.notes),
                "places": places,
                "seconds": round(sum(answer.seconds.values()), 1),
            }
        )
    return {
        "turns": turns,
        "ready": state.run is not None,
        "pending": None if pending is None else {**progress_view(pending), "prompt": pending.words},
        "notice": notice,
        "suggestions": list(SUGGESTIONS) if state.run is not None and not turns and pending is None else [],
    }
