"""Endpoints of the API (``gradio_client``, HTTP), which are also the tools for language models (MCP).

:mod:`lisa_micro_app.api.programs` and :mod:`lisa_micro_app.api.videos` implement them. The docstrings of the endpoints
are the descriptions that programs and language models get.
"""

# no postponed annotations: Gradio reads the types of results from the signatures

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app.api import like as program_like
from lisa_micro_app.api import scale_bars as program_scale_bars
from lisa_micro_app.api import videos as program_videos
from lisa_micro_app.api.arguments import wrong_argument
from lisa_micro_app.api.openapi import document
from lisa_micro_app.api.programs import Programs
from lisa_micro_app.pages.parts import App

TOOLS = (
    "open_session",
    "segment",
    "reinterpret",
    "find_like",
    "set_scale_bar",
    "measure",
    "compare",
    "correct",
    "track",
    "ask_video",
    "close_session",
)
"""Names of the endpoints."""

P = ParamSpec("P")
T = TypeVar("T")


def with_api_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Report input errors to the caller in one sentence, without a traceback."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            problem = wrong_argument(function, args, kwargs)
            if not problem:
                raise
            raise gr.Error(problem, print_exception=False) from error

    return wrapped


def build(app: App) -> dict[str, Any]:
    """Add the endpoints to the current Gradio blocks; return their description as an OpenAPI document."""
    programs = Programs(app.sessions, app.queue, app.preset)

    def open_session() -> dict:
        """Open a session for micrographs and videos. Call this first: every other tool needs the session it returns.

        To work on a file, send its bytes with HTTP POST to the address `upload`, which is relative to the address of
        the app, with ?kind=image&name=FILENAME (?kind=truth for a label image, ?kind=video for a video or a zip of its
        frames, ?kind=exemplar for an exemplar). The response is {"key": "..."}; other tools take the key as `image`,
        `labels`, `truth`, `video` or `exemplar`.
        Alternatively, use a name from `samples` as `image`, or a name from `video_samples` as `video`.
        Only files that were sent to this session can be used; there is no access to other files or to the web.

        Returns:
            session, upload, largest_upload_mib, samples, video_samples, ends_after_idle_seconds
        """
        return programs.open()

    def segment(session: str, image: str, prompt: str, pixel_size_nm: float | None = None, rows: int = 50) -> dict:
        """Segment and measure what the words ask for in an electron micrograph, and answer in a sentence.

        Understands particles (crystallites), necks between sintered particles, pores, agglomerates, the substrate and
        other things of micrographs, with conditions that can be combined (all but the three largest, touching a neck,
        diameter above 1.5 times the mean), questions about measurements (how many, mean diameter, percentage in
        contact) and plots (histogram, cumulative distribution, scatter plot). Later requests about the same image in a
        session can refer to earlier ones ("only those in the left half"). `found` is false if nothing was selected;
        `refusal` says why: "absent" (not in this image), "unknown" (never learned) or "cannot" (not a request for
        this tool). `understood` says what the request was taken to mean, `confidence` (0 to 1) how surely; if
        `alternative` is given, ask the user whether that was meant, and call reinterpret. Every number is measured on
        the image. Addresses in the result are relative to the address of the app.

        Args:
            session: What open_session returned as `session`.
            image: Key of an uploaded file, a name from `samples`, or `image` of an earlier result.
            prompt: The request in plain words, such as "segment all sintering necks" or "what is the mean diameter?".
            pixel_size_nm: Pixel size in nanometres, if the file has none; without it sizes are in px.
            rows: Maximum number of instances in each table; the summary and the label image have all of them.

        Returns:
            answer (its number, for measure, correct and reinterpret), image, reply, found, understood, confidence,
            alternative, refusal, values, segments, plots (with PNG and CSV addresses and values), overlay, notes
        """
        return programs.segment(programs.session(session), image, prompt, pixel_size_nm, rows)

    def reinterpret(session: str, answer: int, rows: int = 50) -> dict:
        """Replace an earlier answer by that of the other reading that it offers as `alternative`.

        The answer keeps its number; its `alternative` is then the reading that was replaced, so that calling this again
        takes it back. Only the last answer about an image can be replaced, because later ones refer to it.

        Args:
            session: What open_session returned as `session`.
            answer: Number of the answer (`answer` in the result of segment).
            rows: Maximum number of instances in each table.

        Returns:
            the same as segment
        """
        return programs.reinterpret(programs.session(session), answer, rows)

    def find_like(
        session: str,
        image: str,
        boxes: list[list[float]] | None = None,
        not_like: list[list[float]] | None = None,
        exemplar: str = "",
        words: str = "",
        pixel_size_nm: float | None = None,
        rows: int = 50,
    ) -> dict:
        """Find and measure everything in an electron micrograph that looks like one or several marked examples.

        Use it for things that have no common name, or that `segment` does not know. Call it again with more boxes in
        `boxes` and `not_like` to correct the result. What was learnt (`exemplar` in the result) is a small file for
        other micrographs: give the `exemplar` of an earlier result, or the key of an uploaded file, with or without
        boxes.

        Args:
            session: What open_session returned as `session`.
            image: Key of an uploaded file, a name from `samples`, or `image` of an earlier result.
            boxes: Boxes closely around objects that are meant, [x0, y0, x1, y1] in pixels from the top left corner.
            not_like: Boxes around objects that are not meant.
            exemplar: `exemplar` of an earlier result, or key of a file sent with ?kind=exemplar.
            words: A condition in plain words, such as "larger than 20 nm"; optional.
            pixel_size_nm: Pixel size in nanometres, if the file has none; without it sizes are in px.
            rows: Maximum number of instances in the table; the label image has all of them.

        Returns:
            image, text, found, count, score, where, table, labels, overlay, exemplar (for later calls),
            exemplar_file (address of the file), notes
        """
        request = program_like.LikeRequest(image, boxes or [], not_like or [], exemplar, words, pixel_size_nm, rows)
        return program_like.find_like(programs, programs.session(session), request)

    def set_scale_bar(
        session: str, image: str, action: str = "mark", ends: list[float] | None = None, length: str = ""
    ) -> dict:
        """Set the pixel size of a micrograph from the scale bar in its picture, where it was not read or read wrongly.

        The pixel size holds for later requests; earlier answers keep theirs.

        Args:
            session: What open_session returned as `session`.
            image: Key of an uploaded file, a name from `samples`, or `image` of an earlier result.
            action: "mark" (from `ends` and `length`), "none" (there is no scale bar in the picture; what was read is
                removed), or "read" (read it from the picture again).
            ends: Both ends of the bar, [x0, y0, x1, y1] in pixels from the top left corner.
            length: Length of the bar with its unit, such as "20 nm" or "0.5 µm".

        Returns:
            image, pixel_size_nm, pixel_size_origin, scale_bar, text (what is known about the bar), notes
        """
        opened = programs.session(session)
        return program_scale_bars.set_scale_bar(programs, opened, image, action, ends or [], length)

    def measure(
        session: str,
        answer: int | None = None,
        segment: int = 0,
        labels: str = "",
        image: str = "",
        pixel_size_nm: float | None = None,
        rows: int = 200,
    ) -> dict:
        """Measure every segmented instance: diameter, area, Feret diameters, circularity, aspect ratio, contacts; and
        the mean, median, D10, D50, D90, area fraction and number density of all instances.

        Give either the number of an earlier answer, or an uploaded label image. Names end with the unit: _nm, _nm2 if
        the pixel size is known, else _px, _px2.

        Args:
            session: What open_session returned as `session`.
            answer: Number of an earlier answer (`answer` in the result of segment or correct).
            segment: Which segment of that answer, from 0.
            labels: Instead of an answer: key of a label image sent with ?kind=truth (0 = background, k = instance k).
            image: With `labels`: the micrograph, for intensities and the pixel size; optional.
            pixel_size_nm: With `labels`: pixel size in nanometres, if the files have none.
            rows: Maximum number of instances in the table; the CSV file at the address `csv` has all of them.

        Returns:
            count, pixel_size_nm, summary, necks (contacts with a neck), table, csv
        """
        opened = programs.session(session)
        if labels:
            return programs.measure_labels(opened, labels, image, pixel_size_nm, rows)
        return programs.measure_answer(opened, answer, segment, rows)

    def compare(
        session: str, image: str, words: str = "", boxes: list[list[float]] | None = None, truth: str = ""
    ) -> dict:
        """Compare the segmentation from words with that from boxes on the same micrograph, by the same decoder, and
        with true labels if there are any: overlap (IoU), objects found and missed, time, user actions.

        Args:
            session: What open_session returned as `session`.
            image: Key of an uploaded file, a name from `samples`, or `image` of an earlier result.
            words: The request in plain words, such as "segment all particles".
            boxes: One box around each object, [x0, y0, x1, y1] in pixels from the top left corner.
            truth: Key of a label image sent with ?kind=truth; boxes are derived from it if none are given.

        Returns:
            sentence, against (the reference of the scores), scores, notes, pictures, difference
        """
        return programs.compare(programs.session(session), image, words, boxes or [], truth)

    def correct(
        session: str, answer: int, actions: list[dict], segment: int = 0, accept: bool = False, rows: int = 50
    ) -> dict:
        """Correct the instances of an earlier answer by hand. The actions are applied in order to the model's
        segmentation; if one fails, none is applied. Give all actions each time.

        An action is one of {"action": "remove", "instances": [3, 7]}, {"action": "merge", "instances": [1, 2]},
        {"action": "split", "instance": 4} (by its shape), {"action": "split", "line": [[x0, y0], [x1, y1]]} (along a
        line across it), {"action": "add", "box": [x0, y0, x1, y1]}, {"action": "add", "points": [[x, y]],
        "point_labels": [1]} (1 = on the object, 0 = not on it). A new instance gets the next unused number; a merged
        one keeps the lowest. Coordinates are pixels from the top left corner.

        Args:
            session: What open_session returned as `session`.
            answer: Number of the answer (`answer` in the result of segment, or of correct after accept).
            actions: The actions, in order.
            segment: Which segment of the answer, from 0.
            accept: Make the corrected instances part of the answer, so that measure and later results use them.
            rows: Maximum number of instances in the table.

        Returns:
            answer (a new number after accept), steps, count, table, labels, overlay, log (for lisa-micro correct)
        """
        return programs.correct(programs.session(session), answer, segment, actions, accept, rows)

    def track(
        session: str,
        video: str,
        words: str,
        pixel_size_nm: float | None = None,
        frame_time_s: float | None = None,
        archive: bool = False,
        rows: int = 50,
    ) -> dict:
        """Track what the words ask for through a video of electron micrographs, and measure it in every frame.

        Every particle keeps its track ID through the video. Events are found and timed (appear, contact, neck,
        coalesce, split, vanish, leave), necks are measured frame by frame, and the law of neck growth is fitted to
        every pair. Takes about a second per frame or less without a GPU. If the time limit is reached, `whole` is
        false: send the same request again to resume. Frames are counted from 0. A session has one video at a time. Use
        ask_video afterwards to ask about it in words. Addresses in the result are relative to the address of the app.

        Args:
            session: What open_session returned as `session`.
            video: Key of a file sent with ?kind=video, a name from `video_samples`, or `video` of an earlier result.
            words: What to track, in plain words, such as "follow all particles" or "track the three largest grains".
            pixel_size_nm: Pixel size in nanometres, if the file has none; without it sizes are in px.
            frame_time_s: Time from frame to frame in seconds, if the file has none.
            archive: Pack everything that `lisa-micro track` writes, with plots and movie; this takes longer.
            rows: Maximum number of rows in each table; the files at the addresses in `files` have all of them.

        Returns:
            video, reply, what, frames, frames_in_video, whole, frame_time_s, pixel_size_nm, followed, count_first,
            count_last, event_counts, events, tracks (one row per track), necks (one row per pair), growth, files,
            archive, notes
        """
        preset = programs.shown_preset if archive else None
        request = program_videos.TrackRequest(video, words, pixel_size_nm, frame_time_s, rows, preset)
        return program_videos.track(programs.session(session), app.queue, programs.limits, request)

    def ask_video(session: str, question: str) -> dict:
        """Ask in plain words about the video that was tracked last in the session (call track first), such as "how
        many particles are there at the end?" or "when do the first two coalesce?". Later questions can refer to earlier
        ones. Every number in the answer is measured on the video.

        Args:
            session: What open_session returned as `session`.
            question: The question in plain words.

        Returns:
            text, values (measure, value, unit), meant (tracks and pairs, and the frame), frames, notes
        """
        return program_videos.ask(programs.session(session), app.queue, programs.limits, question)

    def close_session(session: str) -> dict:
        """End a session and remove its files and results.

        Args:
            session: What open_session returned as `session`.

        Returns:
            closed
        """
        programs.close(session)
        return {"closed": True}

    functions = (
        open_session,
        segment,
        reinterpret,
        find_like,
        set_scale_bar,
        measure,
        compare,
        correct,
        track,
        ask_video,
        close_session,
    )
    for function in functions:
        gr.api(with_api_errors(function), api_name=function.__name__, concurrency_limit=None)
    return document(functions)
