"""The page and the tool that find all that is like examples, with a stand-in for the model."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import pytest
from app_requests import LIMITS, opened
from app_server import running
from gradio_client import Client
from stand_in_app import SQUARES, StandIn, film

from lisa_micro.exemplar import parse_exemplar
from lisa_micro.types import InputError
from lisa_micro_app import exports_like, handlers
from lisa_micro_app.state import like as liking
from lisa_micro_app.state.session import Upload
from lisa_micro_app.views.like import like_measures, like_view

STAND_IN = StandIn


def find(user, queue, like, unlike=(), words=""):
    drawn = json.dumps({"like": [list(b) for b in like], "unlike": [list(b) for b in unlike]})
    for _ in liking.find(user, queue, words, drawn, LIMITS):
        pass
    return liking.current(user)


def test_boxes_find_and_further_boxes_correct(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    found = find(user, queue, [SQUARES[0]])
    assert found.segment.count == 3 and liking.sentence(found) == "Found 3 objects like the example."
    view = like_view(user, LIMITS)
    assert view["layer"]["count"] == 3 and view["text"] == liking.sentence(found) and view["notice"] == ""
    assert len(like_measures(user, LIMITS)["table"]["rows"]) == 3
    less = find(user, queue, [SQUARES[0]], [SQUARES[2]])
    assert less.segment.count == 2 and (less.exemplar.like, less.exemplar.unlike) == (1, 1)
    assert find(user, queue, [SQUARES[0]], words="the largest").segment.where == "largest 1"
    handlers.open_sample(user, queue, "isolated_tem", LIMITS)
    assert liking.current(user) is None and like_view(user, LIMITS)["layer"] is None


def test_an_exemplar_is_downloaded_and_serves_another_micrograph(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    found = find(user, queue, [SQUARES[0]], words="the largest")
    url = exports_like.put_exemplar(user, found.exemplar)
    content = user.asset(url.rsplit("/", 1)[1]).content.read_bytes()
    assert parse_exemplar(json.loads(content)).like == 1
    archive = zipfile.ZipFile(exports_like.pack_alike(user, found, queue))
    assert {"repeat.sh", "exemplar.json", "alike/labels.tif", "alike/answer.json", "input/film.tif"} <= set(
        archive.namelist()
    )
    script = archive.read("repeat.sh").decode()
    assert "lisa-micro segment input/film.tif 'the largest' --like exemplar.json" in script
    handlers.clear(user)
    assert user.like.found is None
    opened(user, queue, tmp_path)
    path = user.new_file(".json")
    path.write_bytes(content)
    user.uploads["k"] = Upload(path, "mine.json", "exemplar")
    assert liking.read_upload(user, "k") == "mine.json: learnt from 1 box on film.tif."
    again = find(user, queue, [])
    assert again.segment.count == 3 and again.exemplar.like == 1
    liking.unload(user)
    with pytest.raises(InputError, match="Draw at least one box"):
        find(user, queue, [])


def test_bad_examples_are_told_in_a_sentence_and_leave_the_result(user, queue, tmp_path):
    with pytest.raises(InputError, match="Open a micrograph first"):
        find(user, queue, [SQUARES[0]])
    opened(user, queue, tmp_path)
    before = find(user, queue, [SQUARES[0]])
    for like, unlike, said in (
        ([[200, 200, 220, 220]], [], "outside the image"),
        ([SQUARES[0]], [SQUARES[0]], "both as like and as unlike"),
        ([[1, 1, 5, 5]] * 500, [], "boxes are too many"),
    ):
        with pytest.raises(InputError, match=said):
            find(user, queue, like, unlike)
    for drawn in ("{", "[" * 100_000, "[]", '{"like": 5}'):
        with pytest.raises(InputError, match="could not be read"):
            next(liking.find(user, queue, "", drawn, LIMITS))
    path = user.new_file(".json")
    path.write_text("{}")
    user.uploads["k"] = Upload(path, "wrong.json", "exemplar")
    with pytest.raises(InputError, match=r"^wrong\.json is not an exemplar"):
        liking.read_upload(user, "k")
    assert liking.current(user) is before and not path.exists()


def test_programs_find_by_examples_and_pass_the_exemplar_on(tmp_path):
    with running() as url:
        client = Client(url, verbose=False)
        session = client.predict(api_name="/open_session")

        def send(content, kind, name):
            sent = httpx.post(url + session["upload"], params={"kind": kind, "name": name}, content=content, timeout=60)
            return sent.json()["key"]

        image = send(film(tmp_path / "film.tif").read_bytes(), "image", "film.tif")
        first = client.predict(session["session"], image, [list(SQUARES[0])], [list(SQUARES[2])], api_name="/find_like")
        assert first["count"] == 2 and first["found"] and len(first["table"]["rows"]) == 2
        file = httpx.get(url + first["exemplar_file"], timeout=60).content
        assert parse_exemplar(json.loads(file)).unlike == 1
        again = client.predict(session["session"], image, exemplar=first["exemplar"], api_name="/find_like")
        assert again["text"] == "Found 3 objects like the example."  # the stand-in looks at the boxes alone
        uploaded = send(file, "exemplar", "mine.json")
        assert client.predict(session["session"], image, exemplar=uploaded, api_name="/find_like")["count"] == 3
        with pytest.raises(Exception, match="Draw at least one box"):
            client.predict(session["session"], image, api_name="/find_like")
        assert io.BytesIO(httpx.get(url + first["labels"], timeout=60).content).getbuffer().nbytes > 100
