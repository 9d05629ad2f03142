"""``lisa-micro serve``: the model stays loaded, and other commands of this user answer with it at once."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from lisa_micro.cli.options import ModelOptions, grouped
from lisa_micro.cli.server import place
from lisa_micro.cli.server.client import SERVED, connect, differences
from lisa_micro.cli.server.messages import Message, MessageError, receive, send
from lisa_micro.cli.terminal import note
from lisa_micro.types import InputError

LOCK_S = 1.0
"""A command that removes a leftover holds the lock for a moment."""
STOP_S = 60.0
"""Time to wait for the command that is running when the server is to stop."""
WHY = {
    "python": "they run in another Python, or another installation of LISA-micro",
    "files": "LISA-micro or a package beside it has changed since the server started",
    "settings": "environment variables of the libraries, such as OMP_NUM_THREADS, differ",
}


@grouped
def serve(
    model: ModelOptions,
    idle: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="End after so many minutes without a request.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the server that is running.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show the server that is running.")] = False,
) -> None:
    """Keep the model loaded: segment, compare and ask with the same model options answer without loading it.

    Only commands of the same user on this computer reach it, through a Unix socket. It runs until Ctrl-C or --stop.
    """
    if sys.platform == "win32":
        raise InputError("lisa-micro serve needs Unix sockets, which Python does not have on Windows.")
    if stop and status:
        raise InputError("--stop and --status cannot be combined; leave out one of them.")
    if idle is not None and not (idle > 0 and math.isfinite(idle)):
        raise InputError(f"--idle {idle:g} is no time; give a positive number of minutes.")
    if status:
        _show()
    elif stop:
        _stop()
    else:
        _serve(model, None if idle is None else idle * 60)


def _serve(model: ModelOptions, idle_s: float | None) -> None:
    """Load the model, open the socket and serve.

    Raises:
        InputError: another server runs, or the folder of the socket cannot be used.
    """
    from lisa_micro import __version__
    from lisa_micro.cli.loading import load_preset
    from lisa_micro.cli.main import run_command_line
    from lisa_micro.cli.server.fingerprint import fingerprint
    from lisa_micro.cli.server.kept import KeptModel, Source
    from lisa_micro.cli.server.service import Server, listen

    found = fingerprint()  # before libraries set environment variables
    folder = place.runtime_folder()
    with _locked(folder):
        source = Source.of(model, os.getcwd())
        assistant = load_preset(model)
        os.chdir("/")  # so that no folder is kept in use
        names = {"preset": model.preset, "device": str(assistant.device), "precision": model.precision}
        greeting = {
            "version": __version__,
            "fingerprint": found,
            "model": {**names, "weights_sha256": assistant.weights_sha256},
            "process": os.getpid(),
            "since": time.time(),
        }
        path = place.socket_path(folder)
        try:
            listener = listen(folder)
        except OSError as error:
            raise InputError(
                f"The socket {path} cannot be created ({error.strerror or error}); set XDG_RUNTIME_DIR to another "
                "folder of yours."
            ) from error
        try:
            print(f"Serving {model.preset}; end it with Ctrl-C or lisa-micro serve --stop.", flush=True)
            Server(KeptModel(source, assistant), greeting, run_command_line).serve(listener, idle_s)
        finally:
            os.unlink(path)
            listener.close()


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the lock of the server.

    Raises:
        InputError: another server holds it, or the folder cannot be used.
    """
    try:
        place.make_folder(folder)
    except place.PlaceError as error:
        raise InputError(
            f"The folder {folder} {error}; set XDG_RUNTIME_DIR to a folder that only you can use."
        ) from error
    until = time.monotonic() + LOCK_S
    try:
        while (held := place.lock(folder)) is None and time.monotonic() < until:
            time.sleep(0.05)
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be locked ({error.strerror or error}); set XDG_RUNTIME_DIR to another folder "
            "of yours."
        ) from error
    if held is None:
        raise InputError(f"A server is running{_process(folder)}; end it with lisa-micro serve --stop.")
    try:
        yield
    finally:
        os.close(held)


def _process(folder: str) -> str:
    number = place.holder(folder)
    return "" if number is None else f" (process {number})"


def _show() -> None:
    """Print what runs, and whether commands from here use it."""
    connection, greeting = _greeted()
    connection.close()
    model = greeting["model"]
    minutes = max(0.0, time.time() - greeting["since"]) / 60  # the clock may have been set back
    print(f"lisa-micro {greeting['version']}, process {greeting['process']}, {minutes:.0f} min, ", end="")
    print(f"{greeting['requests']} requests{', busy' if greeting['busy'] else ''}")
    print(f"model: {model['preset']} on {model['device']}, precision {model['precision']}, ", end="")
    print(f"weights {model['weights_sha256'][:12]}")
    print(f"socket: {place.socket_path(place.runtime_folder())}")
    reasons = [WHY[name] for name in differences(greeting)]
    if reasons:
        note(f"Commands from here do not use it: {'; '.join(reasons)}.")
    else:
        print(f"Used by: {', '.join(SERVED)}, with these model options")


def _stop() -> None:
    """End the server and wait until it has ended.

    Raises:
        InputError: none runs, or its command takes long.
    """
    connection, greeting = _greeted()
    with connection:
        try:
            send(connection, {"do": "stop"})
            connection.settimeout(STOP_S)
            receive(connection)
        except TimeoutError:
            raise InputError(
                f"The server (process {greeting['process']}) still runs a command; it ends after that."
            ) from None
        except (OSError, MessageError):  # it has closed the connection
            pass
    print("The server has ended.")


def _greeted() -> tuple[socket.socket, Message]:
    """Connect to the server that runs.

    Raises:
        InputError: none runs, it does not answer, or its folder is not this user's own.
    """
    folder = place.runtime_folder()
    try:
        connection = connect()
    except place.PlaceError as error:
        raise InputError(f"The folder {folder} {error}; no server of yours can run there.") from error
    except (OSError, MessageError) as error:
        raise InputError("No server is running; start one with lisa-micro serve.") from error
    try:
        greeting = receive(connection)
    except (OSError, MessageError) as error:
        connection.close()
        raise InputError(f"The server{_process(folder)} does not answer; end its process.") from error
    return connection, greeting
