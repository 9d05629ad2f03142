"""The API as documented in docs/api.md, separate sessions, and the MCP tools."""

from __future__ import annotations

import ast
import asyncio
import io
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import tifffile
from app_server import language_model, running
from gradio_client import Client
from paths import ROOT
from stand_in_app import SQUARES, film, squares

from lisa_micro.correction.actions import Log
from lisa_micro.correction.replay import replay_log
from lisa_micro.types import InputError
from lisa_micro_app.api.endpoints import TOOLS
from lisa_micro_app.api.programs import Programs, table_record
from lisa_micro_app.jobs import JobQueue
from lisa_micro_app.state.session import Sessions

DOCS = ROOT / "docs" / "api.md"
SHAPE = (48, 64)


@pytest.fixture(scope="module")
def url():
    with running() as address:
        yield address


@pytest.fixture
def client(url):
    return Client(url, verbose=False)


def send(url, session, content, name="film.tif", kind="image"):
    answer = httpx.post(url + session["upload"], params={"kind": kind, "name": name}, content=content, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["key"]


def label_file(labels) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, labels)
    return buffer.getvalue()


PROGRAMS = ("micrographs", "videos")
"""Subjects of the programs in the docs, in order."""


def run_from_docs(about, url):
    """Run a program of the docs unchanged, except for the address."""
    programs = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(programs) == len(PROGRAMS)  # add a test for a new program
    program = programs[PROGRAMS.index(about)]
    assert program.count('"http://127.0.0.1:7860"') == 1
    exec(compile(program.replace("http://127.0.0.1:7860", url), str(DOCS), "exec"), {"__name__": "__main__"})


def test_the_program_in_the_docs_runs_as_it_stands(url, tmp_path, monkeypatch, capsys):
    film(tmp_path / "film.tif")
    monkeypatch.chdir(tmp_path)
    run_from_docs("micrographs", url)
    said = capsys.readouterr().out
    assert "Here are the particles of film.tif, 0." in said and "3 particles" in said
    assert "['Removed 2', 'Added 4'] Accepted: 1 removed, 1 added." in said
    before = tifffile.imread(tmp_path / "labels.tif").astype(np.int32)
    assert np.array_equal(before, squares(SHAPE))
    again = replay_log(before, Log.model_validate_json((tmp_path / "corrections.json").read_text()))
    assert np.array_equal(again.labels > 0, squares(SHAPE, (SQUARES[0], SQUARES[2], (40, 30, 50, 40))) > 0)


