"""Clients of the running app without a browser: a program that uses the API, and a page that sends the events of its
script. Both speak plain HTTP, so that they add nothing to the memory that is measured."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

TIMEOUT_S = 900.0


class AppError(Exception):
    """What the app answered instead of a result."""


def _messages(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Name and data of the server-sent events of a response; the name is ``""`` where there is none."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            yield name, json.loads(line[5:])
            name = ""


class Client:
    """What both have in common: uploads and downloads.

    Args:
        url: address of the app, without a slash at the end.
    """

    def __init__(self, url: str):
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT_S)

    def send(self, address: str, kind: str, name: str, content: bytes) -> str:
        """Upload a file to a session; returns its key."""
        answer = self.http.post(address, params={"kind": kind, "name": name}, content=content)
        if answer.status_code != 200:
            raise AppError(answer.text)
        key: str = answer.json()["key"]
        return key

    def fetch(self, address: str) -> bytes:
        """Download a result."""
        answer = self.http.get(address)
        if answer.status_code != 200:
            raise AppError(f"{answer.status_code} for a download")
        return answer.content

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


class Program(Client):
    """A program with a session of its own."""

    def __init__(self, url: str):
        super().__init__(url)
        self._paths = self.http.get("/lisa/openapi.json").json()["paths"]
        opened = self.call("open_session")
        self.session, self.upload = opened["session"], opened["upload"]

    def call(self, name: str, *arguments: object) -> Any:
        """Call an endpoint of docs/api.md; arguments that are left out have their defaults. Returns its result.

        Raises:
            AppError: it refused, or failed.
        """
        path = f"/gradio_api/call/{name}"
        body = self._paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        known = body["properties"]["data"].get("prefixItems", [])
        left_out = [argument["default"] for argument in known[len(arguments) :]]
        started = self.http.post(path, json={"data": [*arguments, *left_out]})
        if started.status_code != 200:
            raise AppError(started.text)
        with self.http.stream("GET", f"/gradio_api/call/{name}/{started.json()['event_id']}") as response:
            for event, data in _messages(response):
                if event == "complete":
                    return data[0]
                if event == "error":
                    raise AppError(str(data))
        raise AppError("the answer was cut off")

    def ask(self, name: str, *arguments: object) -> Any:
        """Call an endpoint of the session."""
        return self.call(name, self.session, *arguments)

    def close(self) -> None:
        """End the session."""
        self.ask("close_session")
        super().close()


class Page(Client):
    """An open page of the app. Its parts are known by their ``elem_id``."""

    def __init__(self, url: str):
        super().__init__(url)
        self.hash = secrets.token_hex(6)
        config = self.http.get("/config").json()
        self._parts = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._events = config["dependencies"]
        # as long as this connection is open, so is the page
        address = urlsplit(url)
        self._alive = socket.create_connection((address.hostname or "", address.port or 80))
        head = f"GET /gradio_api/heartbeat/{self.hash} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
        self._alive.sendall(head.encode("ascii"))

    def load(self, part: str) -> dict[str, Any]:
        """Load the page that has a part; returns what it shows."""
        number = self._parts[part]
        event = next(one for one in self._events if _is_load(one) and number in one["outputs"])
        shown: dict[str, Any] = self._run(event, [], None, None)[event["outputs"].index(number)]
        return shown

    def trigger(self, part: str, event: str, data: list[object] | None = None, detail: object = None) -> list[Any]:
        """Send an event of a part; returns what the parts show that it updates.

        Args:
            data: values of the parts that the handler reads.
            detail: what a custom part tells with its event.

        Raises:
            AppError: the handler failed.
        """
        number = self._parts[part]
        found = next(one for one in self._events if [number, event] in [list(target) for target in one["targets"]])
        return self._run(found, data or [], detail, number)

    def _run(self, event: dict[str, Any], data: list[object], detail: object, part: int | None) -> list[Any]:
        body = {"data": data, "event_data": detail, "fn_index": event["id"], "trigger_id": part}
        started = self.http.post("/gradio_api/queue/join", json=body | {"session_hash": self.hash})
        if started.status_code != 200:
            raise AppError(started.text)
        number = started.json()["event_id"]
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.hash}) as response:
            for _, message in _messages(response):
                if message["msg"] == "process_completed" and message["event_id"] == number:
                    if not message["success"]:
                        raise AppError(str(message["output"]))
                    shown: list[Any] = message["output"]["data"]
                    return shown
        raise AppError("the answer was cut off")

    def close(self) -> None:
        """Leave the page."""
        self._alive.close()
        super().close()


def _is_load(event: dict[str, Any]) -> bool:
    return any(target[1] == "load" for target in event["targets"])
