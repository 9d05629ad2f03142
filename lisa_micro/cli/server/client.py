"""The side of a command: have the server run it, where one runs that fits.

Imports the standard library alone. Whatever goes wrong here, the command runs in its own process instead.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from lisa_micro.cli.server import place
from lisa_micro.cli.server.fingerprint import fingerprint
from lisa_micro.cli.server.messages import Message, MessageError, receive, send

SERVED = ("segment", "compare", "ask")
"""Commands for which loading the model is much of the time."""
OWN_PROCESS = ("--no-server", "-h", "--help")
"""Arguments with which a command does without the server."""
HANDED_OVER = (
    "COLORTERM", "COLUMNS", "FORCE_COLOR", "HOME", "LINES", "NO_COLOR", "SOURCE_DATE_EPOCH", "TERM", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)  # fmt: skip
"""Environment variables that are read while a command runs; the server takes the command's."""
GREETING_S = 3.0
"""Time within which a server must greet."""
TURN_S = 20.0
"""Time to wait for one's turn; after it, loading the model takes less."""
INTERRUPT_S = 3.0
"""Time for a command to end after an interrupt."""


def run_on_server(arguments: Sequence[str]) -> int | None:
    """Have the server run a command; its output appears on the streams of this process.

    Returns:
        the exit code; None: there is no server for this command, which has not been run.
    """
    if not wanted(arguments):
        return None
    try:
        connection = connect()
    except (OSError, MessageError, place.PlaceError):
        return None
    started = False
    with connection:
        try:
            if differences(receive(connection)) or not _has_turn(connection, arguments):
                return None
            started = True
            send(connection, {"do": "go"}, (0, 1, 2))
            return _exit_code(connection)
        except (OSError, MessageError):  # the server has gone; also where one of our streams is closed
            return None
        except KeyboardInterrupt:
            return _interrupted(connection, started)


def wanted(arguments: Sequence[str]) -> bool:
    """Whether a command is one that the server may run."""
    return (
        sys.platform != "win32"  # Python has no Unix sockets there
        and bool(arguments)
        and arguments[0] in SERVED
        and os.environ.get("LISA_MICRO_NO_SERVER", "0") in ("", "0")
        and not os.environ.get("LISA_MICRO_DEBUG")
        and not any(argument in OWN_PROCESS for argument in arguments)
        and None not in (sys.stdin, sys.stdout, sys.stderr)  # closed by whoever started this process
    )


def connect() -> socket.socket:
    """Connect to the server of this user; the socket of one that was killed is removed.

    Raises:
        OSError: no server runs, or it cannot be reached.
        MessageError: the socket is that of another user.
        PlaceError: its folder is not this user's own.
    """
    folder = place.runtime_folder()
    place.check_folder(folder)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(GREETING_S)
        connection.connect(place.socket_path(folder))
        if not place.is_own(connection):
            raise MessageError("the socket is another user's")
    except ConnectionRefusedError:
        connection.close()
        place.remove_leftover(folder)
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def differences(greeting: Message) -> list[str]:
    """Parts of the environment in which the server differs from this process; see :func:`fingerprint`."""
    theirs = greeting.get("fingerprint")
    ours = fingerprint()
    return [name for name, value in ours.items() if not isinstance(theirs, dict) or theirs.get(name) != value]


def _has_turn(connection: socket.socket, arguments: Sequence[str]) -> bool:
    """Ask the server to run a command and wait for the turn; False: its model is another one."""
    folder = os.getcwd()
    info = os.stat(folder)
    mask = os.umask(0)
    os.umask(mask)
    request = {
        "do": "run",
        "arguments": list(arguments),
        "folder": folder,
        "folder_id": [info.st_dev, info.st_ino],
        "environment": {name: os.environ[name] for name in HANDED_OVER if name in os.environ},
        "umask": mask,
        "encodings": [stream.encoding for stream in (sys.stdin, sys.stdout, sys.stderr)],
    }
    send(connection, request)
    connection.settimeout(TURN_S)
    return receive(connection).get("say") == "turn"


def _exit_code(connection: socket.socket) -> int:
    connection.settimeout(None)
    code = receive(connection).get("exit")
    if not isinstance(code, int):
        raise MessageError("no exit code")
    return code


def _interrupted(connection: socket.socket, started: bool) -> int:
    """Stop waiting. A command that has begun gets a moment to end by itself and to say so."""
    try:
        if started:
            connection.settimeout(INTERRUPT_S)
            send(connection, {"do": "interrupt"})
            receive(connection)
            return 130
    except (OSError, MessageError, KeyboardInterrupt):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h\n")  # a spinner has hidden the cursor
    os.write(2, b"error: interrupted.\n")
    return 130
