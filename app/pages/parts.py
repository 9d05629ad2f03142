"""What all pages share: theme, scripts, custom parts, and the context of their handlers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from lisa_micro.viz.browser import viewer_script, viewer_style
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.limits import STATIC
from lisa_micro_app.state.session import Session, Sessions

SCRIPTS = (
    "lisa.js", "scalebar.js", "viewer.js", "talk.js", "correct.js", "like.js", "frames.js", "video.js", "batch.js",
)  # fmt: skip
"""Scripts in the order of their dependencies, after those of :mod:`lisa_micro.viz.browser`."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Settings of all events: the page shows its own progress, and :class:`lisa_micro_app.jobs.JobQueue` is the queue."""


def theme() -> gr.themes.Base:
    """The light theme, with system fonts: nothing is fetched from the web."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=fonts,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    ).set(
        body_background_fill="#f7f9fb",
        block_border_width="1px",
        block_shadow="none",
        button_primary_background_fill="#0b6bcb",
        button_primary_background_fill_hover="#095aab",
        button_primary_text_color="white",
    )


def page_css() -> str:
    """The style sheet."""
    return viewer_style() + (STATIC / "lisa.css").read_text(encoding="utf-8")


def page_head() -> str:
    """The scripts, inline, so that they are loaded before any part is mounted."""
    scripts = "\n".join([viewer_script(), *((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)])
    light = "document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => document.body.classList"
    light += ".remove('dark')).observe(document.body, { attributes: true, attributeFilter: ['class'] }));"
    return f'<meta name="color-scheme" content="light"><script>{scripts}\n{light}</script>'


def part(kind: str, events: tuple[str, ...] = (), value: object = None, **settings: Any) -> gr.HTML:
    """A custom part of the page (see ``static``), which shows plain data.

    Args:
        kind: name of the part in the scripts.
        events: names of the events that it triggers.
        value: initial data.
        settings: of ``gr.HTML``.
    """
    named = " ".join(f"'{event}'" for event in events)  # Gradio finds the events of a part in its script
    return gr.HTML(
        value,
        html_template='<div class="lm-mount"></div>',
        js_on_load=f"/* {named} */ window.lisaMicro.mount('{kind}', element, props, trigger, watch);",
        apply_default_css=False,
        elem_id=f"lm-{kind}",
        elem_classes=["lm-part"],
        **settings,
    )


@dataclass
class App:
    """The context of all handlers.

    Attributes:
        sessions, queue: of the app.
        preset: name of the model until it is loaded.
        teach: the operator's folder for training examples; ``None``: each session has its own.
    """

    sessions: Sessions
    queue: JobQueue
    preset: str = "micro"
    teach: Path | None = None

    def session(self, request: gr.Request) -> Session:
        """The session of the page that sends a request; with passwords, of the page and its user."""
        return self.sessions.get(f"{request.username or ''}/{request.session_hash}")


def to_download(session: Session, url: str, name: str) -> dict[str, Any]:
    """Data for the part ``download``, which makes the browser fetch a file."""
    session.downloads = number = session.downloads + 1
    return {"url": url, "name": name, "number": number}
