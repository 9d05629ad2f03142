"""What an evaluation ran on: commit of the checkout and hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

_CPU_FEATURES = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512f", "avx2")


def commit() -> str | None:
    """Commit of the checkout that the package runs from, with ``+`` if files have changed since.

    Returns:
        ``None`` for an installed package, even inside another repository, and without git.
    """
    root = Path(__file__).resolve().parents[2]
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if not top or Path(top).resolve() != root:
            return None
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "lisa_micro")
        return (_git(root, "rev-parse", "HEAD") or "") + ("+" if changed else "") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def usable_cores() -> int:
    """Number of processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> str:
    """One line: processor, usable cores, relevant instruction sets, and the GPU if torch has one."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() in ("flags", "Features"):
            flags |= set(value.split())
    pieces = [f"{model}, {usable_cores()} of {os.cpu_count()} cores"]
    if flags:
        pieces.append("with " + (", ".join(f for f in _CPU_FEATURES if f in flags) or "no wide vectors"))
        if not any(flag.startswith("amx") for flag in flags):
            pieces.append("no AMX")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        pieces.append(f"GPU {torch.cuda.get_device_name(0)}")
    return ", ".join(pieces)
