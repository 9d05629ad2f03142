"""The server of the app: the page at 127.0.0.1, for this computer alone unless told otherwise."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.extras import missing_extra
from lisa_micro.types import InputError

if TYPE_CHECKING:
    from lisa_micro_app.jobs import Desk
    from lisa_micro_app.state.session import Sessions

LOCAL = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class AppSettings:
    """How the app is served.

    Attributes:
        port: 0 takes any free one.
        preset, device, precision, projectors: as for :func:`lisa_micro.load_assistant`.
        auth: names and passwords; None: nobody is asked.
        share: whether a public address leads here too.
        teach: folder for training examples; None: they stay in the sessions.
        upload_mib: largest file, MiB; None: that of :class:`lisa_micro_app.limits.Limits`.
    """

    port: int = 0
    preset: str = "micro"
    device: str = "auto"
    precision: str = "auto"
    projectors: Path | None = None
    auth: Sequence[tuple[str, str]] | None = None
    share: bool = False
    teach: Path | None = None
    upload_mib: int | None = None


def parse_users(given: Sequence[str], environment: str = "") -> list[tuple[str, str]] | None:
    """Names and passwords from ``USER:PASSWORD`` texts, and from an environment variable that holds several, separated
    by spaces; None where there are none.

    Raises:
        InputError: a text is not ``USER:PASSWORD``.
    """
    pairs = []
    for text in [*given, *environment.split()]:
        name, colon, password = text.partition(":")
        if not (name and colon and password):
            raise InputError("--auth takes USER:PASSWORD.")
        pairs.append((name, password))
    return pairs or None


def loader(settings: AppSettings) -> Callable[[], Any]:
    """A function that loads the model; torch is imported there, so that the page does not wait for it."""

    def load() -> Any:
        from lisa_micro import load_assistant

        return load_assistant(
            settings.preset, device=settings.device, precision=settings.precision, projectors=settings.projectors
        )

    return load


def serve(
    settings: AppSettings,
    load: Callable[[], Any] | None = None,
    ready: Callable[[str], None] | None = None,
    ended: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        settings: how.
        load: gives the assistant; None: that of the preset.
        ready: called with the page's address.
        ended: stops the app when it is set.

    Raises:
        InputError: the port cannot be used, a folder cannot be written, or a package is missing.
    """
    # before gradio is imported, which reads them then: no telemetry, no look-ups
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    from lisa_micro.io import check_output
    from lisa_micro_app.jobs import Desk
    from lisa_micro_app.limits import Limits
    from lisa_micro_app.state.session import Sessions

    if settings.teach is not None:
        check_output(settings.teach, names=())
    limits = Limits() if settings.upload_mib is None else replace(Limits(), upload_mib=settings.upload_mib)
    sessions = Sessions(limits)
    # the folder that Gradio keeps files in: inside ours, so that it is removed with it
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root / "gradio")
    ended = ended or threading.Event()
    desk = None
    try:
        desk = Desk(limits.waiting, limits.request_seconds, load or loader(settings))
        blocks, url = _launch(settings, sessions, desk)
        if ready is not None:
            ready(url)
        for name in (signal.SIGTERM, signal.SIGINT):
            if threading.current_thread() is threading.main_thread():
                signal.signal(name, lambda *_: ended.set())
        while not ended.wait(1.0):
            pass
        blocks.close(verbose=False)
    finally:
        if desk is not None:
            desk.close()
        sessions.close()


def _launch(settings: AppSettings, sessions: Sessions, desk: Desk) -> tuple[Any, str]:
    """Start the server and print its addresses; Gradio's blocks, and the page's address."""
    try:
        import gradio  # noqa: F401
        from starlette.middleware import Middleware
    except ModuleNotFoundError as error:
        raise missing_extra("The app", error.name or "gradio") from error
    from lisa_micro_app import server
    from lisa_micro_app.pages import layout as ui
    from lisa_micro_app.pages import parts

    blocks = ui.build(parts.App(sessions, desk, settings.preset, settings.teach))
    blocks.queue(max_size=256, default_concurrency_limit=None, api_open=False)
    auth = None if settings.auth is None else list(settings.auth)
    try:
        # Gradio announces its MCP server on the standard output; the lines below say it in our words
        with redirect_stdout(io.StringIO()):
            _, url, public = blocks.launch(
                server_name="127.0.0.1",
                server_port=settings.port or _free_port(),
                share=settings.share,
                auth=auth,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                show_error=False,
                enable_monitoring=False,
                footer_links=[],
                max_file_size="1kb",  # files come through the app's own upload route
                allowed_paths=[],
                # its route asks for no password, so it stays closed where the page asks for one
                mcp_server=auth is None and find_spec("mcp") is not None,
                app_kwargs={
                    "middleware": [Middleware(server.Guard, hosts=None if settings.share else LOCAL)],
                    "routes": server.routes(sessions),
                },
                theme=parts.theme(),
                css=parts.page_css(),
                head=parts.page_head(),
            )
    except OSError as error:
        raise InputError(f"Port {settings.port} cannot be used ({error}); choose another one with --port.") from error
    sessions.start_sweeping()
    print(f"LISA-micro is at {url}", flush=True)
    if blocks.mcp_error:
        print(blocks.mcp_error, file=sys.stderr)
    if blocks.mcp_server:
        print(f"and, for language models (MCP), at {url}gradio_api/mcp/", flush=True)
    if public:
        warning = "" if auth else " Anybody who knows this address can use it; --auth asks for a password."
        print(f"and, for others, at {public}{warning}", flush=True)
    return blocks, url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
