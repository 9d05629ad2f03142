"""The whole page: Gradio's blocks. Each page of it stands in a file of its own (``page_*.py``). A further one is such a
file, a tab here, and a script in ``static`` where it has parts of its own."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lisa_micro_app.api import endpoints as api
from lisa_micro_app.jobs import Desk
from lisa_micro_app.pages import boxes as page_boxes
from lisa_micro_app.pages import chat as page_chat
from lisa_micro_app.pages import correct as page_correct
from lisa_micro_app.pages import video as page_video
from lisa_micro_app.pages.parts import QUICK, App, part


def status_view(desk: Desk) -> dict[str, str]:
    """Whether the model is there."""
    if desk.state == "loading":
        return {"state": "loading", "text": "Loading the model ...", "detail": "You can open a micrograph meanwhile."}
    if desk.state == "failed":
        return {"state": "failed", "text": desk.reason, "detail": ""}
    device = str(getattr(desk.opened, "device", ""))
    return {"state": "ready", "text": "Ready", "detail": f"The model runs on {device}." if device else ""}


def build(app: App) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title="LISA-micro", fill_width=True) as blocks:
        api.build(app)  # first: a name that is taken gets a number
        part_status = part("status", value=status_view(app.desk))
        timer = gr.Timer(1.0)
        part_download = part("download")
        with gr.Tab("Chat", id="chat") as chat_tab:
            refresh_chat, chat_refreshed = page_chat.build(app, part_download)
        with gr.Tab("Words against boxes", id="boxes") as boxes_tab:
            refresh_boxes, boxes_refreshed = page_boxes.build(app, part_download)
        boxes_tab.select(refresh_boxes, None, boxes_refreshed, **QUICK)
        with gr.Tab("Correct", id="correct") as correct_tab:
            refresh_correct, correct_refreshed = page_correct.build(app, part_download)
        correct_tab.select(refresh_correct, None, correct_refreshed, **QUICK)
        chat_tab.select(refresh_chat, None, chat_refreshed, **QUICK)  # an answer may have been corrected
        with gr.Tab("Video", id="video"):
            refresh_video, video_refreshed = page_video.build(app, part_download)

        def tick() -> tuple[Any, Any]:
            return status_view(app.desk), gr.Timer(active=app.desk.state == "loading")

        timer.tick(tick, None, [part_status, timer], **QUICK)
        blocks.load(refresh_chat, None, chat_refreshed, **QUICK)
        blocks.load(refresh_boxes, None, boxes_refreshed, **QUICK)
        blocks.load(refresh_correct, None, correct_refreshed, **QUICK)
        blocks.load(refresh_video, None, video_refreshed, **QUICK)

        def leave(request: gr.Request) -> None:
            app.sessions.leave(f"{request.username or ''}/{request.session_hash}")

        blocks.unload(leave)
    return blocks
