"""The API for videos as documented in docs/api.md: tracking, questions, and separate sessions."""

from __future__ import annotations

import ast
import asyncio
import io
import zipfile
from dataclasses import replace

import httpx
import numpy as np
import pandas as pd
import pytest
import tifffile
from app_server import language_model, running
from gradio_client import Client
from stand_in_video import FRAMES, LIMITS, SHAPE, Watching, picture, shaped_stack, speaking, stack, zipped
from test_app_api import DOCS, run_from_docs, send

from lisa_micro.types import InputError
from lisa_micro_app.api import videos as program_videos
from lisa_micro_app.handlers import safe_suffix
from lisa_micro_app.state.session import Upload
from lisa_micro_app.state.video_files import SAMPLES

STAND_IN = Watching
WORDS = "follow all particles"


@pytest.fixture(scope="module")
def url():
    with running(load=speaking) as address:
        yield address


@pytest.fixture
def client(url):
    return Client(url, verbose=False)


def column(table, name):
    return [row[table["columns"].index(name)] for row in table["rows"]]


# ------------------------------------------------------------------------------------------------ through the API


def test_the_program_in_the_docs_runs_as_it_stands(url, tmp_path, monkeypatch, capsys):
    (tmp_path / "film.tif").write_bytes(shaped_stack())
    monkeypatch.chdir(tmp_path)
    run_from_docs("videos", url)
    said = capsys.readouterr().out
    assert "6 frames, 3 particles at first and 2 at last" in said and "coalesce [1, 2] -> [4] at 2.0 s" in said
    assert "There are 2 particles" in said and "count at end 2" in said
    with zipfile.ZipFile(tmp_path / "film.zip") as archive:
        names = set(archive.namelist())
        wanted = ("tracks.csv", "events.csv", "necks.csv", "growth.csv", "labels.tif", "answer.json", "overlay.mp4")
        assert {f"results/{name}" for name in wanted} <= names
        assert "--preset known" in archive.read("repeat.sh").decode()


def test_a_video_is_followed_and_asked_about(url, client):
    session = client.predict(api_name="/open_session")
    assert session["video_samples"] == list(SAMPLES)
    token = session["session"]
    key = send(url, session, shaped_stack(), "film.tif", "video")
    with pytest.raises(Exception, match="call track first"):
        client.predict(token, "how many?", api_name="/ask_video")
    made = client.predict(token, key, WORDS, rows=2, api_name="/track")
    assert made["whole"] and made["frames"] == made["frames_in_video"] == FRAMES and made["archive"] is None
    assert (made["pixel_size_nm"], made["frame_time_s"], made["frame_size_px"]) == (0.5, 0.5, [64, 48])
    assert (made["what"], made["followed"], made["count_first"], made["count_last"]) == ("particle", 4, 3, 2)
    assert made["event_counts"]["coalesce"] == 1 and made["name"] == "film.tif"
    assert made["tracks"]["rows_left_out"] == 2 and column(made["tracks"], "first_diameter_nm")[0] > 5
    assert column(made["necks"], "particle_a") == [1] and column(made["necks"], "frames") == [4]
    assert {"a", "b", "n", "n_low", "n_high"} <= set(made["growth"]["columns"])
    assert [name for name in (*made["files"], "events", "tracks", "necks") if f"`{name}`" not in DOCS.read_text()] == []
    tracks = pd.read_csv(io.StringIO(httpx.get(url + made["files"]["tracks.csv"]).text))
    assert len(tracks) == 3 * 4 + 2 * 2 and set(made["files"]) >= {"events.csv", "necks.csv", "growth.csv"}
    labels = tifffile.imread(io.BytesIO(httpx.get(url + made["files"]["labels.tif"]).content))
    assert labels.shape == (FRAMES, *SHAPE) and set(np.unique(labels[5])) == {0, 3, 4}

    told = client.predict(token, "how many are there at the end?", api_name="/ask_video")
    assert told["text"].startswith("There are 2 particles") and told["video"] == made["video"]
    assert [(value["value"], value["unit"]) for value in told["values"]] == [(2, "")]
    assert told["frames"] == [FRAMES - 1] and told["meant"][0]["what"] == "particles"

    slower = client.predict(token, made["video"], WORDS, 1.0, 2.0, api_name="/track")
    assert (slower["pixel_size_nm"], slower["frame_time_s"]) == (1.0, 2.0)
    when = dict(zip(column(slower["events"], "kind"), column(slower["events"], "time_s"), strict=True))
    assert when["coalesce"] == 8.0
    assert httpx.get(url + made["files"]["labels.tif"]).status_code == 404  # of the replaced run
    assert httpx.get(url + slower["files"]["labels.tif"]).status_code == 200


def test_what_is_wrong_is_said_in_a_sentence(url, client):
    session = client.predict(api_name="/open_session")
    key = send(url, session, shaped_stack(), "film.tif", "video")
    image = send(url, session, shaped_stack(), "film.tif", "image")
    for name in ("/etc/passwd", "http://127.0.0.1/film.tif", "nothing", "", image):
        with pytest.raises(Exception, match="did not arrive; send it with .kind=video, or give the name of a sample"):
            client.predict(session["session"], name, WORDS, api_name="/track")
    with pytest.raises(Exception, match="no such session"):
        client.predict("guessed", key, WORDS, api_name="/track")
    with pytest.raises(Exception, match="no such session"):
        client.predict("guessed", "how many?", api_name="/ask_video")
    for sizes in ((-1, None), (None, -1)):
        with pytest.raises(Exception, match="positive"):
            client.predict(session["session"], key, WORDS, *sizes, api_name="/track")
    with pytest.raises(Exception, match="[Ww]ords|empty"):
        client.predict(session["session"], key, " ", api_name="/track")
    broken = send(url, session, b"no video", "film.mp4", "video")
    with pytest.raises(Exception, match=r"film\.mp4") as caught:
        client.predict(session["session"], broken, WORDS, api_name="/track")
    assert "/tmp" not in str(caught.value)
    assert client.predict(session["session"], key, WORDS, api_name="/track")["whole"]  # it is still open


