"""A followed video as plain data for the page. Everything that a user wrote goes out as text and is set as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lisa_micro.io import format_length
from lisa_micro.measure import column
from lisa_micro.viz.movie import EVENT_COLOURS
from lisa_micro.viz.plots import KIND_STYLES, best_pairs
from lisa_micro_app.handlers import Pending
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.clip import Clip, Run
from lisa_micro_app.state.conversation import hex_colour
from lisa_micro_app.state.video_files import SAMPLES
from lisa_micro_app.state.video_run import Progress, unfinished
from lisa_micro_app.views.conversation import ORIGINS
from lisa_micro_app.views.tables import number

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks
    from lisa_micro_app.state.session import Session

TIME_ORIGINS = {
    "user": "typed by you",
    "imagej": "from the file (ImageJ)",
    "ome": "from the file (OME)",
    "rosettasciio": "from the file",
    "movie": "the movie's rate of playback",
}
SUGGESTIONS = (
    "how many particles are there at the end?",
    "when does the first coalescence happen?",
    "what is the mean diameter at the start?",
)
ENDS = {"video end": "there at the end"}


def pixel_size_words(clip: Clip | None) -> str:
    """Where the pixel size comes from."""
    if clip is None:
        return "Of the open video."
    if clip.pixel_size_nm is None:
        return "Not known: sizes are in px. Type it to get nm."
    origin = "typed by you" if clip.given_nm is not None else ORIGINS.get(clip.facts.pixel_size_origin, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another to change it."


def frame_time_words(clip: Clip | None) -> str:
    """Where the frame time comes from."""
    if clip is None:
        return "Of the open video."
    if clip.frame_time_s is None:
        return "Not known: times are in frames. Type it to get seconds."
    kind = "user" if clip.given_s is not None else clip.facts.frame_time_origin
    if kind == "movie":
        return "The movie's rate of playback. Type the experiment's own where it differs."
    origin = TIME_ORIGINS.get(kind, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another to change it."


def video_view(session: Session, limits: Limits, notice: str = "", said: str = "") -> dict[str, Any]:
    """The video with what was followed in it, samples, and where to send files.

    Args:
        notice: what is wrong.
        said: what is being done, such as reading a file.
    """
    mine = session.video
    clip, run = mine.clip, mine.run
    view: dict[str, Any] = {
        "clip": None,
        "run": None,
        "samples": [
            {"name": name, "title": sample["title"], "text": f"{sample['frames']} frames, simulated when you click"}
            for name, sample in SAMPLES.items()
        ],
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "notice": notice,
        "said": said,
    }
    if clip is None:
        return view
    height, width = clip.facts.shape
    shown = run is not None and run.clip.key == clip.key
    stated = run.clip if shown and run is not None else clip  # scale and times fit what is shown
    facts = f"{len(clip)} frame{'s' if len(clip) != 1 else ''} · {width} × {height} px"
    if clip.pixel_size_nm is not None:
        nm = clip.pixel_size_nm
        facts += f" · {format_length(width * nm)} × {format_length(height * nm)}"
    notes = [note for note in clip.stream().notes if "rate of playback" not in note]
    view["clip"] = {
        "key": clip.key,
        "name": clip.name,
        "facts": facts,
        "notes": notes,
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
    """Events to be marked on the frames."""
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
    session: Session, limits: Limits, progress: Progress | None = None, notice: str = "", said: str = ""
) -> dict[str, Any]:
    """How far following is; or what came of it in short, with the tables."""
    mine = session.video
    run, begun = mine.run, unfinished(mine)
    view: dict[str, Any] = {
        "notice": notice,
        "said": said,
        "pending": None if progress is None else progress_view(progress),
        "run": None,
        "begun": None,
        "open": mine.clip is not None,
    }
    if begun is not None and mine.clip is not None:
        view["begun"] = f"{begun.frames} of {len(mine.clip)} frames of “{begun.words}” are done and kept."
    if run is None:
        return view
    from lisa_micro.video.questions.frames import nouns  # torch comes with it; the page does not wait for that

    tracks = run.tracks
    kinds = tracks.events["kind"].value_counts()
    notes = list(tracks.notes)
    notes += vague_notes(tracks)
    if not run.whole:
        notes.insert(0, f"Shown are the {len(tracks)} frames that there was time for, of {len(run.clip)}.")
    if mine.clip is not None and (mine.clip.pixel_size_nm, mine.clip.frame_time_s) != (
        run.clip.pixel_size_nm,
        run.clip.frame_time_s,
    ):
        notes.insert(0, "Measured with the pixel size and frame time of then; press “Follow” to use the new ones.")
    view["run"] = {
        "words": run.words,
        "reply": tracks.record.get("reply") or "Followed.",
        "facts": [
            [f"{nouns(tracks.concept)[1]} followed", len(tracks.lineage)],
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


def vague_notes(tracks: Tracks) -> list[str]:
    """What must be known about the fits of neck growth; empty where there is nothing."""
    fitted = best_pairs(tracks.findings.growth)
    vague = int((fitted["n_low"] <= 0).sum())
    if not vague:
        return []
    return [
        f"Of {vague} of the {len(fitted)} fitted necks the interval of n reaches 0: they do not tell the mechanism."
    ]


def progress_view(progress: Pending) -> dict[str, Any]:
    """Where a request stands: ``stage``, ``share`` (0..1; None where nothing can be counted) and ``left`` (words)."""
    stage = "The model is still loading; your video is next" if progress.loading else progress.said
    share, left = None, ""
    if isinstance(progress, Progress) and progress.total and progress.done:
        share = progress.done / progress.total
        if progress.left is not None and progress.done < progress.total:
            left = f"about {time_words(progress.left)} left"
    return {"stage": stage, "share": share, "left": left, "seconds": progress.seconds}


def time_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``1 h 5 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _time(frame: int, step: float | None) -> str:
    return "" if step is None else number(frame * step)


def _who(names: Sequence[int]) -> str:
    return ", ".join(map(str, names)) or "–"


def event_rows(run: Run, most: int) -> dict[str, Any]:
    """The table of events: ``columns``, ``rows`` (cells as text and to sort by, the frame to go to, who takes part,
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
    """The table of what was followed, one row an identity; as :func:`event_rows`."""
    tracks = run.tracks
    unit = "px" if tracks.pixel_size_nm is None else "nm"
    size = column("diameter", unit)
    columns = ["#", "frames", f"diameter at first ({unit})", f"at last ({unit})", "came of", "end"]
    spans = tracks.tracks.sort_values("frame").groupby("identity")[size].agg(["first", "last"])
    rows = []
    for name, life in list(tracks.lineage.items())[:most]:
        first, last = (float(v) for v in spans.loc[name]) if name in spans.index else (math.nan, math.nan)
        end = ENDS.get(life["end"], life["end"])
        if life["children"]:
            end = f"{end}: {_who(life['children'])}"
        parents = _who(life["parents"])
        seen = (life["first_frame"], life["last_frame"])
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
    return f"{count - most} more are in the downloaded table." if count > most else ""


def talk_view(session: Session, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """Questions about the video and their answers."""
    mine = session.video
    answers = mine.conversation.answers if mine.conversation is not None else []
    last = len(mine.run.tracks) - 1 if mine.run is not None else 0
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
        "ready": mine.run is not None,
        "pending": None if pending is None else {**progress_view(pending), "prompt": pending.words},
        "notice": notice,
        "suggestions": list(SUGGESTIONS) if mine.run is not None and not turns and pending is None else [],
    }
