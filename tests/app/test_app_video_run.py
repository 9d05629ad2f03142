"""Tracking on the page Video, without a browser: a stand-in for the model finds squares with known tracks."""

from __future__ import annotations

import io
import json
import shlex
import threading
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from stand_in_video import FRAMES, LIMITS, Watching, follow, opened, picture, shaped_stack, speaking, stack, zipped

from lisa_micro.types import InputError
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.state import current_video, video_archive, video_run
from lisa_micro_app.views import video_charts, video_views
from lisa_micro_app.views.video_frames import served

STAND_IN = Watching

# ------------------------------------------------------------------------------------------------- what was followed


def test_particles_keep_their_identity_and_events_are_found(user, queue):
    opened(user)
    told = follow(user, queue)
    assert told[-1].total == FRAMES
    run = user.video.run
    assert run.whole and queue.assistant.seen == list(range(FRAMES)) and len(run.tracks) == FRAMES
    view = video_views.run_view(user, LIMITS)["run"]
    assert {k["kind"]: k["number"] for k in view["kinds"]} == {"contact": 1, "neck": 1, "coalesce": 1}
    assert ["at start", 3] in view["facts"] and ["at end", 2] in view["facts"]
    row = next(row for row in view["events"]["rows"] if row["text"][0] == "coalesce")
    assert row["frame"] == 4 and row["text"][1:] == ["4", "2", "1, 2", "4"] and row["who"] == [4]
    third = view["tracks"]["rows"][2]
    assert third["text"][:2] == ["3", "0 to 5"] and third["text"][-1] == "present at the end"
    facts = json.loads(served(user, run.key, "5.json")[0])
    assert facts["boxes"]["3"] == [35, 20, 43, 34] and ["formed from", "1 and 2"] in facts["lines"]["4"]
    assert facts["lines"]["3"][1] == ["area", "28 nm²"]
    labels = np.asarray(Image.open(io.BytesIO(served(user, run.key, "5.png")[0]))).astype(int)
    assert set(np.unique(labels[..., 0])) == {0, 3, 4} and labels[25, 40, 0] == 3
    shown = video_views.video_view(user, LIMITS)["run"]
    assert set(shown["colours"]) == {"1", "2", "3", "4"} and shown["colours"]["1"] != shown["colours"]["2"]
    assert [mark["frame"] for mark in shown["marks"] if mark["kind"] == "coalesce"] == [4]


def test_plots_are_drawn_of_every_run(user, queue):
    opened(user)
    follow(user, queue)
    tracks = user.video.run.tracks
    timeline, necks, sizes = (draw(tracks) for draw in (video_charts.timeline, video_charts.necks, video_charts.sizes))
    points = next(trace for trace in timeline.data if trace.name == "coalesce")
    assert list(points.x) == [2.0] and points.text[0].startswith("coalesce: 1, 2 ->")
    assert [trace.name for trace in necks.data] == ["1 and 2"]  # too short to be fitted: as measured
    number = next(trace for trace in sizes.data if trace.name == "number")
    assert list(number.y) == [3, 3, 3, 3, 2, 2] and "nm" in sizes.layout.yaxis.title.text


# ------------------------------------------------------------------------------------------------ stopping, going on


def begin(user, queue, gate: int, words="follow all particles"):
    """Track in a thread until a frame is reached; return the thread, and its progress or error."""
    watching = queue.assistant
    watching.gates[gate] = threading.Event()
    watching.reached.clear()
    told: list = []

    def work():
        try:
            for progress in video_run.track_video(user, queue, words, LIMITS):
                told.append(progress)
        except InputError as error:
            told.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert watching.reached.wait(20)
    return thread, told


