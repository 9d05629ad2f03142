"""Fuzzing: changed files are read in a process with bounded memory and time; the result or one sentence is expected.

Run as a script it is that process: it takes lines of JSON with a kind and a folder, and answers each with a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from fuzz_mutations import mutated
from fuzz_seeds import TARGETS

MEMORY = 3 * 2**30
"""Bytes of address space that a reading may take beyond what the imports take."""
SECONDS = 10
"""Processor time that a reading may take."""
PATIENCE = 300.0
"""Time after which a process that says nothing is ended; a loaded machine is slow."""
LONGEST = 600
"""Characters of a message, without the path of its file."""

_IMPORTED = (
    *("av", "h5py", "imagecodecs", "mrcfile", "pandas", "PIL.Image", "pyarrow.parquet", "rsciio.emd", "rsciio.bruker"),
    *("scipy.ndimage", "tifffile", "zarr", "lisa_micro.models.lisa.adapter", "lisa_micro.napari.reader"),
)


@dataclass(frozen=True)
class Finding:
    """An input that was not handled.

    Attributes:
        target: its kind.
        folder: that holds it.
        problem: what happened: another error, a crash, too much memory or time, or a message that is no sentence.
    """

    target: str
    folder: Path
    problem: str


def inputs(names: list[str], seed: int, folder: Path, first: int = 0) -> Iterator[tuple[str, Path]]:
    """Write changed inputs without end, each kind in turn.

    Args:
        names: kinds.
        seed: input k of a seed is always the same.
        folder: for the inputs; each is a folder in it.
        first: number of the first input.
    """
    seeds = folder / "seeds"
    for name in names:
        (seeds / name).mkdir(parents=True)
        TARGETS[name].make(seeds / name)
    number = first
    while True:
        name = names[number % len(names)]
        rng = np.random.default_rng((seed, number))
        out = folder / f"{number:07d}"
        shutil.copytree(seeds / name, out)
        files = sorted({f for p in TARGETS[name].changed for f in out.glob(p) if f.is_file()})
        chosen = files[int(rng.integers(len(files)))]
        alike = [f for f in files if f.suffix == chosen.suffix]
        other = alike[int(rng.integers(len(alike)))].read_bytes()
        chosen.write_bytes(mutated(chosen.read_bytes(), rng, other))
        yield name, out
        number += 1


class Reader:
    """A process that reads inputs. One that dies is started again for the next input."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def problem(self, target: str, folder: Path) -> str:
        """What is wrong with how an input is read, ``""`` if nothing is."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([target, str(folder)]).encode() + b"\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if ready.select(PATIENCE) else b""
        if line:
            return str(json.loads(line))
        process.kill()
        code = process.wait()
        self._process = None
        if code == -signal.SIGPROF:
            return f"took more than {SECONDS} s of processor time"
        return f"ended the process with signal {-code}" if code < 0 else f"ended the process with code {code}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process


def fuzz(
    names: list[str], seed: int, folder: Path, count: int | None = None, seconds: float | None = None, first: int = 0
) -> Iterator[Finding]:
    """Read changed inputs and give those that were not handled; the others are removed.

    Args:
        names: kinds.
        seed: of the generator.
        folder: for the inputs.
        count, seconds: how many inputs, and for how long; ``None`` for no limit.
        first: number of the first input.
    """
    end = None if seconds is None else time.monotonic() + seconds
    reader = Reader()
    try:
        for number, (name, path) in enumerate(inputs(names, seed, folder, first)):
            if (count is not None and number >= count) or (end is not None and time.monotonic() > end):
                shutil.rmtree(path)
                break
            problem = reader.problem(name, path)
            if problem:
                yield Finding(name, path, problem)
            else:
                shutil.rmtree(path)
    finally:
        reader.close()
        shutil.rmtree(folder / "seeds")


def read(target: str, folder: Path) -> str:
    """Read an input in this process; the result is that of :meth:`Reader.problem`."""
    from lisa_micro.types import InputError

    try:
        TARGETS[target].read(folder)
    except InputError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return f"took more than {MEMORY / 2**30:g} GB of memory: {error}"
            cause = cause.__cause__ or cause.__context__
        return _fault(str(error).replace(str(folder), ""), TARGETS[target].lines)
    except MemoryError as error:
        return f"took more than {MEMORY / 2**30:g} GB of memory: {error!r}"
    except Exception as error:
        import traceback

        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"raised {error!r:.300} in {Path(last.filename).name}, line {last.lineno}"
    return ""


def _fault(message: str, lines: bool) -> str:
    """Why a message is not one that a user can read, ``""`` if it is."""
    if not message.strip() or ("\n" in message.strip() and not lines):
        return f"said what is not one sentence: {message:.300}"
    if max(map(len, message.splitlines())) > LONGEST or len(message) > 10 * LONGEST:
        return f"said {len(message)} characters: {message:.300}"
    return ""


def _bound() -> None:
    """Bound the memory of this process from now on, and its time from reading to reading."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve() -> None:
    import warnings

    # imports do not count
    for name in _IMPORTED:
        with contextlib.suppress(ImportError):
            import_module(name)
    warnings.simplefilter("ignore")
    # what a library prints must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _bound()
    for line in sys.stdin:
        target, folder = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the signal ends the process, also within a library
        with contextlib.redirect_stdout(sys.stderr):
            problem = read(target, Path(folder))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(problem) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _serve()
