"""The server of the app, at 127.0.0.1: only this computer can reach it, unless ``share`` is set."""

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
from typing import TYPE_CHECKING

from lisa_micro.extras import missing_extra
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import gradio as gr

    from lisa_micro.protocols import Assistant
    from lisa_micro_app.jobs import JobQueue
    from lisa_micro_app.state.session import Sessions

LOCAL = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class AppSettings:
    """Settings of the server.

    Attributes:
        port: 0: any free port.
        preset, device, precision, projectors: as for :func:`lisa_micro.load_assistant`.
        auth: names and passwords; ``None``: no password is required.
        share: whether to open a public address.
        teach: folder for training examples; ``None``: they stay in the sessions.
        upload_mib: largest file, MiB; ``None``: the default of :class:`lisa_micro_app.limits.Limits`.
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
    """Parse names and passwords.

    Args:
        given: texts ``USER:PASSWORD``.
        environment: value of an environment variable with such texts, separated by spaces.

    Returns:
        names and passwords; ``None`` if there are none.

    Raises:
        InputError: a text is not ``USER:PASSWORD``.
    """
    pairs = []
    for text in [*given, *environment.split()]:
        name, colon, password = text.partition(":")
        if not (name and colon and password):
            raise InputError("A name and password for the app is not valid; --auth takes USER:PASSWORD.")
        pairs.append((name, password))
    return pairs or None


def loader(settings: AppSettings) -> Callable[[], Assistant]:
    """A function that loads the model. It imports torch, so that the page does not wait for it."""

    def load() -> Assistant:
        from lisa_micro import load_assistant

        return load_assistant(
            settings.preset, device=settings.device, precision=settings.precision, projectors=settings.projectors
        )

    return load


def serve(
    settings: AppSettings,
    load: Callable[[], Assistant] | None = None,
    ready: Callable[[str], None] | None = None,
    ended: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        settings: of the server.
        load: loads the assistant; ``None``: :func:`loader`.
        ready: called with the address of the page.
        ended: stops the server when it is set.

    Raises:
        InputError: the port cannot be used, a folder cannot be written, or a package is missing.
    """
    # gradio reads these when it is imported: no telemetry, no requests to its servers
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    from lisa_micro.io import check_output
    from lisa_micro_app.jobs import JobQueue
    from lisa_micro_app.limits import Limits
    from lisa_micro_app.state.session import Sessions

    if settings.teach is not None:
        check_output(settings.teach, names=())
    limits = Limits() if settings.upload_mib is None else replace(Limits(), upload_mib=settings.upload_mib)
    sessions = Sessions(limits)
    # Gradio's own files go into the folder of the sessions, which is removed at the end
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root / "gradio")
    ended = ended or threading.Event()
    queue = None
    try:
        queue = JobQueue(limits.waiting, limits.request_seconds, load or loader(settings))
        blocks, url = _launch(settings, sessions, queue)
        if ready is not None:
            ready(url)
        for name in (signal.SIGTERM, signal.SIGINT):
            if threading.current_thread() is threading.main_thread():
                signal.signal(name, lambda *_: ended.set())
        while not ended.wait(1.0):
            pass
        blocks.close(verbose=False)
    finally:
        if queue is not None:
            queue.close()
        sessions.close()


def _launch(settings: AppSettings, sessions: Sessions, queue: JobQueue) -> tuple[gr.Blocks, str]:
    """Start the server and print its addresses; return Gradio's blocks and the address of the page."""
    try:
        import gradio  # noqa: F401
        from starlette.middleware import Middleware
    except ModuleNotFoundError as error:
        raise missing_extra("The app", error.name or "gradio") from error
    from lisa_micro_app import server
    from lisa_micro_app.pages import layout as ui
    from lisa_micro_app.pages import parts

    blocks, description = ui.build(parts.App(sessions, queue, settings.preset, settings.teach))
    blocks.queue(max_size=256, default_concurrency_limit=None, api_open=False)
    auth = None if settings.auth is None else list(settings.auth)
    try:
        # Gradio prints the address of its MCP server; it is printed below instead
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
                max_file_size="1kb",  # files are sent to the app's own route
                allowed_paths=[],
                # the MCP route has no password, so it stays closed if the page has one
                mcp_server=auth is None and find_spec("mcp") is not None,
                app_kwargs={
                    "middleware": [Middleware(server.Guard, hosts=None if settings.share else LOCAL)],
                    "routes": server.routes(sessions, description),
                    "openapi_url": None,  # of all of Gradio's routes
                },
                theme=parts.theme(),
                css=parts.page_css(),
                head=parts.page_head(),
            )
    except OSError as error:
        raise InputError(f"Cannot use port {settings.port} ({error}); choose another one with --port.") from error
    sessions.start_sweeping()
    print(f"LISA-micro is at {url}", flush=True)
    if blocks.mcp_error:
        print(blocks.mcp_error, file=sys.stderr)
    if blocks.mcp_server:
        print(f"MCP server for language models: {url}gradio_api/mcp/", flush=True)
    if public:
        warning = "" if auth else " (anyone who knows this address can use the app; set a password with --auth)"
        print(f"Public address: {public}{warning}", flush=True)
    return blocks, url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