def test_a_stopped_run_shows_what_was_done_and_goes_on_with_the_same_result(user, queue, sessions):
    opened(user)
    thread, told = begin(user, queue, 3)
    deadline = time.monotonic() + 20
    while told[-1].done < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told[-1].done == 3 and told[-1].total == FRAMES and told[-1].left is not None
    with pytest.raises(InputError, match="being processed"):
        follow(user, queue)
    with pytest.raises(InputError, match="being processed"):
        opened(user)
    with pytest.raises(InputError, match="being processed"):
        current_video.set_frame_time(user, "3")
    assert video_run.stop(user)
    queue.assistant.gates[3].set()
    thread.join(20)
    run, partial = user.video.run, video_run.unfinished(user.video)
    assert not run.whole and 3 <= len(run.tracks) <= 4 and partial.frames == len(run.tracks)
    view = video_views.run_view(user, LIMITS)
    assert view["partial"].startswith(f"{partial.frames} of 6 frames") and "of 6 frames" in view["run"]["notes"][0]
    assert served(user, run.key, "2.png") and served(user, run.key, "5.png") is None
    seen = len(queue.assistant.seen)
    told = list(video_run.resume(user, queue, LIMITS))
    assert all(progress.done >= 1 for progress in told if progress.stage.startswith("Frame"))
    assert queue.assistant.seen[seen:] == [4, 5]  # frame 3 was looked at while it was stopped, and is kept too
    whole = user.video.run
    assert whole.whole and video_run.unfinished(user.video) is None
    other = sessions.get("two")
    opened(other)
    follow(other, queue)
    assert whole.tracks.tracks.equals(other.video.run.tracks.tracks)
    assert whole.tracks.events.equals(other.video.run.tracks.events)
    with pytest.raises(InputError, match="no run to resume"):
        list(video_run.resume(user, queue, LIMITS))


def test_another_frame_time_needs_no_new_look_and_another_pixel_size_does(user, queue):
    opened(user)
    follow(user, queue)
    current_video.set_frame_time(user, "3")
    assert any("press “Track”" in note for note in video_views.run_view(user, LIMITS)["run"]["notes"])
    follow(user, queue)
    run = user.video.run
    assert len(queue.assistant.seen) == FRAMES and run.tracks.events["time_s"].max() == 12.0
    current_video.set_pixel_size(user, "1")
    follow(user, queue)
    assert len(queue.assistant.seen) == 2 * FRAMES and user.video.run.tracks.pixel_size_nm == 1.0
    follow(user, queue, "other words")
    assert len(queue.assistant.seen) == 3 * FRAMES


def test_a_defect_in_a_frame_is_told_and_what_was_done_is_kept(user, queue):
    opened(user)
    with pytest.raises(InputError, match="Internal error"):
        follow(user, queue, "break")
    assert video_run.unfinished(user.video).frames == 3 and user.video.run is None
    follow(user, queue)
    assert user.video.run.whole


def test_a_run_that_takes_too_long_is_stopped_and_kept(user, queue):
    opened(user)
    with pytest.raises(InputError, match="Resume"):
        follow(user, queue, limits=replace(LIMITS, video_seconds=0.0))
    with pytest.raises(InputError, match="Say what|empty|words"):
        follow(user, queue, "  ")


def test_short_requests_are_answered_between_the_frames_of_a_video(user, sessions, queue):
    opened(user)
    thread, told = begin(user, queue, 2)
    other = sessions.get("two")
    short = queue.submit(lambda job: len(queue.assistant.seen))
    waiting = queue.submit(lambda job: None, long_seconds=10)
    queue.assistant.gates[2].set()
    assert short.wait(20) and short.result == 3  # after the frame that was being looked at, not after the video
    thread.join(20)
    assert waiting.wait(20) and user.video.run.whole and other.video.run is None


def test_closing_the_session_stops_its_video_and_leaves_nothing(user, sessions, queue):
    opened(user)
    thread, _ = begin(user, queue, 2)
    sessions.end("one")
    queue.assistant.gates[2].set()
    thread.join(20)
    queue.submit(lambda job: None).wait(20)
    assert queue.assistant.seen[-1] == 2 and not user.folder.exists()


