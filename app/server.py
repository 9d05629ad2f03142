"""Routes of the app beside Gradio's page: pictures, downloads and uploads of a session. All other routes that could
serve files are blocked."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lisa_micro.types import InputError
from lisa_micro.viz.browser import grey_png
from lisa_micro_app.handlers import safe_suffix, sample_path, shown_name
from lisa_micro_app.limits import MIB, Limits
from lisa_micro_app.state.batch_files import keep
from lisa_micro_app.state.session import Session, Sessions, Upload
from lisa_micro_app.views.video_frames import served

OPENAPI = "/lisa/openapi.json"
"""Address of the description of the API."""
UPLOAD_KINDS = ("image", "truth", "video", "batch", "exemplar")
BLOCKED_ROUTES = (
    "/gradio_api/file",
    "/gradio_api/proxy",
    "/gradio_api/upload",
    "/gradio_api/deep_link",
    "/gradio_api/stream",
    "/gradio_api/vibe",
    "/gradio_api/openapi.json",
)
"""Gradio's routes to files. The page needs none of them, and anyone who knows a path could use them. Its description of
the API names some of them; ours is at :data:`OPENAPI`."""
CALL_ROUTES = ("/gradio_api/call/", "/gradio_api/api/", "/gradio_api/run/")
"""Gradio's routes to calls of the API."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
"""The content security policy: the page exchanges data with this app only."""
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}
_MAX_PENDING_UPLOADS = 4
_MAX_FOLDER_FACTOR = 4


@dataclass(frozen=True)
class Guard:
    """Middleware that blocks :data:`BLOCKED_ROUTES`, rejects unknown host names, and adds security headers.

    Attributes:
        app: the wrapped application.
        hosts: accepted host names, against DNS rebinding; ``None``: any.
    """

    app: ASGIApp
    hosts: tuple[str, ...] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in _HEADERS.items() if name not in present),
                ]
            await send(message)

        path = "/" + "/".join(part for part in scope["path"].lower().split("/") if part)
        if path.startswith(BLOCKED_ROUTES):
            await JSONResponse({"error": "Not available."}, 403)(scope, receive, with_headers)
        elif not self._is_known_host(scope):
            await JSONResponse({"error": "Unknown host name."}, 403)(scope, receive, with_headers)
        elif path.startswith(CALL_ROUTES):
            await self._call(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a call of the API. Gradio fails for calls that do not fit; the caller is told that they do not."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            if begun:  # a stream whose last event says what is wrong
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                detail = f"There is no such call, or its arguments do not fit; {OPENAPI} describes the API."
                await JSONResponse({"detail": detail}, 404)(scope, receive, send)

    def _is_known_host(self, scope: Scope) -> bool:
        if self.hosts is None:
            return True
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return name.lower() in self.hosts


def routes(sessions: Sessions, description: Mapping[str, Any]) -> list[Route]:
    """The routes of the app, under ``/lisa/``.

    Args:
        sessions: of the app.
        description: of the API, as an OpenAPI document.
    """

    async def asset(request: Request) -> Response:
        session = sessions.by_token(request.path_params["token"])
        found = session.asset(request.path_params["name"]) if session else None
        if found is None:
            return JSONResponse({"error": "Not found."}, 404)
        headers = {"cache-control": "private, max-age=3600"}
        if found.file_name:
            headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(found.file_name)}"
        if isinstance(found.content, Path):
            if not found.content.is_file():
                return JSONResponse({"error": "Not found."}, 404)
            return FileResponse(found.content, media_type=found.media_type, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def frame(request: Request) -> Response:
        session, names = sessions.by_token(request.path_params["token"]), request.path_params
        found = await run_in_threadpool(served, session, names["key"], names["name"]) if session else None
        if found is None:
            return JSONResponse({"error": "Not found."}, 404)
        return Response(found[0], media_type=found[1], headers={"cache-control": "private, max-age=3600"})

    async def sample(request: Request) -> Response:
        try:
            content = await run_in_threadpool(_sample_thumbnail, request.path_params["name"])
        except InputError as error:
            return JSONResponse({"error": str(error)}, 404)
        return Response(content, media_type="image/png", headers={"cache-control": "max-age=86400"})

    async def upload(request: Request) -> Response:
        session = sessions.by_token(request.path_params["token"])
        if session is None:
            return JSONResponse({"error": "The session has ended; reload the page."}, 404)
        try:
            return JSONResponse({"key": await _receive(request, session, sessions.limits)})
        except InputError as error:
            return JSONResponse({"error": str(error)}, 413)

    async def described(request: Request) -> Response:
        return JSONResponse(dict(description))

    return [
        Route(OPENAPI, described),
        Route("/lisa/asset/{token}/{name}", asset),
        Route("/lisa/frame/{token}/{key}/{name}", frame),
        Route("/lisa/sample/{name}.png", sample),
        Route("/lisa/upload/{token}", upload, methods=["POST"]),
    ]


_thumbnails: dict[str, bytes] = {}


def _sample_thumbnail(name: str) -> bytes:
    from lisa_micro.io import read_plain

    path = sample_path(name)
    if name not in _thumbnails:
        _thumbnails[name] = grey_png(read_plain(path), 240)
    return _thumbnails[name]


async def _receive(request: Request, session: Session, limits: Limits) -> str:
    """Write the body of a request into the session's folder; return the key of the upload.

    Files of a batch are kept in its folder at once, so that any number of them can be sent.

    Raises:
        InputError: the file is too large, there are too many, the kind is unknown, or the transfer was interrupted.
    """
    mib = limits.upload_mib
    kind, name = request.query_params.get("kind", "image"), request.query_params.get("name", "")
    too_large = f"{shown_name(name)} is too large: files may have up to {mib} MiB."
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > mib * MIB:
        raise InputError(too_large)
    if kind not in UPLOAD_KINDS:
        raise InputError(f"Unknown kind of file {shown_name(kind)!r}; use {', '.join(UPLOAD_KINDS)}.")
    if len(session.uploads) >= _MAX_PENDING_UPLOADS or _size(session.folder) > _MAX_FOLDER_FACTOR * mib * MIB:
        raise InputError("There are too many files in this session; clear the conversation first.")
    path, done, complete = session.new_file(safe_suffix(name)), 0, False
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                done += len(chunk)
                if done > mib * MIB:
                    raise InputError(too_large)
                await run_in_threadpool(file.write, chunk)
        complete = True
    except ClientDisconnect as error:
        raise InputError("The transfer was interrupted; send the file again.") from error
    except OSError as error:
        raise InputError(f"Cannot store the file: {error.strerror or error}.") from error
    finally:
        if not complete:
            path.unlink(missing_ok=True)
    key = secrets.token_urlsafe(12)
    if kind == "batch":
        await run_in_threadpool(keep, session, path, name, limits)
        return key
    session.uploads[key] = Upload(path, name, kind)
    return key


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
