"""``lisa-micro track``: every particle of a video followed, with its events, necks and lineage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lisa_micro.cli.loading import load_preset, parse_boxes
from lisa_micro.cli.micrographs.like import Like, Unlike, parse_examples
from lisa_micro.cli.options import ModelOptions, OutputOptions, PixelSize, grouped
from lisa_micro.cli.terminal import busy, list_written, notes, steps

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks

TrackerName = Literal["overlap", "deaot-t", "deaot-s", "deaot-b", "deaot-l", "deaot-r50-l", "deaot-swinb-l"]


@dataclass(frozen=True)
class TargetOptions:
    """What is followed in place of words, and how."""

    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="In place of words: a box in px of the first frame; repeatable."),
    ] = None
    like: Like = None
    unlike: Unlike = None
    labels: Annotated[
        Path | None,
        typer.Option(help="In place of words: instance labels of the first frame, propagated by a DeAOT tracker."),
    ] = None
    tracker: Annotated[
        TrackerName | None,
        typer.Option(
            help="Tracker: overlap for words and boxes, a DeAOT for --labels (deaot-t is shipped, the others need "
            "--checkpoint)."
        ),
    ] = None
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the tracker.")] = None


@dataclass(frozen=True)
class VideoOptions:
    """How the video is read and what is made of it."""

    frame_time: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds between frames; used instead of the file's.")
    ] = None
    pixel_size: PixelSize = None
    drift: Annotated[bool, typer.Option("--drift", help="Measure the drift of the sample and correct for it.")] = False
    average: Annotated[
        int,
        typer.Option(
            metavar="N", help="Segment the mean of each frame and N frames before and after; 0: no averaging."
        ),
    ] = 1
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw sizes, growth and a timeline.")] = True
    movie: Annotated[bool, typer.Option("--movie/--no-movie", help="Make an MP4 with track IDs and events.")] = True


@grouped
def track(
    video: Annotated[
        Path, typer.Argument(help="MP4, MOV, AVI, a stack (TIFF, MRC, DM3, DM4 ...), or a folder of frames.")
    ],
    target: TargetOptions,
    options: VideoOptions,
    model: ModelOptions,
    output: OutputOptions,
    prompt: Annotated[str, typer.Argument(help='What to follow, such as "all nanoparticles".')] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run that was started in the folder.")] = False,
    geff: Annotated[
        bool, typer.Option("--geff", help="Also write tracks.geff, a graph that keeps both parents of a coalescence.")
    ] = False,
) -> None:
    """Follow what the words mean through a video; write tracks, events, necks, lineage, growth and a movie."""
    from lisa_micro.extras import require
    from lisa_micro.io import check_output, read_labels, read_video
    from lisa_micro.language import check_prompt
    from lisa_micro.video.analysis import REPORT_FILES, analyse, write_report
    from lisa_micro.video.geff import write_geff
    from lisa_micro.video.track import track as follow_video
    from lisa_micro.video.track_run import check_folder

    if geff:
        require("Writing GEFF", "geff")
    boxes = parse_boxes(target.box or [])
    examples = parse_examples(target.like, target.unlike)
    words, remarks = check_prompt(prompt, needed=not (boxes or target.labels or examples))
    # everything is checked before the model is loaded
    stream = read_video(video, options.pixel_size, options.frame_time)
    drawn = None if target.labels is None else read_labels(target.labels)
    remarks = (*remarks, *(drawn.notes if drawn else ()))
    out = output.folder(video)
    check_folder(out, resume, output.force)
    if not (resume or output.force):
        check_output(out, False, names=REPORT_FILES)
    assistant = load_preset(model) if drawn is None else None
    with steps("Tracking") as progress:
        tracks = follow_video(
            assistant,
            stream,
            words,
            boxes=boxes or None,
            like=examples.like or None,
            unlike=examples.unlike or None,
            exemplar=examples.exemplar,
            labels=drawn.pixels if drawn else None,
            tracker=target.tracker,
            checkpoint=target.checkpoint,
            drift=options.drift,
            average=options.average,
            out=out,
            resume=resume,
            force=output.force,
            progress=lambda done, total: progress("Tracking", done, total),
        )
    with busy("Measuring growth, drawing"):
        _, missing = write_report(analyse(tracks), out, video, options.plots, options.movie)
    if geff:
        write_geff(tracks, out / "tracks.geff")
    _show(tracks)
    notes((*remarks, *tracks.notes, *missing))
    list_written(sorted(path for path in out.iterdir() if not path.name.startswith(".")))


def _show(tracks: Tracks) -> None:
    kinds = tracks.events["kind"].value_counts()
    print(tracks.record.get("reply") or "Tracked.")
    count = len(tracks.lineage)
    print(f"{count} {'track' if count == 1 else 'tracks'} in {len(tracks)} frames")
    for kind, number in kinds.items():
        print(f"{kind:10} {number}")
