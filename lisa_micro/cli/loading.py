"""What commands share about models and micrographs: reading, loading, asking, saving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.cli.options import ImageOptions, ModelOptions
from lisa_micro.cli.server.kept import kept_assistant
from lisa_micro.cli.terminal import busy, note, notes, steps
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro.assistant import Assistant
    from lisa_micro.assistant.prompted import WordlessAssistant
    from lisa_micro.io import Looking, MarkedBar
    from lisa_micro.results.answer import Answer, Segmentation
    from lisa_micro.types import Micrograph


def parse_boxes(texts: list[str]) -> list[list[float]]:
    """Parse boxes typed as ``"x0,y0,x1,y1"``; the order of the corners is not checked here.

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
            raise InputError(f"The box {text!r} is not x0,y0,x1,y1: four numbers in px, separated by commas.")
        boxes.append(numbers)
    return boxes


def what_to_look_for(field: str | None, no_banner: bool, no_scale_bar: bool, scale_bar: str | None = None) -> Looking:
    """The options ``--field``, ``--no-banner``, ``--no-scale-bar`` and ``--scale-bar`` together.

    Raises:
        InputError: the field is not four numbers, or the scale bar not four numbers and a length.
    """
    from lisa_micro.io import Looking

    numbers = None
    if field is not None:
        try:
            numbers = [float(part) for part in field.replace(";", ",").split(",")]
        except ValueError:
            raise InputError(f"The field {field!r} is not x0,y0,x1,y1: four whole numbers in px.") from None
    return Looking(numbers, not no_banner, not no_scale_bar, None if scale_bar is None else _marked_bar(scale_bar))


def _marked_bar(text: str) -> MarkedBar:
    from lisa_micro.io import MarkedBar

    *ends, length = text.split(",", 4)  # the length may have a decimal comma
    try:
        numbers = tuple(float(part) for part in ends)
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise InputError(
            f"The scale bar {text!r} is not x0,y0,x1,y1,length: its ends in px, and its length, such as 20 nm."
        )
    return MarkedBar(numbers, length)


def page_of(options: ImageOptions) -> int | str:
    """The page that is asked for: a number, a name or a place."""
    text = options.page.strip()
    return int(text) if text.lstrip("+-").isdecimal() else text


def read_image(options: ImageOptions) -> Micrograph:
    """Read a micrograph; what the reader notes is printed on the standard error stream."""
    from lisa_micro.io import read_micrograph
    from lisa_micro.io.lazy import read_stack
    from lisa_micro.io.lazy.opening import is_omezarr

    looking = what_to_look_for(options.field, options.no_banner, options.no_scale_bar, options.scale_bar)
    page = page_of(options)
    if options.channel is None and isinstance(page, int) and not is_omezarr(options.image):
        micrograph = read_micrograph(options.image, options.pixel_size, page, looking)
    else:
        with read_stack(options.image, options.pixel_size, missing=options.missing_chunks) as stack:
            micrograph = stack.plane(page, options.channel).micrograph(looking)
    notes(micrograph.notes)
    return micrograph


def load_preset(options: ModelOptions) -> Assistant:
    """Load the assistant of a preset, or take the one that this process keeps; progress is shown, also of the download
    of its language model at first use."""
    kept = kept_assistant(options)
    if kept is not None:
        return kept
    prepare_language_model(options.preset)
    with busy(f"Loading {options.preset}"):
        from lisa_micro import load_assistant

        return load_assistant(
            options.preset, device=options.device, precision=options.precision, projectors=options.projectors
        )


def prepare_language_model(preset: str) -> None:
    """Download and convert the base language model of ``micro`` where that has not been done yet, with progress.

    Models of other names fetch it when they are loaded, without a bar.
    """
    if preset != "micro":
        return
    with busy("Loading"):
        from lisa_micro.models.lisa.base_files import is_ready

    if not is_ready():
        from lisa_micro.models.lisa.base_lm import prepare

        with steps("Preparing the language model (once)") as progress:
            prepare(progress)


