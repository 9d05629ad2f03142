"""Commands beside a server, all in processes of their own; the model is a stand-in."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import termios

import pytest
from served import answered_by, ended, nameless, wait_until

FILM = "film.tif"

# ------------------------------------------------------------------------------------ with a server that stays


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_command_is_run_by_the_server_with_the_same_results(serving):
    own = serving.segment(FILM, "particles", "--out", "own", "--export", "roi", "--no-server")
    assert not serving.is_served(own)
    expected = files_of(serving.folder / "own")
    record = json.loads(nameless(expected.pop("answer.json").decode()))
    for name in ("served1", "served2"):
        result = serving.segment(FILM, "particles", "--out", name, "--export", "roi")
        assert serving.is_served(result)
        assert nameless(result.stdout).replace(name, "own") == nameless(own.stdout)
        assert result.stderr == own.stderr != ""
        found = files_of(serving.folder / name)
        assert json.loads(nameless(found.pop("answer.json").decode())) == record
        assert found == expected


def on_terminal(commands, *arguments) -> str:
    """Output of a command on a terminal 150 characters wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 150, 0, 0))
    environment = {"TERM": "xterm-256color", "COLUMNS": ""}
    process = commands.start("segment", *arguments, *commands.model, stdout=theirs, environment=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end has been closed
        pass
    os.close(ours)
    assert ended(process).returncode == 0
    return shown.decode()


def test_output_on_a_terminal_is_the_same(serving):
    served = on_terminal(serving, FILM, "particles", "--out", "terminal", "--force")
    own = on_terminal(serving, FILM, "particles", "--out", "terminal", "--force", "--no-server")
    assert f"(process {serving.server.pid})" in served and f"(process {serving.server.pid})" not in own
    assert nameless(served) == nameless(own)
    assert "\x1b[" in own  # colours


def test_the_folder_and_the_mode_of_new_files_are_those_of_the_command(serving):
    assert serving.is_served(serving.segment(FILM, "particles", umask=0o077))
    assert (serving.folder / "film-lisa" / "answer.json").stat().st_mode & 0o777 == 0o600
    assert serving.is_served(serving.segment(FILM, "x", "--out", "open", umask=0o022))
    assert (serving.folder / "open" / "answer.json").stat().st_mode & 0o777 == 0o644


def test_errors_are_those_of_the_command_and_end_no_server(serving):
    missing = serving.segment("none.tif", "particles")
    assert (missing.returncode, missing.stdout) == (2, "") and "none.tif does not exist" in missing.stderr
    broken = serving.segment(FILM, "crash", "--out", "errors")
    assert broken.returncode == 1 and "RuntimeError: something broke" in broken.stderr
    assert serving.segment(FILM, "leave", "--out", "errors").returncode == 1
    assert serving.segment(FILM, "particles", "--tiles", "many").returncode == 2
    assert serving.is_served(serving.segment(FILM, "particles", "--out", "errors"))
    again = serving.segment(FILM, "particles", "--out", "errors")
    assert again.returncode == 2 and "--force" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--preset", "stand-in"], {"LISA_MICRO_NO_SERVER": "1"}),
        (["--preset", "stand-in"], {"OMP_NUM_THREADS": "7"}),
        (["--preset", "stand-in", "--precision", "fp32"], {}),
        (["--preset", "other"], {}),
    ],
)
def test_a_command_that_wants_another_model_or_none_runs_by_itself(serving, arguments, environment):
    found = serving.run("segment", FILM, "x", "--force", "--out", "other", *arguments, environment=environment)
    assert not serving.is_served(found)


def test_commands_are_run_one_after_the_other(serving):
    first = serving.start("segment", FILM, "wait first", "--out", "a", *serving.model)
    wait_until((serving.folder / "first.started").exists)
    others = [serving.start("segment", FILM, "x", "--out", f"b{k}", *serving.model) for k in range(2)]
    (serving.folder / "first").touch()
    assert all(serving.is_served(ended(one)) for one in (first, *others))


def test_an_interrupt_stops_the_command_and_nothing_else(serving):
    running = serving.start("segment", FILM, "wait stop", "--out", "stopped", *serving.model)
    wait_until((serving.folder / "stop.started").exists)
    running.send_signal(signal.SIGINT)
    stopped = ended(running)
    assert (stopped.returncode, stopped.stdout) == (130, "")
    assert "Error" not in stopped.stderr and stopped.stderr.count("interrupted") <= 1
    wait_until((serving.folder / "stop.interrupted").exists)
    assert serving.is_served(serving.segment(FILM, "x", "--out", "after-stop"))


