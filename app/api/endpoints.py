"""The app for programs: an API (``gradio_client``, HTTP) and tools for language models (MCP). What each does stands in
:mod:`lisa_micro_app.api.programs` and :mod:`lisa_micro_app.api.videos`; the docstrings here are what a program, or a
model, is told of it. docs/api.md is for people."""

# no postponed annotations: Gradio reads the types of results from the signatures as they are

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app.api import videos as program_videos
from lisa_micro_app.api.programs import Programs
from lisa_micro_app.pages.parts import App

TOOLS = ("open_session", "segment", "measure", "compare", "correct", "track", "ask_video", "close_session")
"""Names under which they are offered."""


def told(function: Callable) -> Callable:
    """What is wrong with a request, told to whoever asked, and nothing else."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped


def build(app: App) -> None:
    """Offer them; within the page's blocks."""
    programs = Programs(app.sessions, app.desk, app.preset)

    def open_session() -> dict:
        """Begin to work with micrographs and videos. Call this first: every other tool needs the session it returns.

        To work on a file, send its bytes with HTTP POST to the address `upload`, which is relative to the app's own
        address, with ?kind=image&name=FILENAME (?kind=truth for a label image, ?kind=video for a video or a zip of its
        frames); the answer is {"key": "..."}, and the key is what other tools take as `image`, `labels`, `truth` or
        `video`. Or use a name from `samples` as `image`, or one from `video_samples` as `video`.
        Only files that were sent to this session can be used; there is no access to other files or to the web.

        Returns:
            session, upload, largest_upload_mib, samples, video_samples, ends_after_idle_seconds
        """
        return programs.open()

    def segment(session: str, image: str, prompt: str, pixel_size_nm: float | None = None, rows: int = 50) -> dict:
        """Outline and measure what the words ask for in an electron micrograph, and answer in a sentence.

        Understands particles (grains, crystallites), necks between sintered particles, pores, agglomerates and the
        substrate, with conditions (the three largest, touching the border, diameter above 20 nm) and questions for
        measures (how many, mean diameter, area fraction). Later requests about the same image in a session may refer
        to earlier ones ("only those in the left half"). `found` is false where nothing of the kind is there. Every
        number is measured on the image. Addresses in the result are relative to the app's own address.

        Args:
            session: What open_session returned as `session`.
            image: Key of a file that was sent, a name from `samples`, or `image` of an earlier result.
            prompt: The request in plain words, such as "segment all sintering necks" or "what is the mean diameter?".
            pixel_size_nm: Edge of a pixel in nanometres, where the file does not say it; without one sizes are in px.
            rows: At most so many instances in each table; the summary and the label image always hold all.

        Returns:
            answer (its number, for measure and correct), image, reply, found, values, segments, overlay, notes
        """
        return programs.segment(programs.session(session), image, prompt, pixel_size_nm, rows)

    def measure(
        session: str,
        answer: int | None = None,
        segment: int = 0,
        labels: str = "",
        image: str = "",
        pixel_size_nm: float | None = None,
        rows: int = 200,
    ) -> dict:
        """Measure every outlined instance: diameter, area, Feret diameters, circularity, aspect ratio, contacts; and
        for all of them together mean, median, D10, D50, D90, area fraction and number density.

        Give either the number of an earlier answer, or a label image that was sent. Units stand in the names: _nm, _nm2
        where the pixel size is known, else _px, _px2.

        Args:
            session: What open_session returned as `session`.
            answer: Number of an earlier answer (`answer` in the result of segment or correct).
            segment: Which segment of that answer, from 0.
            labels: In place of an answer: key of a label image sent with ?kind=truth (0 = background, k = instance k).
            image: With `labels`: the micrograph, for intensities and the pixel size; may be left out.
            pixel_size_nm: With `labels`: edge of a pixel in nanometres, where no file says it.
            rows: At most so many instances in the table; the CSV file at the address `csv` holds all.

        Returns:
            count, pixel_size_nm, summary, necks (contacts with a neck), table, csv
        """
        own = programs.session(session)
        if labels:
            return programs.measure_labels(own, labels, image, pixel_size_nm, rows)
        return programs.measure_answer(own, answer, segment, rows)

    def compare(
        session: str, image: str, words: str = "", boxes: list[list[float]] | None = None, truth: str = ""
    ) -> dict:
        """Compare what words give with what boxes give on the same micrograph, by the same decoder, and against true
        labels where they are given: overlap (IoU), objects found and missed, time, user actions.

        Args:
            session: What open_session returned as `session`.
            image: Key of a sent file, a name from `samples`, or `image` of an earlier result.
            words: The request in plain words, such as "segment all particles".
            boxes: One box around each object, [x0, y0, x1, y1] in pixels from the top left corner.
            truth: Key of a label image sent with ?kind=truth; boxes are derived from it where none are given.

        Returns:
            sentence, against (what the scores are measured against), scores, notes, pictures, difference
        """
        return programs.compare(programs.session(session), image, words, boxes or [], truth)

    def correct(
        session: str, answer: int, actions: list[dict], segment: int = 0, accept: bool = False, rows: int = 50
    ) -> dict:
        """Correct the instances of an earlier answer by hand. The actions begin with what the model outlined, are done
        in order, and are all done or none; give all of them each time.

        An action is one of {"action": "remove", "instances": [3, 7]}, {"action": "merge", "instances": [1, 2]},
        {"action": "split", "instance": 4} (by its shape), {"action": "split", "line": [[x0, y0], [x1, y1]]} (a cut
        right across), {"action": "add", "box": [x0, y0, x1, y1]}, {"action": "add", "points": [[x, y]],
        "point_labels": [1]} (1 on the object, 0 beside it). A new instance gets the next number that was never given; a
        merged one keeps the lowest. Coordinates are pixels from the top left corner.

        Args:
            session: What open_session returned as `session`.
            answer: Number of the answer (`answer` in the result of segment, or of correct after accept).
            actions: The actions, in order.
            segment: Which segment of the answer, from 0.
            accept: Make the corrected instances the answer, so that measure and later results use them.
            rows: At most so many instances in the table.

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
        """Follow what the words ask for through a video of electron micrographs, and measure it in every frame.

        Every particle keeps its number, its identity, through the video. Events are found and timed (appear, contact,
        neck, coalesce, split, vanish, leave), necks are measured frame by frame, and the law of neck growth is fitted
        to every pair. Takes a second a frame or less without a GPU. Where there is no time for all frames, `whole` is
        false: the same request goes on with the next frame. Frames are counted from 0. A session has one video at a
        time. Use ask_video afterwards to ask about it in words. Addresses in the result are relative to the app's own
        address.

        Args:
            session: What open_session returned as `session`.
            video: Key of a file sent with ?kind=video, a name from `video_samples`, or `video` of an earlier result.
            words: What to follow, in plain words, such as "follow all particles" or "track the three largest grains".
            pixel_size_nm: Edge of a pixel in nanometres, where the file does not say it; without one sizes are in px.
            frame_time_s: Time from frame to frame in seconds, where the file does not say it.
            archive: Pack everything that `lisa-micro track` writes, plots and movie included; takes some time more.
            rows: At most so many rows in each table; the files at the addresses in `files` hold all.

        Returns:
            video, reply, what, frames, frames_in_video, whole, frame_time_s, pixel_size_nm, followed, count_first,
            count_last, event_counts, events, tracks (one row an identity), necks (one row a pair), growth, files,
            archive, notes
        """
        own, preset = programs.session(session), programs.shown_preset if archive else None
        return program_videos.follow(
            own, app.desk, programs.limits, video, words, pixel_size_nm, frame_time_s, rows, preset
        )

    def ask_video(session: str, question: str) -> dict:
        """Ask in plain words about the video that was followed last in the session (call track first), such as "how
        many particles are there at the end?" or "when do the first two coalesce?". Later questions may refer to earlier
        ones. Every number of the answer is measured on the video.

        Args:
            session: What open_session returned as `session`.
            question: The question in plain words.

        Returns:
            text, values (measure, value, unit), meant (which identities and pairs, in which frame), frames, notes
        """
        return program_videos.ask(programs.session(session), app.desk, programs.limits, question)

    def close_session(session: str) -> dict:
        """End a session: its files and results are removed.

        Args:
            session: What open_session returned as `session`.

        Returns:
            closed
        """
        programs.close(session)
        return {"closed": True}

    for function in (open_session, segment, measure, compare, correct, track, ask_video, close_session):
        gr.api(told(function), api_name=function.__name__, concurrency_limit=None)