def load_prompted(
    segmenter: str | None, checkpoint: str | None, words: str, options: ModelOptions
) -> Assistant | WordlessAssistant:
    """Load what answers boxes and segments everything: the assistant of a preset, or the segmenter of a name.

    Raises:
        InputError: a checkpoint without a segmenter, or words for one.
    """
    if segmenter is None:
        if checkpoint is not None:
            raise InputError("--checkpoint belongs to a --segmenter; name a preset with --preset.")
        return load_preset(options)
    if words:
        raise InputError(
            f"The segmenter {segmenter} takes no words; give --box or --everything, or leave out --segmenter."
        )
    return _load_segmenter(segmenter, checkpoint, options.device)


def _load_segmenter(segmenter: str, checkpoint: str | None, device: str) -> WordlessAssistant:
    with busy(f"Loading {segmenter}"):
        from lisa_micro.assistant.prompted import WordlessAssistant
        from lisa_micro.models.segmenters import build_segmenter

        return WordlessAssistant(build_segmenter(segmenter, checkpoint, device))


def ask(assistant: Assistant | WordlessAssistant, micrograph: Micrograph, words: str, tiles: str) -> Answer:
    """Answer a request about a micrograph of any size, with progress.

    Args:
        tiles: a choice of ``--tiles``.
    """
    with steps("Segmenting") as progress:
        return assistant.open_conversation(micrograph, tiles, progress=progress).ask(words)


def with_segment(answer: Answer | None, segmentation: Segmentation, words: str, origin: str = "") -> Answer:
    """An answer with one more segment: what boxes or everything mode gave, behind what it held already."""
    import numpy as np

    from lisa_micro.results.answer import Answer

    if answer is not None:
        return replace(answer, segments=(*answer.segments, segmentation), declined=False)
    count = np.count_nonzero(np.bincount(segmentation.labels.ravel())[1:])  # a box may have given nothing
    text = f"Segmented {count} {'object' if count == 1 else 'objects'}{origin}."
    return Answer(text=text, segments=(segmentation,), prompt=words)


def show_notes(answer: Answer, micrograph: Micrograph) -> None:
    """Print the notes of an answer on the standard error stream."""
    notes((*answer.notes, *(text for segment in answer.segments for text in segment.notes)))
    if micrograph.pixel_size_nm is None and answer.segments:
        note("The pixel size is unknown, so sizes are in px; give it with --pixel-size NM.")


def show_plots(written: list[Path]) -> None:
    """Print the names of the plots among the files of an answer."""
    for path in written:
        if path.name.startswith("plot_") and path.suffix == ".png":
            print(f"plot: {path} (numbers in {path.with_suffix('.csv').name})")


def show_alternative(answer: Answer, how: str) -> None:
    """Print the other reading of a request that was understood with low confidence.

    Args:
        how: what to do to get it.
    """
    if answer.alternative is not None:
        print(f"Did you mean: {answer.alternative.text}? If so, {how}.")


@dataclass(frozen=True)
class Origin:
    """What an answer came from, for its record.

    Attributes:
        assistant: who answered. preset: the name it was asked for by.
        micrograph: what was asked about. page: of its file.
    """

    assistant: Assistant | WordlessAssistant
    preset: str
    micrograph: Micrograph
    page: int | str = 0

    def save(
        self,
        answer: Answer,
        folder: Path,
        force: bool,
        boxes: list[list[float]] | None = None,
        turn: int | None = None,
        more: dict[str, Any] | None = None,
    ) -> list[Path]:
        """Write all files of an answer into ``folder``, with ``more`` entries of its record; returns their paths."""
        import numpy as np

        from lisa_micro.results import save_answer

        assistant = self.assistant
        details = {"device": str(assistant.device)} | ({} if turn is None else {"turn": turn}) | {"page": self.page}
        details |= more or {}
        return save_answer(
            answer,
            self.micrograph,
            folder,
            preset=assistant.preset or self.preset,
            weights_sha256=assistant.weights_sha256,
            prompt_boxes=None if boxes is None else np.asarray(boxes, float),
            details=details,
            force=force,
        )
