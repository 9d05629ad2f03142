"""The page "Correct": correct a segmentation by hand, accept it, and save it as a training example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app import handlers
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.correction import correct_view, corrected_measures


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page; see :func:`lisa_micro_app.pages.chat.build`."""
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=440, elem_classes="lm-sticky"):
            tools = part("correct", ("act", "step", "layer", "stop"))
        with gr.Column(scale=6, min_width=380):
            log = part("steps", ("step",))
            with gr.Row(elem_classes="lm-buttons"):
                accept = gr.Button("Accept", variant="primary", min_width=100, elem_id="lm-accept")
                teach = gr.Button("Save as training example", min_width=210, elem_id="lm-teach")
                save = gr.Button("Download", min_width=100, elem_id="lm-correctsave")
                examples = gr.Button("Download examples", visible=False, min_width=180, elem_id="lm-examples")
            measures = part("correctmeasures")
    everything = [tools, log, measures, examples]

    def whole(session: Session, notice: str = "", message: str = "") -> list[Any]:
        view = correct_view(session, limits, notice=notice, message=message)
        has_examples = app.teach is None and (session.folder / correct.EXAMPLES).is_dir()
        return [view, view, corrected_measures(session, limits), gr.update(visible=has_examples)]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    def do(change: Callable[[Session, dict[str, Any]], str | None]) -> Callable:
        """A handler that changes the session and updates all parts, or shows the error."""

        def run(event: gr.EventData, request: gr.Request) -> list[Any]:
            session = app.session(request)
            try:
                return whole(session, message=change(session, event._data or {}) or "")
            except InputError as error:
                return whole(session, str(error))

        return run

    def acted(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        try:
            for pending in correct.act(session, app.queue, event._data, limits):
                view = correct_view(session, limits, pending)
                yield [view, *[gr.skip()] * (len(everything) - 1)]
        except InputError as error:
            yield whole(session, str(error))
            return
        yield whole(session)

    def stopped(request: gr.Request) -> None:
        handlers.stop(app.session(request))

    tools.act(acted, None, everything, **QUICK)
    tools.stop(stopped, None, None, **QUICK)
    stepped = do(lambda session, data: correct.step(session, data.get("way")))
    tools.step(stepped, None, everything, **QUICK)
    log.step(stepped, None, everything, **QUICK)
    tools.layer(do(lambda session, data: correct.choose_layer(session, data.get("layer"))), None, everything, **QUICK)

    def pressed(change: Callable[[Session], str]) -> Callable:
        def run(request: gr.Request) -> list[Any]:
            session = app.session(request)
            try:
                return whole(session, message=change(session))
            except InputError as error:
                return whole(session, str(error))

        return run

    accept.click(pressed(correct.accept), None, everything, **QUICK)
    teach.click(pressed(lambda session: correct.teach(session, app.teach, limits)), None, everything, **QUICK)

    def fetched(pack: Callable[[Session], Path], name: str) -> Callable:
        def run(request: gr.Request) -> list[Any]:
            session = app.session(request)
            try:
                url = session.put(pack(session), "application/zip", name)
            except InputError as error:
                return [gr.skip(), correct_view(session, limits, notice=str(error))]
            return [to_download(session, url, name), gr.skip()]

        return run

    save.click(fetched(correct.pack_correction, "lisa-micro-correction.zip"), None, [download, tools], **QUICK)
    examples.click(fetched(correct.examples_zip, "lisa-micro-examples.zip"), None, [download, tools], **QUICK)
    return load, everything
