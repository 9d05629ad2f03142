"""Messages between a command and the server: JSON objects, each behind its length in four bytes, big-endian.

A message may carry open files (the standard streams of a command), which the system passes along.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

MAX_BYTES = 1 << 20
"""Longest message; a longer one is neither sent nor read."""
STREAMS = 3
"""Open files that a message carries at most: standard input, output and error."""

Message = dict[str, Any]
_LENGTH = struct.Struct(">I")


class MessageError(Exception):
    """The other side has gone, or what it sent is no message."""


def send(connection: socket.socket, message: Message, streams: Sequence[int] = ()) -> None:
    """Send a message, and open files with it.

    Args:
        streams: file descriptors.

    Raises:
        MessageError: it is longer than :data:`MAX_BYTES`.
        OSError: the other side has gone.
    """
    body = json.dumps(message).encode("ascii")
    if len(body) > MAX_BYTES:
        raise MessageError(f"a message of {len(body)} bytes")
    length = _LENGTH.pack(len(body))
    if not streams:
        connection.sendall(length + body)
        return
    socket.send_fds(connection, [length], list(streams))
    connection.sendall(body)


def receive(connection: socket.socket) -> Message:
    """Receive a message; open files that came with it are closed.

    Raises:
        MessageError: the other side has gone, or sent something else.
        OSError: the connection failed; ``TimeoutError`` where it has a time limit.
    """
    message, streams = receive_with_streams(connection)
    close_all(streams)
    return message


def receive_with_streams(connection: socket.socket) -> tuple[Message, list[int]]:
    """Receive a message and the open files that came with it, which the caller closes.

    Raises:
        MessageError, OSError: as :func:`receive`; the files are closed then.
    """
    start, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, STREAMS)
    try:
        for stream in streams:
            os.set_inheritable(stream, False)
        if not start:
            raise MessageError("the connection was closed")
        (length,) = _LENGTH.unpack(start + _exactly(connection, _LENGTH.size - len(start)))
        if length > MAX_BYTES:
            raise MessageError(f"a message of {length} bytes")
        return _parsed(_exactly(connection, length)), streams
    except BaseException:
        close_all(streams)
        raise


def close_all(streams: Sequence[int]) -> None:
    """Close file descriptors."""
    for stream in streams:
        os.close(stream)


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        part = connection.recv(min(count - len(received), 1 << 16))
        if not part:
            raise MessageError("the connection was closed within a message")
        received += part
    return bytes(received)


def _parsed(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError("no JSON") from error
    if not isinstance(message, dict):
        raise MessageError("no JSON object")
    return message
