"""``lisa-micro track``: every particle of a video followed, with its events, necks and lineage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lisa_micro.cli.terminal import (
    Device,
    Precision,
    Preset,
    Projectors,
    busy,
    list_written,
    load_preset,
    parse_boxes,
)
from lisa_micro.language import check_prompt

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks


def track(
    video: Annotated[Path, typer.Argument(help="MP4, MOV, AVI, a stack (TIFF, MRC, DM ...), or a folder of frames.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    prompt: Annotated[str, typer.Argument(help='What to follow, such as "all nanoparticles".')] = "",
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="In place of words: a box in px of the first frame; repeatable."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="In place of words: labels of the first frame, carried on by a DeAOT, whatever they are of."),
    ] = None,
    frame_time: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds from frame to frame, instead of the file's.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="NM", help="Edge of a pixel, instead of the file's.")
    ] = None,
    tracker: Annotated[
        str | None, typer.Option(help="overlap, deaot-t (with --labels), or another DeAOT with --checkpoint.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the tracker.")] = None,
    drift: Annotated[bool, typer.Option("--drift", help="Measure the drift of the sample and correct for it.")] = False,
    average: Annotated[
        int, typer.Option(metavar="N", help="Outline each frame on its mean with N before and after; 0: alone.")
    ] = 1,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw sizes, growth and a timeline.")] = True,
    movie: Annotated[bool, typer.Option("--movie/--no-movie", help="Make an MP4 with identities and events.")] = True,
    preset: Preset = "micro",
    device: Device = "auto",
    precision: Precision = "auto",
    projectors: Projectors = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was begun in OUT.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite results that are there already.")] = False,
) -> None:
    """Follow what the words mean through a video: identities, events, necks, lineage."""
    boxes = parse_boxes(box or [])
    words, notes = check_prompt(prompt, needed=not (boxes or labels))
    from lisa_micro.io import check_output, read_labels, read_video
    from lisa_micro.video.analysis import REPORT_FILES, analyse, write_report
    from lisa_micro.video.track import check_folder
    from lisa_micro.video.track import track as follow_video

    # what cannot be used is told before the model is loaded
    stream = read_video(video, pixel_size, frame_time)
    drawn = None if labels is None else read_labels(labels)
    notes = (*notes, *(drawn.notes if drawn else ()))
    check_folder(out, resume, force)
    if not (resume or force):
        check_output(out, False, names=REPORT_FILES)
    assistant = load_preset(preset, device, precision, projectors) if drawn is None else None
    with _frames() as progress:
        tracks = follow_video(
            assistant,
            stream,
            words,
            boxes=boxes or None,
            labels=drawn.pixels if drawn else None,
            tracker=tracker,
            checkpoint=checkpoint,
            drift=drift,
            average=average,
            out=out,
            resume=resume,
            force=force,
            progress=progress,
        )
    with busy("Measuring growth, drawing"):
        _, missing = write_report(analyse(tracks), out, video, plots, movie)
    _show(tracks)
    for note in dict.fromkeys((*notes, *tracks.notes, *missing)):
        print(f"note: {note}", file=sys.stderr)
    list_written(sorted(path for path in out.iterdir() if not path.name.startswith(".")))


def _show(tracks: Tracks) -> None:
    kinds = tracks.events["kind"].value_counts()
    print(tracks.record.get("reply") or "Followed.")
    print(f"{len(tracks.lineage)} identities in {len(tracks)} frames")
    for kind, number in kinds.items():
        print(f"{kind:10} {number}")


@contextmanager
def _frames() -> Iterator[Callable[[int, int | None], None]]:
    """A bar that counts frames, on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Following"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("frames", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
