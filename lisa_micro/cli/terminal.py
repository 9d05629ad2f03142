"""What the command line has from its user, shows, and how it ends: boxes read, spinners, one line an error, exit
codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.types import Answer, Micrograph, Segmentation


Preset = Annotated[str, typer.Option(help="Model: a preset's name, a folder with one, or a name on the hub.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")]
Precision = Annotated[
    str, typer.Option(help="Of an official LISA's language model: auto, fp32, bf16, fp16, 8bit, 4bit.")
]
Projectors = Annotated[
    Path | None, typer.Option(metavar="DIR", help="What finetune wrote for a preset with a larger language model.")
]


def parse_boxes(texts: list[str]) -> list[list[float]]:
    """Boxes as typed, ``"x0,y0,x1,y1"``, as numbers; corners are not put in order here.

    Raises:
        InputError: not four numbers.
    """
    boxes = []
    for text in texts:
        try:
            numbers = [float(part) for part in text.replace(";", ",").split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != 4:
            raise InputError(f"The box {text!r} is not x0,y0,x1,y1: four numbers of px with commas between.")
        boxes.append(numbers)
    return boxes


@contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on a terminal, nothing elsewhere."""
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


@contextmanager
def steps(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A spinner on a terminal that becomes a bar as soon as the function it gives is called with (what, done, total);
    nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{what} ...", total=None)
        yield lambda now, done, total: progress.update(task, description=now, completed=done, total=total)


def way_of_looking(tiles: str) -> str:
    """The tiling mode of ``--tiles``.

    Raises:
        InputError: none of the choices.
    """
    from lisa_micro.protocols import TilingMode

    return TilingMode.parse(tiles)


def ask(assistant: Any, micrograph: Micrograph, words: str, how: str) -> Answer:
    """The answer to words about a micrograph of any size, with progress; see
    :func:`lisa_micro.segment_large`."""
    from lisa_micro.large_images import segment_large

    with steps("Looking at the micrograph") as progress:
        return segment_large(assistant, micrograph, words, how, progress=progress)


def read_image(path: Path, pixel_size: float | None, page: int) -> Micrograph:
    """The micrograph in a file; what it has to note goes to the standard error stream."""
    from lisa_micro.io import read_micrograph

    micrograph = read_micrograph(path, pixel_size, page)
    for note in micrograph.notes:
        print(note, file=sys.stderr)
    return micrograph


def load_preset(preset: str, device: str, precision: str = "auto", projectors: Path | None = None) -> Any:
    """The assistant of a preset, with a spinner while it loads; all as for
    :func:`lisa_micro.assistant.load_assistant`."""
    with busy(f"Loading {preset}"):
        from lisa_micro import load_assistant

        return load_assistant(preset, device=device, precision=precision, projectors=projectors)


def load_prompted(
    segmenter: str | None,
    checkpoint: str | None,
    words: str,
    preset: str,
    device: str,
    precision: str = "auto",
    projectors: Path | None = None,
) -> Any:
    """What answers boxes and asks for everything: the assistant of a preset, or the segmenter of a name.

    Raises:
        InputError: a checkpoint without a segmenter, or words for one.
    """
    if segmenter is None:
        if checkpoint is not None:
            raise InputError("--checkpoint belongs to a --segmenter; a preset is named by --preset.")
        return load_preset(preset, device, precision, projectors)
    if words:
        raise InputError(f"The segmenter {segmenter} takes no words; give --box or --everything, or leave it out.")
    with busy(f"Loading {segmenter}"):
        from lisa_micro.assistant.prompted import WordlessAssistant
        from lisa_micro.models.segmenters import build_segmenter

        return WordlessAssistant(build_segmenter(segmenter, checkpoint, device))


def with_segment(answer: Answer | None, segmentation: Segmentation, words: str, origin: str = "") -> Answer:
    """An answer that holds what boxes or everything mode gave, behind what it held already."""
    import numpy as np

    from lisa_micro.types import Answer

    if answer is not None:
        return replace(answer, segments=(*answer.segments, segmentation), declined=False)
    count = np.count_nonzero(np.bincount(segmentation.labels.ravel())[1:])  # a box may have given nothing
    text = f"Segmented {count} {'object' if count == 1 else 'objects'}{origin}."
    return Answer(text=text, segments=(segmentation,), prompt=words)


def show_answer(answer: Answer, micrograph: Micrograph) -> None:
    """The reply, and its notes on the standard error stream."""
    print(answer.text)
    notes = (*answer.notes, *(note for segment in answer.segments for note in segment.notes))
    for note in dict.fromkeys(notes):  # what narrowed a target is noted with it and with the answer
        print(f"note: {note}", file=sys.stderr)
    if micrograph.pixel_size_nm is None and answer.segments:
        print("note: no pixel size is known, sizes are in px; give it with --pixel-size NM.", file=sys.stderr)


def list_written(paths: list[Path]) -> None:
    """One line a file."""
    for path in paths:
        print(f"wrote {path}")


def complain(text: str) -> None:
    """One line on the standard error stream."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)


def run_installed(module: str, arguments: list[str], what: str = "Training") -> int:
    """Runs ``python -m MODULE ARGUMENTS`` and gives its exit code. For training code and the app.

    Args:
        what: what a person calls it, at the beginning of a sentence.

    Raises:
        InputError: it is not installed.
    """
    import importlib.util
    import subprocess

    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise InputError(f"{what} is not installed; install lisa-micro from its wheel or a checkout.")
    return subprocess.call([sys.executable, "-m", module, *arguments])


def run(command: Callable[[], Any]) -> int:
    """Calls ``command``, the command line without its own error handling, and gives the exit code: 0 on
    success only, 2 for a request or a file that cannot be used, 1 for a defect, 130 when interrupted. Every
    error is one line on the standard error stream.

    ``LISA_MICRO_DEBUG=1`` shows the traceback of a defect.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has no µ shows a ? instead of ending the run
            stream.reconfigure(errors="replace")
    try:
        code = command() or 0
    except InputError as error:
        complain(str(error))
        code = 2
    except (KeyboardInterrupt, EOFError):
        complain("interrupted.")
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        # a usage error, of any typer version
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            name = getattr(getattr(error, "ctx", None), "command_path", None) or "lisa-micro"
            if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
                print(error.format_message())
            else:
                complain(f"{error.format_message().strip().rstrip('.')}; see {name} --help.")
            code = 2
        elif os.environ.get("LISA_MICRO_DEBUG"):
            raise
        else:
            complain(f"{type(error).__name__}: {error} (a defect; LISA_MICRO_DEBUG=1 shows where)")
            code = 1
    return code if isinstance(code, int) else 0