def test_the_docs_name_all_that_there_is(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(named) == [f"/{name}" for name in TOOLS]
    text = DOCS.read_text()
    for name, endpoint in named.items():
        assert f"| `{name}` |" in text
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert [p["parameter_name"] for p in endpoint["parameters"] if f"`{p['parameter_name']}`" not in row] == []


def test_a_session_is_used_by_its_token_alone_and_ends(url, client, tmp_path):
    one, other = (client.predict(api_name="/open_session") for _ in range(2))
    key = send(url, one, film(tmp_path / "f.tif").read_bytes())
    for session, image in ((other["session"], key), ("x" * 32, key), ("", "sintering_tem"), (one["session"], "a.tif")):
        with pytest.raises(Exception, match="did not arrive|no such session"):
            client.predict(session, image, "segment", api_name="/segment")
    answer = client.predict(one["session"], key, "segment", 0.25, 1, api_name="/segment")
    assert answer["pixel_size_nm"] == 0.25 and answer["segments"][0]["table"]["rows_left_out"] == 2
    follow_up = client.predict(one["session"], key, "and then", api_name="/segment")
    assert follow_up["reply"].endswith(", 1.") and follow_up["image"] == answer["image"]
    with pytest.raises(Exception, match="no such answer"):
        client.predict(other["session"], answer["answer"], api_name="/measure")
    overlay = httpx.get(url + answer["overlay"])
    assert overlay.headers["content-type"] == "image/png" and overlay.status_code == 200
    client.predict(one["session"], api_name="/close_session")
    assert httpx.get(url + answer["overlay"]).status_code == 404
    with pytest.raises(Exception, match="no such session"):
        client.predict(one["session"], key, "segment", api_name="/segment")


def test_labels_are_measured_and_compared(url, client, tmp_path):
    session = client.predict(api_name="/open_session")
    labels = label_file(squares(SHAPE).astype(np.uint16))
    key = send(url, session, labels, "t.tif", "truth")
    measured = client.predict(session["session"], None, 0, key, "", 0.5, 2, api_name="/measure")
    assert measured["count"] == 3 and measured["summary"]["mean_area_nm2"] == pytest.approx(26)
    assert measured["necks"] == 1 and len(measured["table"]["rows"]) == 2
    assert httpx.get(url + measured["csv"]).text.count("\n") == 4
    image = send(url, session, film(tmp_path / "f.tif").read_bytes())
    key = send(url, session, labels, "t.tif", "truth")
    compared = client.predict(session["session"], image, "segment", None, key, api_name="/compare")
    assert compared["against"] == "truth" and "truth" in compared["pictures"] and compared["sentence"]
    key = send(url, session, labels, "t.tif", "truth")
    with pytest.raises(Exception, match="same size"):
        client.predict(session["session"], None, 0, key, "sintering_tem", api_name="/measure")
    with pytest.raises(Exception, match="did not arrive"):
        client.predict(session["session"], None, 0, key, api_name="/measure")
    none = client.predict(session["session"], image, "none", api_name="/segment")
    assert none["found"] is False and none["segments"] == []
    with pytest.raises(Exception, match="0 segments"):
        client.predict(session["session"], none["answer"], api_name="/measure")


def test_corrections_are_done_all_or_none(client):
    session = client.predict(api_name="/open_session")["session"]
    answer = client.predict(session, "sintering_tem", "segment", api_name="/segment")["answer"]
    first = client.predict(session, answer, [{"action": "remove", "instances": [1]}], api_name="/correct")
    assert first["count"] == 2 and first["answer"] == answer
    actions = [{"action": "remove", "instances": [2]}, {"action": "remove", "instances": [9]}]
    with pytest.raises(Exception, match="action 2: There is no instance 9.*Nothing was changed"):
        client.predict(session, answer, actions, api_name="/correct")
    second = client.predict(session, answer, [], 0, True, api_name="/correct")
    assert second["count"] == 3 and second["accepted"] == "Accepted without changes."


def test_the_other_reading_takes_the_place_of_an_answer(client):
    session = client.predict(api_name="/open_session")["session"]
    answer = client.predict(session, "sintering_tem", "unsure", api_name="/segment")
    assert answer["confidence"] == 0.4 and answer["alternative"]["text"] == "the necks"
    other = client.predict(session, answer["answer"], api_name="/reinterpret")
    assert other["answer"] == answer["answer"] and other["segments"][0]["concept"] == "neck"
    assert other["alternative"]["text"] == "the particles"
    measured = client.predict(session, answer["answer"], api_name="/measure")
    assert measured["count"] == 1
    client.predict(session, "sintering_tem", "x", api_name="/segment")
    with pytest.raises(Exception, match="Later requests refer to this answer"):
        client.predict(session, answer["answer"], api_name="/reinterpret")
    with pytest.raises(Exception, match="no such answer"):
        client.predict(session, 99, api_name="/reinterpret")


def test_the_picture_and_the_numbers_of_a_plot_are_fetched(url, client):
    session = client.predict(api_name="/open_session")["session"]
    plot = client.predict(session, "sintering_tem", "plot", None, 1, api_name="/segment")["plots"][0]
    assert len(plot["series"][0]["values"]) == 1 and plot["series"][0]["values_left_out"] == 2
    picture = httpx.get(url + plot["png"])
    assert picture.headers["content-type"] == "image/png" and picture.content[:4] == b"\x89PNG"
    assert httpx.get(url + plot["csv"]).text.count("\n") == 4


def test_programs_at_once_get_their_own_answers(url):
    def work(k):
        client = Client(url, verbose=False)
        session = client.predict(api_name="/open_session")["session"]
        wrong = []
        for n in range(3):
            answer = client.predict(session, "sintering_tem", f"{n} of {k}", api_name="/segment")
            if answer["prompt"] != f"{n} of {k}" or not answer["reply"].endswith(f", {n}."):
                wrong.append(answer)
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4)), []) == []


