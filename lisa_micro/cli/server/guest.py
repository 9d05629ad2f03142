"""Run a command in this process as if it were the client's: its streams, folder, environment and file mode."""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from lisa_micro.cli.server.client import HANDED_OVER, SERVED
from lisa_micro.cli.server.messages import STREAMS, Message, MessageError


@dataclass(frozen=True)
class Request:
    """A command of a client.

    Attributes:
        arguments: of the command line, the command's name first.
        folder: working folder. folder_id: its device and inode.
        environment: variables that are handed over; those missing are unset.
        umask: mode bits of new files. encodings: of the three standard streams.
    """

    arguments: tuple[str, ...]
    folder: str
    folder_id: tuple[int, int]
    environment: dict[str, str]
    umask: int
    encodings: tuple[str, ...]

    @classmethod
    def of(cls, message: Message) -> Request:
        """Read a message.

        Raises:
            MessageError: something is missing, or of another kind.
        """
        try:
            arguments = _texts(message["arguments"])
            device, inode = (int(number) for number in message["folder_id"])
            environment = {name: message["environment"].get(name) for name in HANDED_OVER}
            given = {name: value for name, value in environment.items() if value is not None}
            encodings = _texts(message["encodings"])
            for encoding in encodings:
                codecs.lookup(encoding)
            (folder,) = _texts([message["folder"]])
            _texts(list(given.values()))
            umask = int(message["umask"])
        except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
            raise MessageError("no request") from error
        if not arguments or arguments[0] not in SERVED or len(encodings) != STREAMS or not 0 <= umask <= 0o777:
            raise MessageError("no request")
        return cls(arguments, folder, (device, inode), given, umask, encodings)


def _texts(values: object) -> tuple[str, ...]:
    """Check that all values are texts that the system takes as arguments.

    Raises:
        TypeError, ValueError: one is not.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError
    if any("\0" in value for value in values):
        raise ValueError
    return tuple(values)


@contextmanager
def as_client(request: Request, streams: Sequence[int]) -> Iterator[None]:
    """Take a client's place: streams 0, 1 and 2, folder, environment, file mode; and leave it again.

    Args:
        streams: file descriptors of the client's standard streams.

    Raises:
        OSError: the folder is not there, or is another one here than at the client.
    """
    info = os.stat(request.folder)
    if (info.st_dev, info.st_ino) != request.folder_id:
        raise FileNotFoundError(request.folder)
    before = {name: os.environ.get(name) for name in HANDED_OVER}
    folder, mask = os.getcwd(), os.umask(request.umask)
    try:
        os.chdir(request.folder)
        _set_environment({name: request.environment.get(name) for name in HANDED_OVER})
        # a warning that is shown once in a process is shown once in each request
        with _streams(streams, request.encodings), warnings.catch_warnings():
            yield
    finally:
        _set_environment(before)
        os.umask(mask)
        os.chdir(folder)


def silence() -> None:
    """Throw away what is still written to the standard streams."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is not None:
            os.environ[name] = value
        elif name in os.environ:
            del os.environ[name]


def _opened(encodings: Sequence[str]) -> tuple[TextIO, TextIO, TextIO]:
    """Standard streams as Python opens them at its start."""
    return (
        open(0, encoding=encodings[0], closefd=False),
        open(1, "w", 1 if os.isatty(1) else -1, encodings[1], closefd=False),
        open(2, "w", 1, encodings[2], "backslashreplace", closefd=False),
    )


@contextmanager
def _streams(given: Sequence[int], encodings: Sequence[str]) -> Iterator[None]:
    own = [os.dup(number) for number in range(STREAMS)]
    objects = sys.stdin, sys.stdout, sys.stderr
    try:
        for number, stream in enumerate(given):
            os.dup2(stream, number, inheritable=True)
        sys.stdin, sys.stdout, sys.stderr = _opened(encodings)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # the reader of the output has gone; what is left must not go to the server's own
                silence()
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr = objects
        for number, stream in enumerate(own):
            os.dup2(stream, number, inheritable=True)
            os.close(stream)
