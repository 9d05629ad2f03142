"""``python -m lisa_micro_app``: the page at http://127.0.0.1:7860, for this computer alone unless told otherwise."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lisa_micro.types import InputError

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="lisa-micro app", description="Talk to a micrograph in the browser. Bound to this computer."
    )
    options.add_argument("--port", type=int, default=7860, help="0 takes any that is free (default: %(default)s)")
    options.add_argument("--preset", default="micro", help="model: a preset's name, or a folder with one")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ...")
    options.add_argument("--precision", default="auto", help="of an official LISA: auto, fp32, bf16, fp16, 8bit, 4bit")
    options.add_argument("--projectors", metavar="DIR", type=Path, help="of a preset with a larger language model")
    options.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        action="append",
        help="ask for a name and a password; may be given several times. LISA_MICRO_APP_AUTH, where others can see the "
        "command line, holds the same with blanks between",
    )
    options.add_argument("--share", action="store_true", help="also through a public address; take --auth with it")
    options.add_argument(
        "--teach",
        metavar="DIR",
        type=Path,
        help="folder for training examples that users save; without it they go into their downloads",
    )
    options.add_argument("--upload-mib", type=int, default=None, help="largest file, MiB (default: 512)")
    return options


def users(given: list[str] | None, environment: str = "") -> list[tuple[str, str]] | None:
    """Names and passwords, None where there are none.

    Raises:
        InputError: one is not ``USER:PASSWORD``.
    """
    pairs = []
    for text in [*(given or []), *environment.split()]:
        name, colon, password = text.partition(":")
        if not (name and colon and password):
            raise InputError("--auth takes USER:PASSWORD.")
        pairs.append((name, password))
    return pairs or None


def loader(preset: str, device: str, precision: str = "auto", projectors: Path | None = None) -> Callable[[], Any]:
    """What the desk opens up with: the model. Imported there, so that the page does not wait for torch."""

    def load() -> Any:
        from lisa_micro import load_assistant

        return load_assistant(preset, device=device, precision=precision, projectors=projectors)

    return load


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is interrupted. Exit code 2 for options that cannot be used."""
    given = parser().parse_args(arguments)
    # before gradio is imported, which reads it then: nothing is counted, nothing is looked up
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    try:
        auth = users(given.auth, os.environ.get("LISA_MICRO_APP_AUTH", ""))
        if given.upload_mib is not None and given.upload_mib < 1:
            raise InputError("--upload-mib must be 1 or more.")
        if given.teach is not None:
            from lisa_micro.io import check_output

            check_output(given.teach, names=())
        load = loader(given.preset, given.device, given.precision, given.projectors)
        serve(given.port, given.preset, given.device, auth, given.share, given.upload_mib, given.teach, load=load)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def serve(
    port: int,
    preset: str = "micro",
    device: str = "auto",
    auth: list[tuple[str, str]] | None = None,
    share: bool = False,
    upload_mib: int | None = None,
    teach: Path | None = None,
    load: Callable[[], Any] | None = None,
    ready: Callable[[str], None] | None = None,
    ended: threading.Event | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        port: 0 takes any that is free.
        preset, device: of the model.
        auth: names and passwords.
        share: whether a public address leads here too.
        upload_mib: largest file, MiB.
        teach: folder for training examples; None: they stay in the sessions.
        load: gives the assistant; tests hand in their own.
        ready: told the page's address.
        ended: stops the app when it is set.

    Raises:
        InputError: the port is taken, or gradio is missing.
    """
    from dataclasses import replace

    from lisa_micro_app.jobs import Desk
    from lisa_micro_app.limits import Limits
    from lisa_micro_app.state.session import Sessions

    limits = Limits() if upload_mib is None else replace(Limits(), upload_mib=upload_mib)
    sessions = Sessions(limits)
    # the folder that Gradio would keep files in: inside ours, so that it goes with it
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.root / "gradio")
    ended = ended or threading.Event()
    desk = None
    try:
        try:
            import gradio  # noqa: F401
            from starlette.middleware import Middleware
        except ModuleNotFoundError as error:
            raise InputError(f"The app needs {error.name}; run `make setup`, or: pip install gradio") from error
        from lisa_micro_app import server
        from lisa_micro_app.pages import layout as ui
        from lisa_micro_app.pages import parts

        desk = Desk(limits.waiting, limits.request_seconds, load or loader(preset, device))
        blocks = ui.build(parts.App(sessions, desk, preset, teach))
        blocks.queue(max_size=256, default_concurrency_limit=None, api_open=False)
        try:
            # Gradio announces its MCP server, in its own words
            with redirect_stdout(io.StringIO()):
                _, url, public = blocks.launch(
                    server_name="127.0.0.1",
                    server_port=port or _free_port(),
                    share=share,
                    auth=auth,
                    prevent_thread_lock=True,
                    quiet=True,
                    ssr_mode=False,
                    show_error=False,
                    enable_monitoring=False,
                    footer_links=[],
                    max_file_size="1kb",  # files come through the app's own door
                    allowed_paths=[],
                    # its door asks for no password, so it stays shut where the page asks for one
                    mcp_server=auth is None and find_spec("mcp") is not None,
                    app_kwargs={
                        "middleware": [Middleware(server.Guard, hosts=None if share else LOCAL)],
                        "routes": server.routes(sessions),
                    },
                    theme=parts.theme(),
                    css=parts.page_css(),
                    head=parts.page_head(),
                )
        except OSError as error:
            raise InputError(f"Port {port} cannot be used ({error}); choose another one with --port.") from error
        sessions.start_sweeping()
        print(f"LISA-micro is at {url}", flush=True)
        if blocks.mcp_error:
            print(blocks.mcp_error, file=sys.stderr)
        if blocks.mcp_server:
            print(f"and, for language models (MCP), at {url}gradio_api/mcp/", flush=True)
        if public:
            who = "" if auth else " Anybody who knows it can use it: --auth asks for a password."
            print(f"and, for others, at {public}{who}", flush=True)
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


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
