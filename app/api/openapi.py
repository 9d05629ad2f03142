"""The API as an OpenAPI document: the endpoints, uploads, and the addresses of results.

Gradio's own document describes routes that this app does not offer, and no errors; this one takes its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from lisa_micro.extras import release
from lisa_micro_app.api.arguments import argument_schemas
from lisa_micro_app.server import OPENAPI, UPLOAD_KINDS

_STREAM = (
    "A stream of events. The last one is `complete`, with a list that holds the result, or `error`, with an object "
    "whose `error` is one sentence. A request that is unknown, or whose result was fetched, gives `error` with a text."
)


def document(functions: Sequence[Callable[..., object]]) -> dict[str, Any]:
    """The document.

    Args:
        functions: the endpoints.
    """
    paths: dict[str, Any] = {}
    for function in functions:
        name = function.__name__
        paths[f"/gradio_api/call/{name}"] = {"post": _start(name, function)}
        paths[f"/gradio_api/call/{name}/{{event_id}}"] = {"get": _result(name)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "LISA-micro", "version": str(release()), "description": "See docs/api.md."},
        "paths": paths | _files(),
        "components": {
            "schemas": {
                "Error": _object({"error": {"type": "string"}}),
                "Detail": {"type": "object", "required": ["detail"]},
            }
        },
    }


def _start(name: str, function: Callable[..., object]) -> dict[str, Any]:
    arguments = argument_schemas(function)
    needed = sum("default" not in schema for schema in arguments.values())
    # a call has all arguments, the defaults included
    data: dict[str, Any] = {"type": "array", "minItems": len(arguments), "maxItems": len(arguments)}
    if arguments:
        data |= {"prefixItems": [{"title": title, **schema} for title, schema in arguments.items()], "items": False}
    return {
        "operationId": name,
        "summary": (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " "),
        "description": f"{inspect.getdoc(function)}\n\nArguments that are needed: the first {needed}.",
        "requestBody": {"required": True, "content": _json(_object({"data": data}))},
        "responses": {
            "200": _answer("The request has begun.", _object({"event_id": {"type": "string"}})),
            "400": _answer("The body is no JSON.", _ref("Detail")),
            "404": _answer("There is no such call.", _ref("Detail")),
            "422": _answer("The body is no list of arguments.", _ref("Detail")),
            "503": _answer("Too many requests are waiting.", _ref("Detail")),
        },
    }


def _result(name: str) -> dict[str, Any]:
    return {
        "operationId": f"{name}_result",
        "summary": f"Wait for the result of {name}.",
        "parameters": [_parameter("event_id", "path")],
        "responses": {
            "200": {"description": _STREAM, "content": {"text/event-stream": {}}},
            "404": _answer("There is no such address.", _ref("Detail")),
        },
    }


def _files() -> dict[str, Any]:
    """Uploads, and the addresses of results."""
    missing = {"404": _answer("There is nothing at this address.", _ref("Error"))}
    content = {"200": {"description": "The file.", "content": {"*/*": {}}}}
    upload = {
        "operationId": "upload",
        "summary": "Send a file to a session.",
        "parameters": [
            _parameter("token", "path"),
            _parameter("kind", "query", {"type": "string", "enum": list(UPLOAD_KINDS), "default": "image"}),
            _parameter("name", "query"),
        ],
        "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        "responses": {
            "200": _answer("The key of the file.", _object({"key": {"type": "string"}})),
            "404": _answer("There is no such session.", _ref("Error")),
            "413": _answer("The file is refused.", _ref("Error")),
        },
    }
    addresses = {
        "/lisa/asset/{token}/{name}": ("asset", "A result", ("token", "name")),
        "/lisa/frame/{token}/{key}/{name}": ("frame", "A frame of a video", ("token", "key", "name")),
        "/lisa/sample/{name}.png": ("sample", "A small picture of a sample", ("name",)),
    }
    found = {
        path: {
            "get": {
                "operationId": operation,
                "summary": f"{what}.",
                "parameters": [_parameter(name, "path") for name in names],
                "responses": content | missing,
            }
        }
        for path, (operation, what, names) in addresses.items()
    }
    described = {"operationId": "openapi", "summary": "This document.", "responses": {"200": _answer("It.", {})}}
    return {"/lisa/upload/{token}": {"post": upload}, **found, OPENAPI: {"get": described}}


def _parameter(name: str, place: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema or {"type": "string"}}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
