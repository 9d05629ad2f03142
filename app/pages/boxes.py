"""The page "Words against boxes": the same request in words and with boxes, and where the results differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app import exports, handlers
from lisa_micro_app.handlers import Pending
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import comparison as comparing
from lisa_micro_app.state.session import Session
from lisa_micro_app.views import turns as views
from lisa_micro_app.views.comparison import boxes_view, comparison_view

_BOXES_JS = "(words, boxes) => [words, JSON.stringify((window.lisaMicro && window.lisaMicro.boxes) || [])]"


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page; see :func:`lisa_micro_app.pages.chat.build`."""
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=440):
            draw = part("boxes")
        with gr.Column(scale=5, min_width=330):
            words = gr.Textbox(
                label="In words",
                value="segment all particles",
                lines=1,
                max_lines=4,
                max_length=8000,
                elem_id="lm-comparewords",
            )
            truth = part("truth", ("uploaded",))
            boxes = gr.Textbox(visible=False)
            with gr.Row(elem_classes="lm-buttons"):
                run = gr.Button("Compare", variant="primary", min_width=110, elem_id="lm-compare")
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90, elem_id="lm-comparestop")
                save = gr.Button("Download report", visible=False, min_width=150, elem_id="lm-comparesave")
            verdict = part("verdict")
    pictures = part("outcome")
    everything = [draw, truth, verdict, pictures, save]

    def truth_view(session: Session, text: str = "", bad: bool = False) -> dict[str, Any]:
        view = views.viewer_view(session, limits)["upload"]
        truth = session.comparison.truth
        if not text and comparing.truth_for(session) is not None and truth is not None:
            text = truth.name
        return {"upload": view, "text": text, "bad": bad}

    def outcome(session: Session, pending: Pending | None = None, notice: str = "") -> list[Any]:
        return [comparison_view(session, pending, notice)] * 2  # numbers and pictures

    def whole(session: Session, notice: str = "") -> list[Any]:
        compared = session.comparison.compared
        if compared is not None and compared.picture != session.state.current:
            session.comparison.compared = compared = None  # it belongs to another micrograph
        return [
            boxes_view(session, limits),
            truth_view(session),
            *outcome(session, notice=notice),
            gr.update(visible=compared is not None),
        ]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    def truth_uploaded(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        session = app.session(request)
        try:
            return truth_view(session, comparing.read_truth(session, event._data.get("key")))
        except InputError as error:
            return truth_view(session, str(error), True)

    truth.uploaded(truth_uploaded, None, truth, **QUICK)

    def compare(text: str, drawn: str, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        try:
            for pending in comparing.compare(session, app.queue, text, drawn, limits):
                yield [*outcome(session, pending), *[gr.update(visible=v) for v in (False, False, True)]]
        except InputError as error:
            ready = session.comparison.compared is not None
            yield [*outcome(session, notice=str(error)), *[gr.update(visible=v) for v in (ready, True, False)]]
            return
        ready = session.comparison.compared is not None
        yield [*outcome(session), *[gr.update(visible=v) for v in (ready, True, False)]]

    outputs = [verdict, pictures, save, run, stop]
    run.click(compare, [words, boxes], outputs, js=_BOXES_JS, **QUICK)
    words.submit(compare, [words, boxes], outputs, js=_BOXES_JS, **QUICK)

    def stopped(request: gr.Request) -> None:
        handlers.stop(app.session(request))

    stop.click(stopped, None, None, **QUICK)

    def saved(request: gr.Request) -> list[Any]:
        session = app.session(request)
        compared = session.comparison.compared
        try:
            if compared is None:
                raise InputError("Nothing to download yet; compare something first.")
            path = exports.pack_comparison(session, compared, app.queue.preset(app.preset))
        except InputError as error:
            return [gr.skip(), *outcome(session, notice=str(error))]
        url = session.put(path, "application/zip", "lisa-micro-comparison.zip")
        return [to_download(session, url, "lisa-micro-comparison.zip"), gr.skip(), gr.skip()]

    save.click(saved, None, [download, verdict, pictures], **QUICK)
    return load, everything
