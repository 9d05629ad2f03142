"""Attacks and mistakes against the running app: it refuses them in one sentence, stores nothing, and keeps running."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from app_server import running
from gradio_client import Client
from paths import ROOT
from stand_in_app import film

WICKED = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LIMIT = 2 * 1024 * 1024


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of the app's temporary files."""
    import tempfile

    folder, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def url(place):
    with running(upload_mib=2) as address:
        yield address
    assert not list(place.glob("lisa-micro-app-*"))  # all files are removed


@pytest.fixture
def client(url):
    return Client(url, verbose=False)


@pytest.fixture
def session(client, url):
    opened = client.predict(api_name="/open_session")
    yield opened
    assert httpx.get(url).status_code == 200  # the app is alive
    answer = client.predict(opened["session"], "sintering_tem", "segment", api_name="/segment")
    assert answer["segments"][0]["count"] == 3
    client.predict(opened["session"], api_name="/close_session")


def post(url, session, content=b"x", **query):
    return httpx.post(url + session["upload"], params={"kind": "image"} | query, content=content, timeout=60)


def files(place):
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def raw(url, request: bytes, body=(), wait=20.0):
    """Send raw bytes; return the response, and the number of bytes of the body that were accepted before it."""
    parts = urlsplit(url)
    sent = 0
    with socket.create_connection((parts.hostname, parts.port), timeout=wait) as connection:
        connection.sendall(request)
        connection.settimeout(0.2)
        answer, end = b"", time.monotonic() + wait
        chunks = iter(body)
        while time.monotonic() < end and b"\r\n\r\n" not in answer:
            try:
                received = connection.recv(65536)
                answer += received
                if not received:
                    break
            except TimeoutError:
                chunk = next(chunks, None)
                if chunk is not None:
                    try:
                        connection.sendall(chunk)
                        sent += len(chunk)
                    except OSError:
                        continue
        try:
            while (received := connection.recv(65536)) != b"":  # the rest of the response
                answer += received
        except OSError:
            pass
    return answer, sent


@pytest.mark.parametrize(
    "name",
    ["../../../../tmp/x.tif", "..\\..\\x.tif", "/etc/cron.d/x", "a/../../b.tif", "%2e%2e/x.tif", "\x00.tif", ".."],
)
def test_names_of_files_are_never_paths(url, session, client, place, tmp_path, name):
    before = files(place)
    answer = post(url, session, film(tmp_path / "f.tif").read_bytes(), name=name)
    assert answer.status_code == 200
    (new,) = set(files(place)) - set(before)
    stem, _, suffix = Path(new).name.partition(".")
    assert len(stem) == 16 and set(stem) <= set("0123456789abcdef") and suffix in ("tif", "")
    result = client.predict(session["session"], answer.json()["key"], "segment", api_name="/segment")
    assert not set("/\\\x00") & set(result["reply"]) and str(place) not in json.dumps(result)


