"""The side of a command against servers that are not what they should be; the command then runs by itself."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from lisa_micro.cli.server import messages, place
from lisa_micro.cli.server.client import run_on_server, wanted
from lisa_micro.cli.server.fingerprint import fingerprint
from lisa_micro.cli.server.guest import Request
from lisa_micro.cli.server.messages import MAX_BYTES, MessageError, receive, receive_with_streams, send

REQUEST = ["segment", "film.tif", "particles"]


@pytest.fixture
def runtime(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="lm-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        for name in ("LISA_MICRO_NO_SERVER", "LISA_MICRO_DEBUG"):
            monkeypatch.delenv(name, raising=False)
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        place.make_folder(place.runtime_folder())
        yield Path(place.runtime_folder())


@pytest.fixture
def server(runtime):
    """Starts a server of one client: a function that talks to it."""
    threads = []

    def start(talk) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place.socket_path(str(runtime)))
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as connection:
                talk(connection)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(30)


def greet(connection: socket.socket, **other: str) -> None:
    send(connection, {"fingerprint": {**fingerprint(), **other}})


def test_a_server_that_fits_gives_the_exit_code(server):
    got = []

    def talk(connection):
        greet(connection)
        got.append(receive(connection))
        send(connection, {"say": "turn"})
        message, streams = receive_with_streams(connection)
        got.append(message)
        os.fstat(streams[0])
        messages.close_all(streams)
        send(connection, {"exit": 3})

    server(talk)
    assert run_on_server(REQUEST) == 3
    assert got[1] == {"do": "go"} and Request.of(got[0]).arguments == tuple(REQUEST)


@pytest.mark.parametrize("part", ["python", "files", "settings"])
def test_a_server_of_another_version_is_not_used(server, part):
    got = []

    def talk(connection):
        greet(connection, **{part: "other"})
        got.append(connection.recv(1))

    server(talk)
    assert run_on_server(REQUEST) is None
    assert got in ([], [b""])


@pytest.mark.parametrize(
    "answer",
    [
        lambda connection: send(connection, {"say": "refused"}),
        lambda connection: send(connection, {}),
        lambda connection: connection.sendall(b"\xff\xff\xff\xff"),
        lambda connection: connection.sendall(b"\0\0\0\1["),
        lambda connection: None,
    ],
    ids=["refused", "nothing", "too long", "no JSON", "gone"],
)
@pytest.mark.parametrize("after", ["nothing", "greeting", "request", "go"])
def test_what_is_no_answer_is_ignored(server, answer, after):
    def talk(connection):
        if after != "nothing":
            greet(connection)
        if after in ("request", "go"):
            receive(connection)
        if after == "go":
            send(connection, {"say": "turn"})
            receive(connection)
        answer(connection)

    server(talk)
    assert run_on_server(REQUEST) is None


def test_a_request_that_is_too_long_is_not_sent(server):
    server(greet)
    assert run_on_server([*REQUEST, "x" * MAX_BYTES]) is None


def test_a_silent_server_is_left(server, monkeypatch):
    monkeypatch.setattr("lisa_micro.cli.server.client.GREETING_S", 0.1)
    left = threading.Event()
    server(lambda connection: left.wait(30))
    assert run_on_server(REQUEST) is None
    left.set()


def test_a_turn_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr("lisa_micro.cli.server.client.TURN_S", 0.1)
    got = []

    def talk(connection):
        greet(connection)
        receive(connection)
        got.append(connection.recv(1))  # the end, and no "go"

    server(talk)
    assert run_on_server(REQUEST) is None
    while not got:
        pass
    assert got == [b""]


def test_a_leftover_is_removed_and_a_socket_in_use_is_not(runtime):
    path = Path(place.socket_path(str(runtime)))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    held = place.lock(str(runtime))
    assert run_on_server(REQUEST) is None
    assert path.exists()
    os.close(held)
    assert run_on_server(REQUEST) is None
    assert not path.exists()


def test_what_belongs_to_another_user_is_not_used(server, runtime, monkeypatch):
    server(lambda connection: None)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(place.PlaceError, match="another user"):
        place.check_folder(str(runtime))
    monkeypatch.setattr(place, "check_folder", lambda folder: None)
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(place.socket_path(str(runtime)))
            assert not place.is_own(connection)
    assert run_on_server(REQUEST) is None


def test_a_folder_that_is_a_link_is_not_used(runtime):
    runtime.rmdir()
    (runtime.parent / "elsewhere").mkdir(mode=0o700)
    runtime.symlink_to(runtime.parent / "elsewhere")
    with pytest.raises(place.PlaceError, match="not a folder"):
        place.make_folder(str(runtime))
    assert run_on_server(REQUEST) is None


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {}),
        (["chat", "film.tif"], {}),
        (["batch", "films", "x"], {}),
        (["--version"], {}),
        (["segment", "--help"], {}),
        ([*REQUEST, "--no-server"], {}),
        (REQUEST, {"LISA_MICRO_NO_SERVER": "1"}),
        (REQUEST, {"LISA_MICRO_DEBUG": "1"}),
    ],
)
def test_other_commands_do_not_look_for_a_server(runtime, monkeypatch, arguments, environment):
    assert wanted(REQUEST)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not wanted(arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": []},
        {"arguments": ["batch"]},
        {"arguments": ["segment", 3]},
        {"arguments": ["segment", "a\0b"]},
        {"folder": None},
        {"folder_id": [1]},
        {"environment": {"TERM": 3}},
        {"environment": []},
        {"umask": -1},
        {"umask": None},
        {"encodings": ["utf-8", "utf-8", "no such"]},
        {"encodings": ["utf-8"]},
    ],
)
def test_requests_are_checked(change):
    request = {
        "arguments": REQUEST,
        "folder": "/",
        "folder_id": [1, 2],
        "environment": {"TERM": "dumb", "PATH": "/elsewhere"},
        "umask": 0o22,
        "encodings": ["utf-8"] * 3,
    }
    assert Request.of(request).environment == {"TERM": "dumb"}
    with pytest.raises(MessageError):
        Request.of({**request, **change})


def test_looking_for_a_server_imports_nothing_but_the_standard_library(runtime):
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom lisa_micro.cli.main import main\n"
        "from lisa_micro.cli.server.client import run_on_server\n"
        "assert run_on_server(['segment', 'x']) is None\nprint(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in result.stdout.split()} - sys.stdlib_module_names
    assert found == {"lisa_micro"}
