"""What must be the same here and at the server for its results to be those of this process."""

from __future__ import annotations

import hashlib
import os
import sys

PROTOCOL = 1

SETTINGS = (
    "ATEN_", "CUDA_", "DNNL_", "GOMP_", "HF_", "HIP_", "KMP_", "LISA_MICRO_CACHE", "MKL_", "MPL", "NUMEXPR_", "NVIDIA_",
    "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHONPATH", "PYTHONUTF8", "PYTHONWARNINGS", "PYTORCH_", "ROCR_", "TORCH",
    "TRANSFORMERS_", "VECLIB_",
)  # fmt: skip
"""Beginnings of the names of environment variables that libraries read once, when they are loaded."""


def fingerprint() -> dict[str, str]:
    """Digests of the environment of this process.

    Returns:
        ``python``: interpreter, environment and protocol; ``files``: the package's files and what is installed beside
        it; ``settings``: environment variables that libraries read. Contents of files are not read: paths, sizes and
        times stand for them.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    python = (str(PROTOCOL), sys.version, sys.prefix, sys.getfilesystemencoding(), package)
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    files = [*stamps(package), *(f"{path} {os.stat(path).st_mtime_ns}" for path in installed if os.path.isdir(path))]
    settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(SETTINGS))
    return {"python": digest(python), "files": digest(files), "settings": digest(settings)}


def stamps(folder: str) -> list[str]:
    """Path, size and time of every file below a folder, without caches of bytecode; empty where it does not exist."""
    found = []
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    waiting.append(entry.path)
                continue
            info = entry.stat(follow_symlinks=False) if entry.is_symlink() else entry.stat()
            found.append(f"{entry.path} {info.st_size} {info.st_mtime_ns}")
    return sorted(found)


def digest(texts: list[str] | tuple[str, ...]) -> str:
    """A short digest of texts, hexadecimal."""
    joined = "\0".join(texts).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(joined, digest_size=16).hexdigest()
