"""What commands show and how they end: progress, notes, JSON, one line per error, exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lisa_micro.types import InputError


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show a spinner while something runs; on a terminal only."""
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


@contextmanager
def steps(what: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a spinner that becomes a progress bar when the function it gives is called with (what, done, total); on a
    terminal only. ``total`` is None where it is not known."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{what} ...", total=None)
        yield lambda now, done, total: progress.update(task, description=now, completed=done, total=total)


def note(text: str) -> None:
    """Print a note on the standard error stream."""
    print(f"note: {text}", file=sys.stderr)


def notes(texts: Iterable[str]) -> None:
    """Print notes on the standard error stream, each once."""
    for text in dict.fromkeys(texts):
        note(text)


def list_written(paths: Iterable[Path]) -> None:
    """Print one line per file written."""
    for path in paths:
        print(f"wrote {path}")


def print_json(content: Mapping[str, object] | Sequence[object]) -> None:
    """Print a JSON document on the standard output; NaN becomes null, NumPy values become plain ones."""
    from lisa_micro.io.files import json_text

    print(json_text(content))


def complain(text: str) -> None:
    """Print an error as one line on the standard error stream."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)


def _disk_problem(error: Exception) -> str:
    """A sentence about a disk that took no file; ``""`` for errors of another kind."""
    from lisa_micro.io.files import disk_problem

    reason = disk_problem(error) if isinstance(error, OSError) else ""
    return f"{getattr(error, 'filename', None) or 'A file'} cannot be written: {reason}." if reason else ""


def run(command: Callable[[], object]) -> int:
    """Call the command line without its own error handling and return the exit code.

    0: success. 2: a request or a file that cannot be used, or wrong usage. 1: a defect. 130: interrupted. Every error
    is one line on the standard error stream; ``LISA_MICRO_DEBUG=1`` shows the traceback of a defect.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without µ shows a ? instead of ending the run
            stream.reconfigure(errors="replace")
    try:
        code = command() or 0
    except InputError as error:
        complain(str(error))
        code = 2
    except (KeyboardInterrupt, EOFError):
        complain("interrupted.")
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        usage, full = _usage_error(error), _disk_problem(error)
        if full:
            code = 2
            complain(full)
        elif usage is not None:
            code = 2
            print(usage) if type(error).__name__ == "NoArgsIsHelpError" else complain(usage)
        elif os.environ.get("LISA_MICRO_DEBUG"):
            raise
        else:
            complain(f"{type(error).__name__}: {error} (a defect; LISA_MICRO_DEBUG=1 shows where)")
            code = 1
    return code if isinstance(code, int) else 0


def _usage_error(error: Exception) -> str | None:
    """The message of a usage error of Typer, None for other errors. Which module defines the class of these errors
    (click, or the copy of it inside Typer) depends on Typer's version; its name does not."""
    if not any(kind.__name__ == "ClickException" for kind in type(error).__mro__):
        return None
    message: str = error.format_message()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        return message
    context = getattr(error, "ctx", None)
    name = context.command_path if context is not None else "lisa-micro"
    sentence = message.replace("Value error, ", "").strip().rstrip(".")
    return f"{sentence}; see {name} --help."