def test_users_do_not_see_each_others_videos(user, sessions, queue):
    mine = opened(user)
    follow(user, queue)
    other = sessions.get("two")
    run = user.video.run
    assert served(other, mine.key, "0.jpg") is None and served(other, run.key, "0.png") is None
    opened(other, stack(3), "other.tif")
    assert served(other, mine.key, "0.jpg") is None and video_views.run_view(other, LIMITS)["run"] is None


# ---------------------------------------------------------------------------------------------- questions, downloads


def test_questions_are_answered_from_what_was_measured(user):
    queue = JobQueue()
    queue.assistant = speaking()
    opened(user, shaped_stack())
    follow(user, queue)
    with pytest.raises(InputError):
        list(video_run.ask_video(user, queue, " ", LIMITS))
    list(video_run.ask_video(user, queue, "how many are present at the end?", LIMITS))
    view = video_views.questions_view(user)
    assert view["turns"][0]["text"].startswith("There are 2 particles") and view["ready"]
    assert view["turns"][0]["prompt"] == "how many are present at the end?"
    follow(user, queue, "follow them again")
    assert video_views.questions_view(user)["turns"] == []  # about what is no longer there
    queue.close()


def test_a_model_that_cannot_be_asked_says_so_and_nothing_can_be_asked_of_nothing(user, queue):
    opened(user)
    with pytest.raises(InputError, match="Press “Track” first"):
        list(video_run.ask_video(user, queue, "how many?", LIMITS))
    follow(user, queue)
    with pytest.raises(InputError, match="cannot answer questions"):
        list(video_run.ask_video(user, queue, "how many?", LIMITS))
    assert not user.video.busy


def test_the_download_holds_what_the_command_writes_and_the_command(user, queue):
    with pytest.raises(InputError, match="Nothing to download"):
        video_archive.pack_video(user, "micro")
    opened(user, name="a 'b'; rm -rf $HOME.tif")
    current_video.set_frame_time(user, "2")
    follow(user, queue, "follow 'all' $(particles)")
    path = video_archive.pack_video(user, "micro")
    archive = zipfile.ZipFile(path)
    names = set(archive.namelist())
    wanted = ("tracks.csv", "events.csv", "necks.csv", "growth.csv", "sizes.csv", "labels.tif", "lineage.json")
    wanted += ("answer.json", "overlay.mp4", "timeline.png", "plots.html", "ctc/res_track.txt")
    assert {f"results/{name}" for name in wanted} <= names and not any("part" in name for name in names)
    video_name = next(name for name in names if name.startswith("input/"))
    assert archive.read(video_name) == stack()
    script = archive.read("repeat.sh").decode()
    line = next(line for line in script.splitlines() if line.startswith("lisa-micro"))
    words = shlex.split(line)
    assert words[-2:] == [video_name, "follow 'all' $(particles)"] and words[1] == "track"
    assert "--frame-time 2" in line and "--pixel-size" not in line
    assert user.folder.name not in script + archive.read("results/answer.json").decode()
    assert json.loads(archive.read("results/answer.json"))["video"]["source"] == "a 'b'; rm -rf $HOME.tif"
    assert video_archive.pack_video(user, "micro") == path  # not drawn twice
    path.unlink()
    assert video_archive.pack_video(user, "micro").is_file()


def test_a_zip_of_frames_comes_back_as_a_folder_and_its_command_reads_it(user, queue):
    opened(user, zipped({f"f{t}.png": picture(t) for t in (2, 10)}), "my frames.zip")
    follow(user, queue)
    archive = zipfile.ZipFile(video_archive.pack_video(user, "other"))
    assert {"input/my_frames/frame000000.png", "input/my_frames/frame000001.png"} <= set(archive.namelist())
    script = archive.read("repeat.sh").decode()
    assert "--preset other -- input/my_frames " in script
