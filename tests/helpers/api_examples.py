"""Examples of requests to the API, drawn from its OpenAPI document by schemathesis; what is wrong with the answers.

Arguments that name something are replaced at random by names of what is there: a session, a sample, an answer. A
request that has begun is followed to its end, which must be a result or one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
LONGEST = 600
"""Characters of a sentence."""
NAMED = {"image": "sintering_tem", "answer": 1, "segment": 0}
"""Arguments that name something that a session has after :func:`prepared`."""
PATIENCE_S = 120.0


def prepared(url: str) -> str:
    """Open a session and ask something in it; returns its token."""
    token: str = _called(url, "open_session", [])["session"]
    _called(url, "segment", [token, NAMED["image"], "particles", None, 50])
    return token


def problems(url: str, examples: int, number: int) -> Iterator[str]:
    """Send examples of each operation; yields one sentence for each operation that answers wrongly.

    Args:
        url: address of the app.
        examples: of each operation.
        number: seed.
    """
    schema = schemathesis.openapi.from_url(f"{url}/lisa/openapi.json")
    token = prepared(url)
    for found in schema.get_all_operations():
        operation = found.ok()
        try:
            _try(url, operation, token, examples, number)
        except (AssertionError, Failure, FailureGroup) as error:
            yield f"{operation.method.upper()} {operation.path}: {error}"


def _try(url: str, operation: Any, token: str, examples: int, number: int) -> None:
    names = [item["title"] for item in _data(operation).get("prefixItems", [])]

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), known=st.sets(st.sampled_from(["session", *NAMED])))
    def send(case: Any, known: set[str]) -> None:
        nonlocal token
        if names:
            for name, value in {**NAMED, "session": token}.items():
                if name in known and name in names:
                    case.body["data"][names.index(name)] = value
        elif "token" in case.path_parameters and "session" in known:
            case.path_parameters["token"] = token
        response = case.call(base_url=url, timeout=PATIENCE_S)
        case.validate_response(response, checks=CHECKS)
        if _starts(operation) and response.status_code == 200:
            _finished(url, operation.path, response.json()["event_id"], case.body)
        if operation.path.endswith("/close_session") and token in case.body["data"]:
            token = prepared(url)

    send()


def _starts(operation: Any) -> bool:
    """Whether an operation begins a request."""
    return bool(operation.method == "post" and operation.path.startswith("/gradio_api/call/"))


def _data(operation: Any) -> dict[str, Any]:
    raw = operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    found: dict[str, Any] = raw.get("schema", {}).get("properties", {}).get("data", {})
    return found


def _finished(url: str, path: str, event: str, body: object) -> None:
    """Follow a request to its end: a result, or one sentence."""
    name, data = _last_event(url, path, event)
    if name == "complete":
        assert isinstance(data, list) and len(data) == 1 and isinstance(data[0], dict), f"{data} for {body}"
        return
    said = data.get("error") if isinstance(data, dict) else None
    assert name == "error" and isinstance(said, str) and said.strip(), f"{name} {data} for {body}"
    assert len(said) <= LONGEST and "Traceback" not in said and "\n" not in said, f"no sentence: {said!r} for {body}"


def _last_event(url: str, path: str, event: str) -> tuple[str, Any]:
    name, data = "", "null"
    with httpx.stream("GET", f"{url}{path}/{event}", timeout=PATIENCE_S) as response:
        for line in response.iter_lines():
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:") and name != "heartbeat":
                data = line[5:]
    return name, json.loads(data)


def _called(url: str, name: str, arguments: list[object]) -> Any:
    path = f"/gradio_api/call/{name}"
    event = httpx.post(url + path, json={"data": arguments}, timeout=PATIENCE_S).json()["event_id"]
    return _last_event(url, path, event)[1][0]