def test_language_models_find_the_tools_and_use_them(url):
    async def talk():
        async with language_model(url) as (session, call):
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert list(tools) == list(TOOLS)
            for tool in tools.values():
                assert len(tool.description) > 40 and "Returns:" in tool.description
                assert all(field.get("description") for field in tool.inputSchema["properties"].values())
            assert tools["segment"].inputSchema["required"] == ["session", "image", "prompt"]
            assert tools["track"].inputSchema["required"] == ["session", "video", "words"]
            assert tools["ask_video"].inputSchema["required"] == ["session", "question"]

            _, text = await call("open_session")
            token = ast.literal_eval(text)["session"]
            failed, text = await call("segment", session=token, image="sintering_tem", prompt="both")
            answer = ast.literal_eval(text)
            assert not failed and [s["count"] for s in answer["segments"]] == [3, 1]
            assert answer["reply"] == "Here are the particles and the necks."
            failed, text = await call("measure", session=token, answer=answer["answer"])
            assert not failed and ast.literal_eval(text)["count"] == 3
            _, text = await call("segment", session=token, image="sintering_sem", prompt="unsure")
            number = ast.literal_eval(text)["answer"]
            failed, text = await call("reinterpret", session=token, answer=number)
            assert not failed and ast.literal_eval(text)["understood"] == "the necks"
            for arguments in ({"image": "/etc/passwd"}, {"image": "http://127.0.0.1/x.tif"}, {"session": "guessed"}):
                failed, text = await call(
                    "segment", **({"session": token, "image": "sintering_tem", "prompt": "x"} | arguments)
                )
                assert failed and ("did not arrive" in text or "no such session" in text)

    asyncio.run(talk())


def test_where_a_password_is_asked_for_the_tools_are_shut():
    with running(auth=[("user", "secret")]) as url:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        headers = {"accept": "application/json, text/event-stream"}
        assert httpx.post(f"{url}/gradio_api/mcp/", json=body, headers=headers).status_code >= 400
        assert httpx.get(f"{url}/gradio_api/info").status_code == 401
        client = Client(url, verbose=False, auth=("user", "secret"))
        assert client.predict(api_name="/open_session")["samples"]


def test_sessions_of_programs_are_not_those_of_pages():
    sessions, queue = Sessions(), JobQueue()
    programs = Programs(sessions, queue)
    page = sessions.get("page")
    with pytest.raises(InputError, match="no such session"):
        programs.session(page.token)
    mine = programs.open()["session"]
    assert programs.session(mine).token == mine
    for wrong in (None, 5, "", ["x"]):
        with pytest.raises(InputError, match="no such session"):
            programs.session(wrong)
    programs.close(mine)
    with pytest.raises(InputError, match="no such session"):
        programs.close(mine)
    queue.close()
    sessions.close()


def test_a_session_opened_while_another_opens_is_kept(monkeypatch):
    sessions, queue = Sessions(), JobQueue()
    programs = Programs(sessions, queue)
    programs.open()
    look, meanwhile = sessions.by_token, []

    def look_slowly(token, touch=True):
        if not touch and not meanwhile:
            meanwhile.append("")
            meanwhile[0] = programs.open()["session"]
        return look(token, touch)

    monkeypatch.setattr(sessions, "by_token", look_slowly)
    own = programs.open()["session"]
    assert [programs.session(token).token for token in (own, *meanwhile)] == [own, *meanwhile]
    queue.close()
    sessions.close()


def test_tables_are_plain_numbers():
    import pandas as pd

    table = pd.DataFrame({"label": [1, 2], "gap_nm": [np.inf, 1 / 3], "touches_border": [True, False]})
    record = table_record(table, 10)
    assert record["rows"] == [[1, None, True], [2, 0.333333, False]] and record["rows_left_out"] == 0
    assert table_record(table, -3)["rows_left_out"] == 2
