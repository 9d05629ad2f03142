"""The page "Chat": the micrograph stays visible on the left; conversation and measurements scroll on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app import exports, handlers, scale_bars
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import conversation as state
from lisa_micro_app.state.session import Session
from lisa_micro_app.views import turns as views
from lisa_micro_app.views.answer_plots import answer_figure, has_plots
from lisa_micro_app.views.charts import chart_choices, distribution


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page.

    Args:
        app: the context of the handlers.
        download: the part that makes the browser fetch a file.

    Returns:
        a handler that shows the state of the session, and the parts that it updates.
    """
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=440, elem_classes="lm-sticky"):
            viewer = part("viewer", ("uploaded", "sample", "choose", "recolour", "scalebar"))
            pixel_size = gr.Textbox(
                label="Pixel size (nm)", info="of the open micrograph", max_lines=1, elem_id="lm-pixelsize"
            )
        with gr.Column(scale=6, min_width=400):
            chat = part("chat", ("turn", "suggested", "other"))
            words = gr.Textbox(
                show_label=False,
                placeholder="Ask in your own words, for example: segment the necks wider than 5 nm",
                lines=1,
                max_lines=6,
                max_length=8000,
                container=False,
                elem_id="lm-words",
            )
            with gr.Row(elem_classes="lm-buttons"):
                send = gr.Button("Send", variant="primary", min_width=90, elem_id="lm-send")
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90, elem_id="lm-stop")
                undo = gr.Button("Undo", min_width=80, elem_id="lm-undo")
                clear = gr.Button("Clear", min_width=80, elem_id="lm-clear")
                save = gr.Button("Download", min_width=100, elem_id="lm-save")
            answer_plot = gr.Plot(show_label=False, elem_id="lm-answerplot", visible=False)
            gr.HTML('<h2 class="lm-section">Measurements</h2>', apply_default_css=False, elem_classes="lm-part")
            measures = part("measures")
            quantity = gr.Dropdown(label="Size distribution of", choices=[], elem_id="lm-quantity", visible=False)
            plot = gr.Plot(show_label=False, elem_id="lm-plot", visible=False)

    everything = [chat, viewer, pixel_size, answer_plot, measures, quantity, plot]

    def whole(session: Session, notice: str = "", viewer_notice: str = "") -> list[Any]:
        turn = session.state.turn
        choices = chart_choices(turn)
        key = choices[0][1] if choices else None
        picture = session.state.picture
        nm = picture.micrograph.pixel_size_nm if picture else None
        return [
            views.chat_view(session, notice=notice),
            views.viewer_view(session, limits, viewer_notice),
            gr.update(
                value="" if nm is None else handlers.shown_pixel_size(nm),
                info=views.pixel_size_words(session.state),
                visible=picture is not None,
            ),
            gr.update(value=answer_figure(turn) if turn and has_plots(turn) else None, visible=has_plots(turn)),
            views.measure_view(session, limits),
            gr.update(choices=choices, value=key, visible=bool(choices)),
            gr.update(value=distribution(turn, key) if choices else None, visible=bool(choices)),
        ]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    def do(act: Callable[[Session, gr.EventData], str | None], where: str = "chat") -> Callable:
        """A handler that changes the session and updates all parts; errors are shown in the part ``where``."""

        def run(event: gr.EventData, request: gr.Request) -> list[Any]:
            session = app.session(request)
            try:
                return whole(session, act(session, event) or "")
            except InputError as error:
                return whole(session, **{"notice" if where == "chat" else "viewer_notice": str(error)})

        return run

    def chosen(session: Session, event: gr.EventData) -> None:
        session.state = state.choose_picture(session.state, str(event._data.get("key")))

    def turned(session: Session, event: gr.EventData) -> None:
        session.state = state.choose_turn(session.state, int(event._data.get("number", 0)))

    uploaded = do(
        lambda session, event: handlers.open_upload(session, app.queue, event._data.get("key"), limits),
        "viewer",
    )
    sampled = do(
        lambda session, event: handlers.open_sample(session, app.queue, event._data.get("name"), limits),
        "viewer",
    )
    viewer.uploaded(uploaded, None, everything, **QUICK)
    viewer.sample(sampled, None, everything, **QUICK)
    viewer.choose(do(chosen, "viewer"), None, everything, **QUICK)
    chat.turn(do(turned), None, everything, **QUICK)

    def recolour(event: gr.EventData, request: gr.Request) -> None:
        session, data = app.session(request), event._data
        session.state = state.recoloured(
            session.state, data.get("turn"), int(data.get("layer", -1)), state.checked_colour(data.get("colour"))
        )

    viewer.recolour(recolour, None, None, **QUICK)

    def rescaled(session: Session, change: Callable[[state.State], state.State], where: str) -> list[Any]:
        """Change pixel size or scale bar of the current micrograph; errors are shown as ``where`` of ``whole``."""
        try:
            before = session.state
            session.state = change(before)
        except InputError as error:
            return whole(session, **{where: str(error)})
        changed = session.state is not before and session.state.about(before.current)
        return whole(session, "Earlier answers keep their pixel size." if changed else "")

    def measured(text: str, request: gr.Request) -> list[Any]:
        return rescaled(app.session(request), lambda now: handlers.set_pixel_size(now, text), "notice")

    def barred(event: gr.EventData, request: gr.Request) -> list[Any]:
        data = event._data

        def change(now: state.State) -> state.State:
            return scale_bars.change(now, data.get("action"), data.get("ends"), data.get("length"))

        return rescaled(app.session(request), change, "viewer_notice")

    viewer.scalebar(barred, None, everything, **QUICK)
    pixel_size.submit(measured, pixel_size, everything, **QUICK)
    pixel_size.blur(measured, pixel_size, everything, **QUICK)

    # a request also changes the text field and the buttons
    asking = [*everything, words, send, stop]

    def follow(session: Session, progress: Iterator[handlers.Pending], text: str | None = None) -> Iterator[list[Any]]:
        """Show the progress of a request, then its answer. text: what was typed, which returns for editing if the
        request fails; ``None`` leaves the text field alone."""
        rest = [gr.skip()] * (len(everything) - 1)
        cleared, back = (gr.skip(), gr.skip()) if text is None else (gr.update(value=""), gr.update(value=text))
        busy = [cleared, gr.update(visible=False), gr.update(visible=True)]
        free = [gr.update(visible=True), gr.update(visible=False)]
        try:
            for pending in progress:
                yield [views.chat_view(session, pending), *rest, *busy]
                busy = [gr.skip()] * 3
        except InputError as error:
            yield [*whole(session, str(error)), back, *free]
            return
        yield [*whole(session), gr.skip(), *free]

    def ask(text: str, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        yield from follow(session, handlers.ask(session, app.queue, text, limits), text)

    words.submit(ask, words, asking, **QUICK)
    send.click(ask, words, asking, **QUICK)

    def suggested(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        yield from ask(str(event._data.get("words", "")), request)

    chat.suggested(suggested, None, asking, **QUICK)

    def other(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        yield from follow(session, handlers.reinterpret(session, app.queue, event._data.get("number")))

    chat.other(other, None, asking, **QUICK)

    def stopped(request: gr.Request) -> None:
        handlers.stop(app.session(request))

    stop.click(stopped, None, None, **QUICK)

    def undone(request: gr.Request) -> list[Any]:
        session = app.session(request)
        text = handlers.undo(session)
        return [*whole(session), gr.update(value=text)]

    undo.click(undone, None, [*everything, words], **QUICK)

    def cleared(request: gr.Request) -> list[Any]:
        session = app.session(request)
        handlers.clear(session)
        return whole(session)

    clear.click(cleared, None, everything, **QUICK)

    def redrawn(key: str, request: gr.Request) -> object:
        return distribution(app.session(request).state.turn, key)

    quantity.input(redrawn, quantity, plot, **QUICK)

    def saved(request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            model = app.queue.loaded
            sha256, device = (None, "") if model is None else (model.weights_sha256, str(model.device))
            path = exports.pack(session, app.queue.preset(app.preset), sha256, device)
        except InputError as error:
            return [gr.skip(), views.chat_view(session, notice=str(error))]
        url = session.put(path, "application/zip", "lisa-micro.zip")
        return [to_download(session, url, "lisa-micro.zip"), views.chat_view(session)]

    save.click(saved, None, [download, chat], **QUICK)
    return load, everything
