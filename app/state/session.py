"""Sessions: the state and files of one user, apart from those of all others.

The browser fetches files by a secret token that only the page of the session knows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lisa_micro.protocols import Conversation
from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.jobs import Job
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.batch import BatchState
from lisa_micro_app.state.clip import VideoState
from lisa_micro_app.state.conversation import State
from lisa_micro_app.state.pages import ComparisonState, CorrectionState, LikeState, ProgramState

ROOT_PREFIX = "lisa-micro-app-"
_MAX_ASSETS = 160


@dataclass(frozen=True)
class Asset:
    """Content that the browser can fetch with the session's token: bytes in memory, or a file of the session."""

    content: bytes | Path
    media_type: str
    file_name: str = ""


@dataclass
class Upload:
    """An uploaded file.

    Attributes:
        path: of the file in the session's folder.
        name: the user's name of it.
        kind: ``"image"``, ``"truth"``, ``"video"`` or ``"exemplar"``; files of a batch are kept at once.
    """

    path: Path
    name: str
    kind: str


@dataclass
class Session:
    """The state and files of one user.

    Attributes:
        token: secret by which the browser fetches pictures and downloads and sends files.
        folder: temporary folder, removed with the session.
        state: of the conversation; immutable, handlers replace it.
        conversation: the assistant's conversation about the micrograph of the last request.
        job: the last request.
        asked: text of the last request, answered or not.
        encoding: the background job that encodes a micrograph.
        correction: corrections of the shown answers, and training examples.
        comparison: true labels and the last comparison of words with boxes.
        like: the loaded exemplar, and what was found like examples.
        video: the open video, its tracks and questions.
        batch: files, run and results of the page Batch.
        programs: what the API has opened for this session.
        downloads: number of downloads so far.
        uploads: files that were sent but not read yet, by key.
        touched: time of the last use, on the clock of :class:`Sessions`.
        left: time at which the page was closed; ``None`` while it is open.
        lock: held while the assets change.
    """

    token: str
    folder: Path
    state: State = field(default_factory=State)
    conversation: Conversation | None = None
    job: Job[Any] | None = None
    asked: str = ""
    encoding: Job[Any] | None = None
    correction: CorrectionState = field(default_factory=CorrectionState)
    comparison: ComparisonState = field(default_factory=ComparisonState)
    like: LikeState = field(default_factory=LikeState)
    video: VideoState = field(default_factory=VideoState)
    batch: BatchState = field(default_factory=BatchState)
    programs: ProgramState = field(default_factory=ProgramState)
    downloads: int = 0
    uploads: dict[str, Upload] = field(default_factory=dict)
    touched: float = field(default_factory=time.monotonic)
    left: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _assets: OrderedDict[str, Asset] = field(default_factory=OrderedDict)

    def put(self, content: bytes | Path, media_type: str, file_name: str = "", key: str | None = None) -> str:
        """Offer content to the browser; return its path on the server. The oldest assets are removed if there are many.

        Args:
            content: bytes, or a file of the session.
            media_type: such as ``image/png``.
            file_name: for a download.
            key: name of the asset; an asset with the same key is replaced. ``None``: a random one.
        """
        with self.lock:
            name = key or secrets.token_urlsafe(12)
            self._assets[name] = Asset(content, media_type, file_name)
            self._assets.move_to_end(name)
            while len(self._assets) > _MAX_ASSETS:
                _, old = self._assets.popitem(last=False)
                if isinstance(old.content, Path):
                    old.content.unlink(missing_ok=True)
        return f"/lisa/asset/{self.token}/{name}"

    def once(self, key: str, media_type: str, make: Callable[[], bytes]) -> str:
        """Offer content as :meth:`put` does, but make it only if no asset has this key."""
        with self.lock:
            known = key in self._assets
            if known:
                self._assets.move_to_end(key)
        return f"/lisa/asset/{self.token}/{key}" if known else self.put(make(), media_type, key=key)

    def asset(self, name: str) -> Asset | None:
        """The asset of this name, or ``None``."""
        with self.lock:
            return self._assets.get(name)

    def forget_assets(self) -> None:
        """Remove all assets."""
        with self.lock:
            assets, self._assets = list(self._assets.values()), OrderedDict()
        for asset in assets:
            if isinstance(asset.content, Path):
                asset.content.unlink(missing_ok=True)

    def new_file(self, suffix: str = "") -> Path:
        """A new path in the session's folder. User input is never part of a path."""
        return self.folder / f"{secrets.token_hex(8)}{suffix}"

    def take_upload(self, key: str, kind: str) -> Upload:
        """Take an uploaded file by its key; it can be taken once.

        Raises:
            InputError: there is no such file of this kind.
        """
        upload = self.uploads.pop(key, None) if isinstance(key, str) else None
        if upload is None or upload.kind != kind:
            raise AdvisedError("The file did not arrive", Advice.SEND_AGAIN)
        return upload

    def cancel(self) -> bool:
        """Cancel the current request; return whether there was one."""
        job = self.job
        if job is None or job.finished:
            return False
        job.cancel()
        return True

    def close(self) -> None:
        """Cancel all jobs and remove the files."""
        self.cancel()
        if self.encoding is not None:
            self.encoding.cancel()
        self._assets.clear()
        self.uploads.clear()
        self.conversation, self.state = None, State()
        self.video.close()
        self.batch.cancel()
        self.correction, self.comparison, self.like = CorrectionState(), ComparisonState(), LikeState()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All sessions of an app, in one temporary folder.

    Args:
        limits: of the app.
        clock: monotonic time, s.
    """

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic):
        self.limits = limits or Limits()
        self.clock = clock
        remove_leftovers()
        self.root = Path(tempfile.mkdtemp(prefix=f"{ROOT_PREFIX}{os.getpid()}-"))
        self._by_key: dict[str, Session] = {}
        self._by_token: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def get(self, key: str) -> Session:
        """The session of a page; created if it does not exist.

        Raises:
            InputError: too many sessions are open.
        """
        with self._lock:
            session = self._by_key.get(key)
            if session is None:
                if len(self._by_key) >= self.limits.sessions:
                    raise InputError("Too many sessions are open; try again in a few minutes.")
                token = secrets.token_urlsafe(24)
                folder = self.root / secrets.token_hex(12)
                folder.mkdir(mode=0o700)
                session = self._by_key[key] = self._by_token[token] = Session(token, folder)
            session.touched, session.left = self.clock(), None
            return session

    def by_token(self, token: str, touch: bool = True) -> Session | None:
        """The session of a token, or ``None``.

        Args:
            token: of the session.
            touch: whether this counts as a use of the session.
        """
        with self._lock:
            session = self._by_token.get(token)
            if session is not None and touch:
                session.touched = self.clock()
            return session

    def leave(self, key: str) -> None:
        """Note that the page of a session was closed; the session ends soon unless the page returns."""
        with self._lock:
            if key in self._by_key:
                self._by_key[key].left = self.clock()

    def end(self, key: str) -> None:
        """End a session."""
        with self._lock:
            session = self._by_key.pop(key, None)
            if session is not None:
                self._by_token.pop(session.token, None)
        if session is not None:
            session.close()

    def sweep(self) -> int:
        """End sessions whose page is closed or that were idle for too long; return their number."""
        now = self.clock()
        with self._lock:
            gone = [
                key
                for key, session in self._by_key.items()
                if (session.left is not None and now - session.left > self.limits.leave_seconds)
                or now - session.touched > self.limits.idle_seconds
            ]
        for key in gone:
            self.end(key)
        return len(gone)

    def start_sweeping(self, every_seconds: float = 5.0) -> None:
        """Call :meth:`sweep` in the background until :meth:`close`."""

        def loop() -> None:
            while not self._stop.wait(every_seconds):
                self.sweep()

        threading.Thread(target=loop, name="sessions", daemon=True).start()

    def close(self) -> None:
        """End all sessions and remove their folder."""
        self._stop.set()
        for key in list(self._by_key):
            self.end(key)
        shutil.rmtree(self.root, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the folders of apps whose process was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{ROOT_PREFIX}*-*"):
        number = folder.name.removeprefix(ROOT_PREFIX).split("-")[0]
        if not number.isdigit() or int(number) == os.getpid():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # the process runs as another user
            continue
