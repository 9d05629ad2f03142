"""Where the socket lies, who may use it, and whether a server holds it.

The folder is the user's own (mode 0700). A server holds a lock on a file beside the socket as long as it lives; the
system releases it even when the server is killed, so a socket without the lock is a leftover.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys


class PlaceError(Exception):
    """The folder cannot be used; the message is the end of a sentence that begins with its path."""


def runtime_folder() -> str:
    """``lisa-micro`` in ``XDG_RUNTIME_DIR``, or else ``server`` in the cache folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return os.path.join(given, "lisa-micro")
    from lisa_micro.cache import cache_folder

    return str(cache_folder() / "server")


def socket_path(folder: str) -> str:
    """Path of the socket in the runtime folder."""
    return os.path.join(folder, "socket")


def check_folder(folder: str) -> None:
    """Check that a folder is the user's own and closed to others.

    Raises:
        PlaceError: it is not.
        OSError: it does not exist.
    """
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode):
        raise PlaceError("is not a folder")
    if info.st_uid != os.geteuid():
        raise PlaceError("belongs to another user")
    if info.st_mode & 0o077:
        raise PlaceError("is open to other users; close it with chmod 700")


def make_folder(folder: str) -> None:
    """Create the runtime folder where it is missing, and check it.

    Raises:
        PlaceError: it cannot be created, or is not the user's own.
    """
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        if not os.path.lexists(folder):
            os.mkdir(folder, 0o700)
        check_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PlaceError("cannot be written")
    except OSError as error:
        raise PlaceError(f"cannot be used ({error.strerror or error})") from error


def lock(folder: str) -> int | None:
    """Take the server's lock and write this process's number into its file.

    Returns:
        the open file, to be kept as long as the lock; None where a server holds it.

    Raises:
        OSError: the file cannot be opened or locked.
    """
    import fcntl

    file = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
    return file


def holder(folder: str) -> int | None:
    """Number of the process that took the lock last; None where none did."""
    try:
        with open(os.path.join(folder, "lock"), encoding="ascii") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return None


def remove_leftover(folder: str) -> None:
    """Remove the socket of a server that has been killed; the socket of one that lives stays."""
    held = lock(folder)
    if held is None:
        return
    try:
        os.unlink(socket_path(folder))
    except FileNotFoundError:
        pass
    finally:
        os.close(held)


def is_own(connection: socket.socket) -> bool:
    """Whether the other side is a process of the same user. Where the system does not tell, the mode of the folder has
    seen to it."""
    if sys.platform != "linux":
        return True
    credentials = struct.Struct("3i")  # process, user, group
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    _, user, _ = credentials.unpack(found)
    return bool(user == os.geteuid())
