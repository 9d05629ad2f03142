"""The API keeps to its OpenAPI document for requests drawn from it: no failure, no answer that contradicts it."""

from __future__ import annotations

import httpx
import pytest
from app_server import running

from lisa_micro_app.api.arguments import wrong_argument
from lisa_micro_app.api.endpoints import TOOLS

EXAMPLES = 6


@pytest.fixture(scope="module")
def url():
    with running() as address:
        yield address


def test_the_document_describes_what_there_is(url):
    document = httpx.get(f"{url}/lisa/openapi.json").json()
    assert {path.rsplit("/", 1)[1] for path, item in document["paths"].items() if "post" in item} >= set(TOOLS)
    data = document["paths"]["/gradio_api/call/segment"]["post"]["requestBody"]["content"]["application/json"]
    items = data["schema"]["properties"]["data"]["prefixItems"]
    assert [item["title"] for item in items] == ["session", "image", "prompt", "pixel_size_nm", "rows"]
    assert items[0]["type"] == "string" and items[4] == {"title": "rows", "type": "integer", "default": 50}
    # Gradio's own documents name routes that are shut
    assert httpx.get(f"{url}/openapi.json").status_code == 404
    assert httpx.get(f"{url}/gradio_api/openapi.json").status_code == 403


def test_no_request_makes_it_fail(url):
    pytest.importorskip("schemathesis", reason="the extra [test] is missing")
    from api_examples import problems

    assert list(problems(url, EXAMPLES, number=1)) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"data": 1}', b'{"data": {}}', b"\xff", b'{"data": [' + b"[" * 2000]
    + [b'{"data": [' + b"9" * 5000 + b"]}"],
)
def test_bodies_that_are_no_calls(url, body):
    head = {"content-type": "application/json"}
    answer = httpx.post(f"{url}/gradio_api/call/segment", content=body, headers=head, timeout=60)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


def test_calls_that_do_not_exist(url):
    assert httpx.post(f"{url}/gradio_api/call/nothing", json={"data": []}).status_code == 404
    assert httpx.post(f"{url}/gradio_api/call/v2/segment", json={"sesion": "a"}).status_code == 404
    assert httpx.post(f"{url}/gradio_api/run/nothing", json={"data": []}).status_code in (404, 405)
    assert httpx.get(f"{url}/gradio_api/call/segment/nothing", timeout=60).text.startswith("event: error")


def test_an_argument_of_another_type_is_named():
    def function(session: str, rows: int = 50, boxes: list[list[float]] | None = None) -> dict:
        return {}

    assert wrong_argument(function, ("a",), {}) == wrong_argument(function, ("a", 5, [[1, 2.5]]), {}) == ""
    assert "rows" in wrong_argument(function, ("a", "many"), {})
    assert "boxes" in wrong_argument(function, ("a", 5, [[float("nan")]]), {})
    assert "too many" in wrong_argument(function, ("a", 5, None, 1), {})
