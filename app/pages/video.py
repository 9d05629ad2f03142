"""The page "Video": frames with tracks on the left; tracking, plots, tables and questions on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import current_video, video_archive, video_files, video_run
from lisa_micro_app.state.clip import Clip
from lisa_micro_app.state.session import Session
from lisa_micro_app.views import video_charts
from lisa_micro_app.views.video_views import frame_time_words, pixel_size_words, questions_view, run_view, video_view

_PLOTS = (("Timeline", video_charts.timeline), ("Necks", video_charts.necks), ("Sizes", video_charts.sizes))


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page; see :func:`lisa_micro_app.pages.chat.build`."""
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=440, elem_classes="lm-sticky"):
            viewer = part("video", ("uploaded", "sample", "remove"))
            with gr.Row(elem_classes="lm-pair"):
                pixel_size = gr.Textbox(
                    label="Pixel size (nm)", visible=False, max_lines=1, min_width=180, elem_id="lm-videopixelsize"
                )
                frame_time = gr.Textbox(
                    label="Frame time (s)", visible=False, max_lines=1, min_width=180, elem_id="lm-videoframetime"
                )
        with gr.Column(scale=6, min_width=400):
            words = gr.Textbox(
                label="What to track, in your own words",
                value="follow all particles",
                lines=1,
                max_lines=4,
                max_length=8000,
                elem_id="lm-videowords",
            )
            with gr.Row(elem_classes="lm-buttons"):
                start = gr.Button("Track", variant="primary", min_width=100, elem_id="lm-track")
                resume = gr.Button("Resume", visible=False, min_width=90, elem_id="lm-resume")
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90, elem_id="lm-videostop")
                save = gr.Button("Download", visible=False, min_width=110, elem_id="lm-videosave")
            outcome = part("run")
            with gr.Column(visible=False) as found:
                with gr.Tabs(elem_id="lm-videotabs"):
                    plots = []
                    for name, _ in _PLOTS:
                        with gr.Tab(name):
                            plots.append(gr.Plot(show_label=False, elem_id=f"lm-{name.lower()}"))
                    with gr.Tab("Events"):
                        events = part("events")
                    with gr.Tab("Tracks"):
                        rows = part("tracks")
                gr.HTML(
                    '<h2 class="lm-section">Ask about the video</h2>', apply_default_css=False, elem_classes="lm-part"
                )
                talk = part("videoquestions", ("suggested",))
                question = gr.Textbox(
                    show_label=False,
                    placeholder="For example: how many particles are there at the end?",
                    lines=1,
                    max_lines=4,
                    max_length=8000,
                    container=False,
                    elem_id="lm-question",
                )

    buttons = [start, resume, stop, save]
    fields = [viewer, pixel_size, frame_time, outcome, *buttons]
    everything = [*fields, found, *plots, events, rows, talk]

    def shown(session: Session, busy: bool) -> list[Any]:
        state = session.video
        ready = state.run is not None and not busy
        resumable = video_run.unfinished(state) is not None and not busy
        return [gr.update(visible=v) for v in (not busy, resumable, busy, ready)]

    def some(session: Session, notice: str = "", where: str = "run") -> list[Any]:
        """Video, fields, outcome and buttons, without plots and tables."""
        state = session.video
        clip = state.clip
        at_video = where == "video"
        values = ("" if v is None else f"{v:.6g}" for v in _sizes(clip))
        infos = (pixel_size_words(clip), frame_time_words(clip))
        return [
            video_view(session, limits, notice if at_video else ""),
            *(
                gr.update(value=value, info=info, visible=clip is not None)
                for value, info in zip(values, infos, strict=True)
            ),
            run_view(session, limits, notice="" if at_video else notice),
            *shown(session, state.busy),
        ]

    def whole(session: Session, notice: str = "", where: str = "run") -> list[Any]:
        run = session.video.run
        view = run_view(session, limits)["run"]
        empty = {"columns": [], "rows": [], "note": ""}
        return [
            *some(session, notice, where=where),
            gr.update(visible=run is not None),
            *(draw(run.tracks) if run is not None else None for _, draw in _PLOTS),
            view["events"] if view else empty,
            view["tracks"] if view else empty,
            questions_view(session),
        ]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    nothing = [gr.skip()] * (len(everything) - 1)

    def opening(steps: Callable[[Session, dict[str, Any]], Iterator[str]]) -> Callable:
        """A handler that opens a video and shows the progress."""

        def run(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
            session = app.session(request)
            try:
                for message in steps(session, event._data or {}):
                    yield [video_view(session, limits, message=message), *nothing]
            except InputError as error:
                yield whole(session, str(error), "video")
                return
            yield whole(session)

        return run

    viewer.uploaded(
        opening(lambda s, data: video_files.open_upload(s, data.get("key", ""), limits)), None, everything, **QUICK
    )
    viewer.sample(
        opening(lambda s, data: video_files.open_sample(s, data.get("name"), limits)), None, everything, **QUICK
    )

    def removed(request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            current_video.close_video(session)
        except InputError as error:
            return whole(session, str(error), "video")
        return whole(session)

    viewer.remove(removed, None, everything, **QUICK)

    def typed(change: Callable[[Session, object], bool]) -> Callable:
        def run(text: str, request: gr.Request) -> list[Any]:
            session = app.session(request)
            try:
                change(session, text)
            except InputError as error:
                return some(session, str(error))
            return some(session)

        return run

    for box, change in ((pixel_size, current_video.set_pixel_size), (frame_time, current_video.set_frame_time)):
        box.submit(typed(change), box, fields, **QUICK)
        box.blur(typed(change), box, fields, **QUICK)

    def tracking(steps: Callable[[Session, str], Iterator[video_run.Progress]]) -> Callable:
        """A handler that tracks and shows the progress."""

        def run(text: str, request: gr.Request) -> Iterator[list[Any]]:
            session = app.session(request)
            busy = shown(session, True)
            try:
                for progress in steps(session, text):
                    view = run_view(session, limits, progress)
                    yield [gr.skip(), gr.skip(), gr.skip(), view, *busy, *[gr.skip()] * (len(everything) - len(fields))]
                    busy = [gr.skip()] * len(busy)
            except InputError as error:
                yield whole(session, str(error))
                return
            yield whole(session)

        return run

    track = tracking(lambda session, text: video_run.track_video(session, app.queue, text, limits))
    start.click(track, words, everything, **QUICK)
    words.submit(track, words, everything, **QUICK)
    resume.click(tracking(lambda session, _: video_run.resume(session, app.queue, limits)), words, everything, **QUICK)

    def stopped(request: gr.Request) -> None:
        video_run.stop(app.session(request))

    stop.click(stopped, None, None, **QUICK)

    def asked(text: str, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        emptied: Any = gr.update(value="")
        try:
            for pending in video_run.ask_video(session, app.queue, text, limits):
                yield [questions_view(session, pending), emptied]
                emptied = gr.skip()
        except InputError as error:
            yield [questions_view(session, notice=str(error)), gr.update(value=text)]  # for editing
            return
        yield [questions_view(session), gr.skip()]

    question.submit(asked, question, [talk, question], **QUICK)

    def suggested(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        yield from asked(str(event._data.get("words", "")), request)

    talk.suggested(suggested, None, [talk, question], **QUICK)

    def saved(request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        yield [gr.skip(), run_view(session, limits, message="Drawing the plots and the movie for the download ...")]
        try:
            path = video_archive.pack_video(session, app.queue.preset(app.preset))
        except InputError as error:
            yield [gr.skip(), run_view(session, limits, notice=str(error))]
            return
        url = session.put(path, "application/zip", "lisa-micro-video.zip", key=path.stem)
        yield [to_download(session, url, "lisa-micro-video.zip"), run_view(session, limits)]

    save.click(saved, None, [download, outcome], **QUICK)
    return load, everything


def _sizes(clip: Clip | None) -> tuple[float | None, float | None]:
    """Pixel size, nm, and frame time, s."""
    return (None, None) if clip is None else (clip.pixel_size_nm, clip.frame_time_s)