def test_a_client_that_is_killed_stops_its_command(serving):
    running = serving.start("segment", FILM, "wait here", "--out", "killed", *serving.model)
    wait_until((serving.folder / "here.started").exists)
    waiting = serving.start("segment", FILM, "wait there", "--out", "killed2", *serving.model)
    waiting.kill()
    running.kill()
    wait_until((serving.folder / "here.interrupted").exists)
    assert serving.is_served(serving.segment(FILM, "x", "--out", "after-kill"))
    assert "interrupted" not in running.communicate()[1]
    assert not (serving.folder / "killed" / "answer.json").exists()
    assert not (serving.folder / "killed2" / "answer.json").exists()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 1 << 31),
        struct.pack(">I", 4) + b"\xff\xfe\x00\x01",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 200_000) + b"[" * 200_000,
        struct.pack(">I", 14) + b'{"do": "run"} ',
        struct.pack(">I", 100) + b'{"do":',
        b"",
    ],
)
def test_garbage_on_the_socket_is_ignored(serving, sent):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(serving.socket))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(4096):  # the greeting, then the end
                pass
        except ConnectionResetError:
            pass
    assert serving.server.poll() is None
    assert serving.run("serve", "--status").returncode == 0


def test_only_the_user_can_reach_the_socket(serving):
    assert serving.socket.stat().st_mode & 0o777 == 0o600
    assert serving.socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_second_server_and_another_environment_are_told(serving):
    second = serving.run("serve", *serving.model)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert f"process {serving.server.pid}" in second.stderr
    other = serving.run("serve", "--status", environment={"OMP_NUM_THREADS": "7"})
    assert "OMP_NUM_THREADS" in other.stderr and "Used by" not in other.stdout


# -------------------------------------------------------------------------------------- servers that come and go


def test_status_and_stop(commands):
    for option in ("--status", "--stop"):
        none = commands.run("serve", option)
        assert (none.returncode, none.stderr.count("\n")) == (2, 1) and "No server is running" in none.stderr
    server = commands.serve()
    shown = commands.run("serve", "--status").stdout
    assert f"process {server.pid}" in shown and "stand-in" in shown and "Used by" in shown
    assert commands.run("serve", "--stop").stdout == "The server has ended.\n"
    assert ended(server).returncode == 0
    assert not commands.socket.exists()


def test_a_server_that_is_killed_is_replaced_by_the_command_itself(commands):
    server = commands.serve()
    running = commands.start("segment", FILM, "wait here", "--out", "a", *commands.model)
    wait_until((commands.folder / "here.started").exists)
    waiting = commands.start("segment", FILM, "x", "--out", "b", *commands.model)
    server.kill()
    server.wait()
    (commands.folder / "here").touch()
    assert answered_by(ended(running)) == running.pid
    assert answered_by(ended(waiting)) == waiting.pid
    commands.segment("none.tif", "x")
    assert not commands.socket.exists()  # a leftover
    assert commands.serve().pid != server.pid


def test_a_server_that_is_told_to_stop_finishes_its_command(commands):
    server = commands.serve()
    running = commands.start("segment", FILM, "wait here", *commands.model)
    wait_until((commands.folder / "here.started").exists)
    server.terminate()
    (commands.folder / "here").touch()
    assert answered_by(ended(running)) == server.pid
    assert ended(server).returncode == 0


def test_an_idle_server_ends(commands):
    server = commands.start("serve", *commands.model, "--idle", "0.001")
    assert ended(server).returncode == 0
    assert not commands.socket.exists()


def test_a_preset_that_was_trained_further_is_not_used(commands):
    preset = commands.folder / "mine"
    preset.mkdir()
    (preset / "config.json").write_text("{}")
    commands.model = ("--preset", "./mine")
    commands.serve()
    assert commands.is_served(commands.segment(FILM, "particles"))
    (preset / "lora.safetensors").write_bytes(b"new")
    assert not commands.is_served(commands.segment(FILM, "particles", "--force"))


@pytest.mark.parametrize("what", ["file", "open", "long"])
def test_a_folder_that_cannot_be_used_is_one_sentence_and_commands_do_without(commands, what):
    runtime = commands.runtime / ("x" * 120 if what == "long" else "run")
    if what == "file":
        runtime.write_text("")
    elif what == "open":
        (runtime / "lisa-micro").mkdir(parents=True)
        (runtime / "lisa-micro").chmod(0o755)
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    refused = commands.run("serve", *commands.model, environment=environment)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert str(runtime) in refused.stderr and "XDG_RUNTIME_DIR" in refused.stderr
    assert commands.segment(FILM, "x", environment=environment).returncode == 0
