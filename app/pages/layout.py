"""The Gradio blocks with all pages as tabs. A new page is a module in this folder, a tab here, and, if it has custom
parts, a script in ``static``."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lisa_micro_app.api import endpoints as api
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.pages import batch as page_batch
from lisa_micro_app.pages import boxes as page_boxes
from lisa_micro_app.pages import chat as page_chat
from lisa_micro_app.pages import correct as page_correct
from lisa_micro_app.pages import like as page_like
from lisa_micro_app.pages import video as page_video
from lisa_micro_app.pages.parts import QUICK, App, part


def status_view(queue: JobQueue) -> dict[str, str]:
    """The state of the model, for the part ``status``."""
    if queue.state == "loading":
        return {"state": "loading", "text": "Loading the model ...", "detail": "You can already open a micrograph."}
    if queue.state == "failed":
        return {"state": "failed", "text": queue.reason, "detail": ""}
    return {"state": "ready", "text": "Ready", "detail": f"The model runs on {queue.assistant.device}."}


def build(app: App) -> tuple[gr.Blocks, dict[str, Any]]:
    """Build all pages and the API; return them and the description of the API as an OpenAPI document."""
    with gr.Blocks(title="LISA-micro", fill_width=True) as blocks:
        description = api.build(app)  # first, because Gradio numbers names that are taken
        part_status = part("status", value=status_view(app.queue))
        timer = gr.Timer(1.0)
        part_download = part("download")
        with gr.Tab("Chat", id="chat") as chat_tab:
            refresh_chat, chat_refreshed = page_chat.build(app, part_download)
        with gr.Tab("Find all like this", id="like") as like_tab:
            refresh_like, like_refreshed = page_like.build(app, part_download)
        like_tab.select(refresh_like, None, like_refreshed, **QUICK)
        with gr.Tab("Words against boxes", id="boxes") as boxes_tab:
            refresh_boxes, boxes_refreshed = page_boxes.build(app, part_download)
        boxes_tab.select(refresh_boxes, None, boxes_refreshed, **QUICK)
        with gr.Tab("Correct", id="correct") as correct_tab:
            refresh_correct, correct_refreshed = page_correct.build(app, part_download)
        correct_tab.select(refresh_correct, None, correct_refreshed, **QUICK)
        chat_tab.select(refresh_chat, None, chat_refreshed, **QUICK)  # answers may have been corrected
        with gr.Tab("Video", id="video"):
            refresh_video, video_refreshed = page_video.build(app, part_download)
        with gr.Tab("Batch", id="batch") as batch_tab:
            refresh_batch, batch_refreshed = page_batch.build(app, part_download)
        batch_tab.select(refresh_batch, None, batch_refreshed, **QUICK)

        def tick() -> tuple[dict[str, str], gr.Timer]:
            return status_view(app.queue), gr.Timer(active=app.queue.state == "loading")

        timer.tick(tick, None, [part_status, timer], **QUICK)
        blocks.load(refresh_chat, None, chat_refreshed, **QUICK)
        blocks.load(refresh_like, None, like_refreshed, **QUICK)
        blocks.load(refresh_boxes, None, boxes_refreshed, **QUICK)
        blocks.load(refresh_correct, None, correct_refreshed, **QUICK)
        blocks.load(refresh_video, None, video_refreshed, **QUICK)
        blocks.load(refresh_batch, None, batch_refreshed, **QUICK)

        def leave(request: gr.Request) -> None:
            app.sessions.leave(f"{request.username or ''}/{request.session_hash}")

        blocks.unload(leave)
    return blocks, description
