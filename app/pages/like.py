"""The page "Find all like this": boxes around examples, and everything that is alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app import exports_like, handlers
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import like as liking
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.like import like_measures, like_view

_EXAMPLES_JS = (
    "(words, drawn) => [words, JSON.stringify((window.lisaMicro && window.lisaMicro.examples) || "
    "{ like: [], unlike: [] })]"
)


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page; see :func:`lisa_micro_app.pages.chat.build`."""
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=440):
            draw = part("like", ("uploaded", "unload"))
        with gr.Column(scale=5, min_width=330):
            words = gr.Textbox(
                label="Only those that ... (optional)",
                placeholder="larger than 20 nm",
                lines=1,
                max_lines=3,
                max_length=8000,
                elem_id="lm-likewords",
            )
            drawn = gr.Textbox(visible=False)
            with gr.Row(elem_classes="lm-buttons"):
                run = gr.Button("Find all like this", variant="primary", min_width=150, elem_id="lm-find")
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90, elem_id="lm-findstop")
                save = gr.Button("Download results", visible=False, min_width=140, elem_id="lm-likesave")
                keep = gr.Button("Download exemplar", visible=False, min_width=150, elem_id="lm-likekeep")
            outcome = part("likeoutcome")
            measures = part("likemeasures")
    everything = [draw, outcome, measures, run, stop, save, keep]

    def whole(session: Session, pending: liking.Pending | None = None, notice: str = "") -> list[Any]:
        view = like_view(session, limits, pending, notice)
        busy, ready = pending is not None, liking.current(session) is not None and pending is None
        shown = [gr.update(visible=v) for v in (not busy, busy, ready, ready)]
        return [view, view, gr.skip() if busy else like_measures(session, limits), *shown]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    def find(text: str, boxes: str, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        try:
            for pending in liking.find(session, app.queue, text, boxes, limits):
                yield whole(session, pending)
        except InputError as error:
            yield whole(session, notice=str(error))
            return
        yield whole(session)

    run.click(find, [words, drawn], everything, js=_EXAMPLES_JS, **QUICK)
    words.submit(find, [words, drawn], everything, js=_EXAMPLES_JS, **QUICK)

    def stopped(request: gr.Request) -> None:
        handlers.stop(app.session(request))

    stop.click(stopped, None, None, **QUICK)

    def uploaded(event: gr.EventData, request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            liking.read_upload(session, event._data.get("key"))
        except InputError as error:
            return whole(session, notice=str(error))
        return whole(session)

    def unloaded(request: gr.Request) -> list[Any]:
        session = app.session(request)
        liking.unload(session)
        return whole(session)

    draw.uploaded(uploaded, None, everything, **QUICK)
    draw.unload(unloaded, None, everything, **QUICK)

    def saved(request: gr.Request) -> Any:
        session = app.session(request)
        found = liking.current(session)
        if found is None:
            raise gr.Error("Nothing to download yet; find something first.")
        try:
            path = exports_like.pack_alike(session, found, app.queue)
        except InputError as error:
            raise gr.Error(str(error)) from error
        return to_download(
            session, session.put(path, "application/zip", "lisa-micro-alike.zip"), "lisa-micro-alike.zip"
        )

    def kept(request: gr.Request) -> Any:
        session = app.session(request)
        found = liking.current(session)
        if found is None:
            raise gr.Error("Nothing to download yet; find something first.")
        url = exports_like.put_exemplar(session, found.exemplar)
        return to_download(session, url, exports_like.EXEMPLAR_FILE)

    save.click(saved, None, download, **QUICK)
    keep.click(kept, None, download, **QUICK)
    return load, everything
