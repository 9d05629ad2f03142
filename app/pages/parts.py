"""What all pages are made of: the look, the page's own parts, and what their handlers work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from lisa_micro_app.jobs import Desk
from lisa_micro_app.limits import STATIC
from lisa_micro_app.state.session import Session, Sessions

SCRIPTS = ("lisa.js", "stage.js", "viewer.js", "talk.js", "correct.js", "frames.js", "video.js")
"""In the order in which they need each other."""
QUICK: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Of all events of the page: it shows progress in its own places, and the desk is the queue."""


def theme() -> gr.themes.Base:
    """One light theme, with fonts that every system has: nothing is fetched."""
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
    """The page's own style sheet."""
    return (STATIC / "lisa.css").read_text(encoding="utf-8")


def page_head() -> str:
    """The page's own scripts, in the page itself: they are there before anything is mounted."""
    scripts = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)
    light = "document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => document.body.classList"
    light += ".remove('dark')).observe(document.body, { attributes: true, attributeFilter: ['class'] }));"
    return f'<meta name="color-scheme" content="light"><script>{scripts}\n{light}</script>'


def part(kind: str, events: tuple[str, ...] = (), value: Any = None, **settings: Any) -> gr.HTML:
    """One of the page's own parts (see ``static``): it is handed plain data, and tells of ``events``."""
    named = " ".join(f"'{event}'" for event in events)  # Gradio finds a part's events in its script
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
    """What the page works with. teach: the operator's folder for training examples; None: each session has its own."""

    sessions: Sessions
    desk: Desk
    preset: str = "micro"
    teach: Path | None = None

    def session(self, request: gr.Request) -> Session:
        """The session of the page that asks; with passwords, of the page and its user."""
        return self.sessions.get(f"{request.username or ''}/{request.session_hash}")


def to_download(session: Session, url: str, name: str) -> dict[str, Any]:
    """Tell the part ``download`` to fetch something now."""
    session.downloads = number = session.downloads + 1
    return {"url": url, "name": name, "number": number}
