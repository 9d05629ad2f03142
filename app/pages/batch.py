"""The page "Batch": many files or a zip, one request, a table that fills while it runs, report and archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from lisa_micro.types import InputError
from lisa_micro_app.pages.parts import QUICK, App, part, to_download
from lisa_micro_app.state import batch_files, batch_run
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.batch import files_view, run_view


def build(app: App, download: gr.HTML) -> tuple[Callable, list[Any]]:
    """Build the page; see :func:`lisa_micro_app.pages.chat.build`."""
    limits = app.sessions.limits
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            files = part("batch", ("uploaded", "cleared"))
        with gr.Column(scale=7, min_width=420):
            words = gr.Textbox(
                label="What to segment in each image",
                value="segment all particles",
                lines=1,
                max_lines=4,
                max_length=8000,
                elem_id="lm-batchwords",
            )
            groups = gr.Textbox(
                label="Groups",
                info="folder (of the zip), name:REGEX, or nothing",
                lines=1,
                max_lines=1,
                max_length=200,
                elem_id="lm-batchgroups",
            )
            with gr.Row(elem_classes="lm-buttons"):
                start = gr.Button("Run", variant="primary", min_width=100, elem_id="lm-batchstart")
                stop = gr.Button("Stop", variant="stop", visible=False, min_width=90, elem_id="lm-batchstop")
                report = gr.Button("Download report", visible=False, min_width=150, elem_id="lm-batchreport")
                save = gr.Button("Download all", visible=False, min_width=120, elem_id="lm-batchsave")
            outcome = part("batchrun")
            table = gr.Dataframe(
                headers=list(batch_run.COLUMNS),
                interactive=False,
                wrap=True,
                column_widths=["28%", "20%", "17%", "35%"],
                max_height=520,
                visible=False,
                elem_id="lm-batchtable",
            )

    everything = [files, outcome, table, start, stop, report, save]

    def shown(session: Session, busy: bool) -> list[Any]:
        ready = session.batch.result is not None and not busy
        return [gr.update(visible=visible) for visible in (not busy, busy, ready, ready)]

    def rows(session: Session) -> Any:
        found = session.batch.rows[-limits.table_rows :]
        return gr.update(value=[list(map(str, row)) for row in found], visible=bool(found))

    def whole(session: Session, notice: str = "", at_files: bool = False) -> list[Any]:
        return [
            files_view(session, limits, notice if at_files else ""),
            run_view(session, notice="" if at_files else notice),
            rows(session),
            *shown(session, session.batch.busy),
        ]

    def load(request: gr.Request) -> list[Any]:
        try:
            return whole(app.session(request))
        except InputError as error:
            raise gr.Error(str(error)) from error

    files.uploaded(load, None, everything, **QUICK)

    def cleared(request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            batch_files.forget(session)
        except InputError as error:
            return whole(session, str(error), at_files=True)
        return whole(session)

    files.cleared(cleared, None, everything, **QUICK)

    def run(text: str, grouping: str, request: gr.Request) -> Iterator[list[Any]]:
        session = app.session(request)
        buttons, counted = shown(session, True), -1
        try:
            for pending in batch_run.run_files(session, app.queue, text, grouping, limits):
                changed = pending.rows != counted
                counted = pending.rows
                yield [
                    files_view(session, limits) if buttons else gr.skip(),
                    run_view(session, pending),
                    rows(session) if changed else gr.skip(),
                    *(buttons or [gr.skip()] * 4),
                ]
                buttons = []
        except InputError as error:
            yield whole(session, str(error))
            return
        yield whole(session)

    start.click(run, [words, groups], everything, **QUICK)
    words.submit(run, [words, groups], everything, **QUICK)

    def stopped(request: gr.Request) -> None:
        app.session(request).batch.cancel()

    stop.click(stopped, None, None, **QUICK)

    def saved(request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            path = batch_run.pack_batch(session, app.queue.preset(app.preset))
        except InputError as error:
            return [gr.skip(), run_view(session, notice=str(error))]
        url = session.put(path, "application/zip", "lisa-micro-batch.zip")
        return [to_download(session, url, "lisa-micro-batch.zip"), gr.skip()]

    save.click(saved, None, [download, outcome], **QUICK)

    def reported(request: gr.Request) -> list[Any]:
        session = app.session(request)
        try:
            path = batch_run.report_file(session)
        except InputError as error:
            return [gr.skip(), run_view(session, notice=str(error))]
        url = session.put(path, "text/html", "report.html")
        return [to_download(session, url, "report.html"), gr.skip()]

    report.click(reported, None, [download, outcome], **QUICK)
    return load, everything
