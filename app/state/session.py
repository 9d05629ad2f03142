"""One user's session: its state, its own folder, and its end. No user sees another's: whatever the browser fetches is
found through a token that only its page was given."""

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

from lisa_micro.types import InputError
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.jobs import Ticket
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.clip import VideoState
from lisa_micro_app.state.conversation import State
from lisa_micro_app.state.pages import ComparisonState, CorrectionState, ProgramState

ROOT_PREFIX = "lisa-micro-app-"
_KEPT_ASSETS = 160


@dataclass(frozen=True)
class Asset:
    """Something that the browser may fetch with the session's token: bytes in memory, or a file of the session."""

    content: bytes | Path
    media_type: str
    file_name: str = ""


@dataclass
class Upload:
    """A file that the browser sent: where it lies, what the user calls it, and what it is for."""

    path: Path
    name: str
    kind: str


@dataclass
class Session:
    """Everything of one user.

    Attributes:
        token: what the browser names to fetch pictures and downloads, and to send files; not to be guessed.
        folder: its own temporary folder, removed with the session.
        state: of the conversation, immutable; handlers put a new one in its place.
        conversation: the assistant's own conversation about the image last asked about.
        asked: the words of the last request, answered or not.
        correction: corrections of the shown answers, and training examples.
        comparison: true labels and the last comparison of words with boxes.
        video: the open video, its tracks and questions.
        programs: what the API has opened for this session.
        downloads: number of downloads so far.
    """

    token: str
    folder: Path
    state: State = field(default_factory=State)
    conversation: Any = None
    ticket: Ticket | None = None
    asked: str = ""
    looking: Ticket | None = None
    correction: CorrectionState = field(default_factory=CorrectionState)
    comparison: ComparisonState = field(default_factory=ComparisonState)
    video: VideoState = field(default_factory=VideoState)
    programs: ProgramState = field(default_factory=ProgramState)
    downloads: int = 0
    uploads: dict[str, Upload] = field(default_factory=dict)
    touched: float = field(default_factory=time.monotonic)
    left: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    _assets: OrderedDict[str, Asset] = field(default_factory=OrderedDict)

    def put(self, content: bytes | Path, media_type: str, file_name: str = "", key: str | None = None) -> str:
        """Make something fetchable; its path on the server. The oldest assets go when there are many.

        Args:
            key: the same key names the same thing, which is then kept only once.
        """
        with self.lock:
            name = key or secrets.token_urlsafe(12)
            self._assets[name] = Asset(content, media_type, file_name)
            self._assets.move_to_end(name)
            while len(self._assets) > _KEPT_ASSETS:
                _, old = self._assets.popitem(last=False)
                if isinstance(old.content, Path):
                    old.content.unlink(missing_ok=True)
        return f"/lisa/asset/{self.token}/{name}"

    def once(self, key: str, media_type: str, make: Callable[[], bytes]) -> str:
        """As :meth:`put`, but made only where it is not there yet."""
        with self.lock:
            there = key in self._assets
            if there:
                self._assets.move_to_end(key)
        return f"/lisa/asset/{self.token}/{key}" if there else self.put(make(), media_type, key=key)

    def asset(self, name: str) -> Asset | None:
        """What was put under a name."""
        with self.lock:
            return self._assets.get(name)

    def forget_assets(self) -> None:
        """Drop all that could be fetched."""
        with self.lock:
            assets, self._assets = list(self._assets.values()), OrderedDict()
        for asset in assets:
            if isinstance(asset.content, Path):
                asset.content.unlink(missing_ok=True)

    def new_file(self, suffix: str = "") -> Path:
        """A path in the session's folder that nothing has yet. The user's own words are never part of a path."""
        return self.folder / f"{secrets.token_hex(8)}{suffix}"

    def take_upload(self, key: str, kind: str) -> Upload:
        """A file that was sent, by the key that the sender got.

        Raises:
            InputError: no such file.
        """
        upload = self.uploads.pop(key, None) if isinstance(key, str) else None
        if upload is None or upload.kind != kind:
            raise AdvisedError("The file did not arrive", Advice.SEND_AGAIN)
        return upload

    def cancel(self) -> bool:
        """Stop what is waiting or working for this session; whether there was anything."""
        ticket = self.ticket
        if ticket is None or ticket.finished:
            return False
        ticket.cancel()
        return True

    def close(self) -> None:
        """Stop its work, and remove its files."""
        self.cancel()
        if self.looking is not None:
            self.looking.cancel()
        self._assets.clear()
        self.uploads.clear()
        self.conversation, self.state = None, State()
        self.video.close()
        self.correction, self.comparison = CorrectionState(), ComparisonState()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """All sessions of an app, in a temporary folder of its own.

    Args:
        limits: see :class:`lisa_micro_app.limits.Limits`.
        clock: seconds that only go up; handed in by tests.
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
        """The session of a page; made where it is new.

        Raises:
            InputError: too many are open.
        """
        with self._lock:
            session = self._by_key.get(key)
            if session is None:
                if len(self._by_key) >= self.limits.sessions:
                    raise InputError("Too many people use this app just now; try again in some minutes.")
                token = secrets.token_urlsafe(24)
                folder = self.root / secrets.token_hex(12)
                folder.mkdir(mode=0o700)
                session = self._by_key[key] = self._by_token[token] = Session(token, folder)
            session.touched, session.left = self.clock(), None
            return session

    def by_token(self, token: str, touch: bool = True) -> Session | None:
        """The session that a token belongs to. touch: it is in use, and does not end for a while."""
        with self._lock:
            session = self._by_token.get(token)
            if session is not None and touch:
                session.touched = self.clock()
            return session

    def leave(self, key: str) -> None:
        """Its page was closed: it ends soon, unless the page comes back."""
        with self._lock:
            if key in self._by_key:
                self._by_key[key].left = self.clock()

    def end(self, key: str) -> None:
        """End a session now."""
        with self._lock:
            session = self._by_key.pop(key, None)
            if session is not None:
                self._by_token.pop(session.token, None)
        if session is not None:
            session.close()

    def sweep(self) -> int:
        """End sessions whose page is gone or that nobody touched for long; how many."""
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
        """Sweep in the background until :meth:`close`."""

        def work() -> None:
            while not self._stop.wait(every_seconds):
                self.sweep()

        threading.Thread(target=work, name="sessions", daemon=True).start()

    def close(self) -> None:
        """End all sessions and remove the folder."""
        self._stop.set()
        for key in list(self._by_key):
            self.end(key)
        shutil.rmtree(self.root, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove folders of apps that were killed: their process is gone, so nobody else will."""
    for folder in Path(tempfile.gettempdir()).glob(f"{ROOT_PREFIX}*-*"):
        number = folder.name.removeprefix(ROOT_PREFIX).split("-")[0]
        if not number.isdigit() or int(number) == os.getpid():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it runs, as somebody else
            continue