def test_nothing_outside_the_sessions_own_results_is_fetched(url, session, client, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    token = session["session"]
    for path in (secret, ROOT / "pyproject.toml", Path("/etc/passwd")):
        escaped = str(path).replace("/", "%2f")
        for address in (
            f"/gradio_api/file={path}",
            f"/GRADIO_API//file={path}",
            f"/gradio_api/file/{path}",
            f"/file={path}",
            f"/lisa/asset/{token}/{escaped}",
            f"/lisa/asset/{token}/..%2f..%2f..%2f..{escaped}",
            f"/lisa/asset/../../../../..{path}",
            f"/lisa/frame/{token}/x/..%2f..{escaped}",
            f"/lisa/sample/..%2f..%2f..{escaped}.png",
            f"/static/..%2f..%2f..{escaped}",
            f"/assets/..%2f..%2f..{escaped}",
            f"/gradio_api/proxy=http://127.0.0.1{path}",
        ):
            answer, _ = raw(url, f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            status = int(answer.split()[1])
            assert status in (400, 403, 404, 405), (address, status)
            assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1] and b"root:" not in answer
        for image in (str(path), f"file://{path}", f"/gradio_api/file={path}"):
            with pytest.raises(Exception, match="did not arrive"):
                client.predict(token, image, "segment", api_name="/segment")
    assert httpx.post(f"{url}/gradio_api/upload", files={"files": b"x"}).status_code == 403


def test_no_input_makes_the_app_fetch_an_address_or_a_file(url, session, tmp_path):
    asked = []

    class Canary(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    server = http.server.HTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    canary = f"http://127.0.0.1:{server.server_port}/x.png"
    try:
        functions = httpx.get(f"{url}/config").json()["dependencies"]
        ours = [f for f in functions if f["api_name"] == "segment"]
        pages = [f for f in functions if f["inputs"] and f not in ours][:12]
        assert ours and pages
        for path in (canary, str(secret)):
            forged = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
            for function in (*ours, *pages):
                data = [forged] * len(function["inputs"])
                body = {"data": data, "fn_index": function["id"], "session_hash": "stranger"}
                httpx.post(f"{url}/gradio_api/queue/join", json=body)
                httpx.post(f"{url}/gradio_api/run/predict", json=body)
            with httpx.stream("GET", f"{url}/gradio_api/queue/data?session_hash=stranger", timeout=3) as stream:
                said = b""
                try:
                    for chunk in stream.iter_bytes():
                        said += chunk
                except httpx.ReadTimeout:
                    pass
            assert b"secret" not in said.replace(str(secret).encode(), b"")
    finally:
        server.shutdown()
    assert asked == []


def test_html_in_requests_and_names_stays_text(url, session, client, tmp_path):
    key = post(url, session, film(tmp_path / "f.tif").read_bytes(), name=f"{WICKED}.tif").json()["key"]
    answer = client.predict(session["session"], key, WICKED, api_name="/segment")
    assert answer["prompt"] == WICKED
    for address in (answer["overlay"], answer["segments"][0]["labels"]):
        fetched = httpx.get(url + address)
        assert fetched.headers["content-type"] in ("image/png", "image/tiff")
        assert fetched.headers["x-content-type-options"] == "nosniff"
    broken = post(url, session, b"nothing", name=f"{WICKED}.html").json()["key"]
    with pytest.raises(Exception, match="cannot be read|not") as error:
        client.predict(session["session"], broken, "segment", api_name="/segment")
    assert "lisa-micro-app-" not in str(error.value)
    for refused in (post(url, session, b"x", kind=WICKED), httpx.get(f"{url}/lisa/asset/{WICKED}/{WICKED}")):
        assert refused.status_code in (404, 413) and refused.headers["content-type"] == "application/json"
    policy = httpx.get(url).headers["content-security-policy"]
    assert "object-src 'none'" in policy and "frame-ancestors 'self'" in policy


def test_a_file_that_is_too_large_is_refused_and_not_kept(url, session, place):
    before = files(place)
    answer = post(url, session, b"x" * (LIMIT + 1), name="a.tif")
    assert answer.status_code == 413 and answer.json()["error"] == ("a.tif is too large: files may have up to 2 MiB.")

    def endless():
        for _ in range(64):
            yield b"x" * 65536

    try:
        answer = post(url, session, endless(), name="b.tif")  # says no length
        assert answer.status_code == 413
    except httpx.HTTPError:
        pass  # the connection was closed during the transfer
    assert files(place) == before
    assert post(url, session, b"x" * LIMIT, name="c.tif").status_code == 200
    for _ in range(3):
        post(url, session, b"x" * LIMIT, name="c.tif")
    assert "too many files" in post(url, session, b"x", name="c.tif").json()["error"]


def test_two_gigabytes_are_refused_before_they_are_sent(url, session, place):
    path = session["upload"] + "?kind=image&name=big.tif"
    before = files(place)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
    declared = f"{head}Content-Length: {2 * 1024**3}\r\n\r\n".encode()
    answer, sent = raw(url, declared, (b"x" * 4096 for _ in range(1000)))
    assert answer.startswith(b"HTTP/1.1 413") and b"too large" in answer and sent < LIMIT
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer, sent = raw(url, chunked, (piece * 8 for _ in range(4096)), 60)
    assert answer.startswith(b"HTTP/1.1 413") and sent < 16 * LIMIT
    for length in ("-1", "1e99", "0x10", "9" * 400):
        answer, _ = raw(url, f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"413")
    deadline = time.monotonic() + 10
    while files(place) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files(place) == before


def test_strangers_pages_and_guessed_tokens_get_nothing(url, session):
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 403
    assert post(url, {"upload": f"/lisa/upload/{'x' * 32}"}).status_code == 404
    asked = httpx.options(
        url + session["upload"],
        headers={"origin": "http://evil.example", "access-control-request-method": "POST"},
    )
    assert asked.headers.get("access-control-allow-origin") not in ("*", "http://evil.example")
    tool = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"origin": "http://evil.example", "accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{url}/gradio_api/mcp/", json=tool, headers=headers)
    assert answer.headers.get("access-control-allow-origin") not in ("*", "http://evil.example")


def test_requests_out_of_measure_are_refused(url, session, client):
    token = session["session"]
    cases = [
        ("/segment", (token, "sintering_tem", ""), "empty"),
        ("/segment", (token, "sintering_tem", "x", -1), "positive"),
        ("/segment", (token, "sintering_tem", "x", "many"), "positive"),
        ("/segment", (token, ["x"], "x"), "did not arrive"),
        ("/compare", (token, "sintering_tem", "x", [[1, 2, 3]]), "could not be read"),
        ("/compare", (token, "sintering_tem", "x", [[1, 1, 9, 9]] * 401), "too many"),
        ("/compare", (token, "sintering_tem", "x"), "at least one box"),
        ("/correct", (token, 99, []), "no such answer"),
        ("/measure", (token, "1"), "no such answer"),
        ("/measure", (token,), "no such answer"),
    ]
    for name, arguments, said in cases:
        with pytest.raises(Exception, match=said):
            client.predict(*arguments, api_name=name)
    answer = client.predict(token, "sintering_tem", "x" * 50_000, api_name="/segment")
    assert len(answer["prompt"]) <= 8000 and answer["notes"]
    for segment in (-1, 5, "0", None):
        with pytest.raises(Exception, match="counted from 0"):
            client.predict(token, answer["answer"], segment, api_name="/measure")
    with pytest.raises(Exception, match="no action"):
        client.predict(token, answer["answer"], ["remove", 5], api_name="/correct")
