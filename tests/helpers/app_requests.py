"""Requests to the handlers of the app, as a page sends them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from paths import ROOT
from stand_in_app import film

from lisa_micro_app import handlers
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.session import Upload

LIMITS = Limits(display_px=64)


def send(user, content: bytes, name: str, kind: str = "image") -> str:
    path = user.new_file(handlers.safe_suffix(name))
    path.write_bytes(content)
    user.uploads["key"] = Upload(path, name, kind)
    return "key"


def opened(user, queue, tmp_path, name="film.tif", **settings):
    handlers.open_upload(user, queue, send(user, film(tmp_path / "f.tif", **settings).read_bytes(), name), LIMITS)
    return user.state.picture


def ask(user, queue, words, limits=LIMITS):
    return list(handlers.ask(user, queue, words, limits))


def run_script(archive: zipfile.ZipFile, folder: Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the script of a download as a user would, with the command line of this checkout."""
    archive.extractall(folder)
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "lisa-micro").write_text(f'#!/bin/sh\nexec {sys.executable} -m lisa_micro.cli.main "$@"\n')
    (bin_ / "lisa-micro").chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", "repeat.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=seconds)
