"""The job queue, sessions and the start of the app."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from app_requests import LIMITS, ask, opened
from stand_in_app import StandIn

from lisa_micro.types import InputError
from lisa_micro_app import handlers
from lisa_micro_app.__main__ import main
from lisa_micro_app.jobs import Cancelled, JobQueue
from lisa_micro_app.limits import SAMPLES
from lisa_micro_app.serve import AppSettings, parse_users
from lisa_micro_app.state import session
from lisa_micro_app.state.session import Sessions

STAND_IN = StandIn

# -------------------------------------------------------------------------------------------------------- queue


def test_the_desk_takes_only_so_many_and_gives_up_what_takes_too_long():
    queue, gate = JobQueue(waiting=2, seconds=0.15), threading.Event()
    first = queue.submit(lambda job: gate.wait(5))
    while first.started is None:
        time.sleep(0.01)
    second, third = queue.submit(lambda job: 2), queue.submit(lambda job: 3)
    assert (second.place, third.place) == (1, 2)
    with pytest.raises(InputError, match="Too many requests"):
        queue.submit(lambda job: 4)
    assert queue.submit(lambda job: 5, background=True).cancelled
    second.cancel()
    gate.set()
    assert third.wait(5) and third.result == 3 and second.result is None

    def long(job):
        while True:
            job.step("working")
            time.sleep(0.02)

    job = queue.submit(long)
    assert job.wait(5) and "took longer" in str(job.error)
    queue.close()


def test_requests_wait_for_the_model_and_are_told_when_it_cannot_be_loaded(capsys):
    def fails():
        raise InputError("no preset called 'x'")

    queue = JobQueue(load=fails)
    job = queue.submit(lambda job: 1)
    assert job.wait(5) and "no preset" in str(job.error) and queue.state == "failed"
    queue.close()
    gate = threading.Event()
    queue = JobQueue(load=lambda: gate.wait(5) and StandIn())
    job = queue.submit(lambda job: queue.assistant.preset)
    assert queue.state == "loading" and not job.wait(0.05)
    gate.set()
    assert job.wait(5) and job.result == "micro" and queue.state == "ready"
    queue.close()
    with pytest.raises(Cancelled):
        job.cancel()
        job.step("x")


# ---------------------------------------------------------------------------------------------------- sessions


def test_sessions_end_with_their_files_and_keep_apart():
    now = [0.0]
    sessions = Sessions(replace(LIMITS, sessions=2), clock=lambda: now[0])
    one, two = sessions.get("one"), sessions.get("two")
    with pytest.raises(InputError, match="Too many sessions"):
        sessions.get("three")
    file = one.new_file(".tif")
    file.write_bytes(b"x")
    url = one.put(b"picture", "image/png")
    assert two.asset(url.rsplit("/", 1)[1]) is None and sessions.by_token(one.token) is one
    sessions.leave("one")
    now[0] = LIMITS.leave_seconds - 1
    assert sessions.sweep() == 0
    sessions.get("one")  # the page came back
    now[0] += LIMITS.leave_seconds + 1
    assert sessions.sweep() == 0
    sessions.leave("one")
    now[0] += LIMITS.leave_seconds + 1
    assert sessions.sweep() == 1
    assert not one.folder.exists() and sessions.by_token(one.token) is None
    now[0] += LIMITS.idle_seconds + 1
    assert sessions.sweep() == 1
    root = sessions.root
    sessions.close()
    assert not root.exists()


def test_folders_of_killed_apps_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(session.tempfile, "gettempdir", lambda: str(tmp_path))
    gone, other = tmp_path / "lisa-micro-app-999999999-x", tmp_path / "lisa-micro-app-mine"
    gone.mkdir()
    other.mkdir()
    session.remove_leftovers()
    assert not gone.exists() and other.exists()


def test_old_assets_go_when_there_are_many(user):
    first = user.put(b"0", "image/png", key="first")
    for k in range(200):
        user.put(str(k).encode(), "image/png")
    assert user.asset(first.rsplit("/", 1)[1]) is None


def test_clear_leaves_nothing(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    handlers.clear(user)
    assert user.state.pictures == () and user.state.turns == () and list(user.folder.iterdir()) == []
    assert user.conversation is None


# --------------------------------------------------------------------------------------------- starting the app


def test_options(capsys):
    assert parse_users([]) is None
    assert parse_users(["a:b:c"], "d:e") == [("a", "b:c"), ("d", "e")]
    for wrong in ("a", "a:", ":b"):
        with pytest.raises(InputError, match="USER:PASSWORD"):
            parse_users([wrong])
    assert main(["--auth", "x"]) == 2 and main(["--upload-mib", "0"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_the_command_line_serves_the_app_in_its_own_process(monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr("lisa_micro_app.serve.serve", served.append)
    monkeypatch.setenv("LISA_MICRO_APP_AUTH", "c:d")
    options = ["--port", "9000", "--share", "--auth", "a:b", "--preset", "x", "--device", "cpu", "--upload-mib", "7"]
    assert main([*options, "--teach", str(tmp_path)]) == 0
    assert served == [
        AppSettings(
            port=9000, preset="x", device="cpu", share=True, auth=[("a", "b"), ("c", "d")], upload_mib=7, teach=tmp_path
        )
    ]


def test_samples_are_where_the_app_looks():
    assert (SAMPLES / "sintering_tem.tif").is_file()