def test_sessions_keep_apart(url, client):
    one, other = (client.predict(api_name="/open_session") for _ in range(2))
    key = send(url, one, shaped_stack(), "film.tif", "video")
    with pytest.raises(Exception, match="did not arrive"):
        client.predict(other["session"], key, WORDS, api_name="/track")
    made = client.predict(one["session"], key, WORDS, api_name="/track")
    with pytest.raises(Exception, match="did not arrive"):
        client.predict(other["session"], made["video"], WORDS, api_name="/track")
    with pytest.raises(Exception, match="call track first"):
        client.predict(other["session"], "how many?", api_name="/ask_video")
    address = made["files"]["tracks.csv"]
    assert httpx.get(url + address.replace(one["session"], other["session"])).status_code == 404
    client.predict(one["session"], api_name="/close_session")
    assert httpx.get(url + address).status_code == 404


def test_language_models_follow_and_ask(url):
    async def talk():
        async with language_model(url) as (_, call):
            _, text = await call("open_session")
            opened = ast.literal_eval(text)
            key = send(url, opened, shaped_stack(), "film.tif", "video")
            token = opened["session"]
            failed, text = await call("track", session=token, video=key, words=WORDS)
            assert not failed and ast.literal_eval(text)["count_last"] == 2
            failed, text = await call("ask_video", session=token, question="how many at the end?")
            assert not failed and ast.literal_eval(text)["values"][0]["value"] == 2
            failed, text = await call("track", session=token, video="../../etc/passwd", words=WORDS)
            assert failed and "did not arrive" in text

    asyncio.run(talk())


# ---------------------------------------------------------------------------------------------- without a server


def sent(user, content, name="film.tif", key="key"):
    path = user.new_file(safe_suffix(name))
    path.write_bytes(content)
    user.uploads[key] = Upload(path, name, "video")
    return key


def track(user, queue, name, words=WORDS, limits=LIMITS, **sizes):
    request = program_videos.TrackRequest(name, words, **sizes)
    return program_videos.track(user, queue, limits, request)


def test_the_same_again_is_not_followed_anew(user, queue):
    key = sent(user, stack())
    first = track(user, queue, key)
    again = track(user, queue, key)
    assert queue.assistant.seen == list(range(FRAMES)) and again["files"] == first["files"]
    track(user, queue, first["video"], frame_time_s=2)
    assert len(queue.assistant.seen) == FRAMES
    track(user, queue, key, "others")
    assert len(queue.assistant.seen) == 2 * FRAMES
    links = [path for path in user.folder.iterdir() if ".tracks.csv" in path.name]
    assert len(links) == 1  # those of earlier runs are removed


def test_one_video_at_a_time(user, queue):
    first = track(user, queue, sent(user, stack()))
    frames = zipped({f"f{t}.png": picture(t) for t in (2, 10)})
    second = track(user, queue, sent(user, frames, "frames.zip", "zip"))
    assert second["frames"] == 2 and second["pixel_size_nm"] is None and second["frame_time_s"] is None
    assert any("frame time is unknown" in note for note in second["notes"])
    assert "first_diameter_px" in second["tracks"]["columns"]
    for name in ("key", first["video"]):
        with pytest.raises(InputError, match="has replaced"):
            track(user, queue, name)
    assert track(user, queue, "zip")["video"] == second["video"]
    with pytest.raises(InputError, match="cannot answer questions"):
        program_videos.ask(user, queue, LIMITS, "how many?")
    lock = user.programs.working
    with lock, pytest.raises(InputError, match="being processed; wait for it"):
        track(user, queue, "zip")


def test_where_time_runs_out_there_are_some_frames_and_the_same_request_goes_on(user, queue):
    class Late:
        def wait(self, seconds):
            user.video.job.seconds = 0.0

    queue.assistant.gates[3] = Late()
    key = sent(user, stack())
    part = track(user, queue, key)
    assert not part["whole"] and 3 <= part["frames"] < FRAMES == part["frames_in_video"]
    assert "send the same request again" in part["notes"][0] and "Resume" not in str(part["notes"])
    seen = len(queue.assistant.seen)
    rest = track(user, queue, key)
    assert rest["whole"] and rest["frames"] == FRAMES and 0 < len(queue.assistant.seen) - seen < 3
    with pytest.raises(InputError, match="send the same request again"):
        track(user, queue, key, "others", limits=replace(LIMITS, video_seconds=0.0))


def test_nothing_in_a_video_is_an_answer_too(user, queue, monkeypatch):
    monkeypatch.setattr("stand_in_video.moved", lambda t: ())
    made = track(user, queue, sent(user, stack()))
    assert made["followed"] == made["count_first"] == made["count_last"] == 0 and made["event_counts"] == {}
    assert made["tracks"]["rows"] == made["necks"]["rows"] == made["growth"]["rows"] == []
    assert any("Nothing that the request means" in note for note in made["notes"])
