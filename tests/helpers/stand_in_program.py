"""``lisa-micro`` as a program whose model is a stand-in; replies name the process that answered.

Requests: "wait PATH" makes ``PATH.started`` and waits for PATH, or makes ``PATH.interrupted``; "crash" raises an error,
"leave" ends the process as a library might. Nothing heavy is imported before the model is loaded, as in the program.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import lisa_micro
from lisa_micro.cli.main import main


def load(preset: str, **how: object) -> object:
    """A stand-in that says which process it is in."""
    from dataclasses import replace

    from cli_calls import StandIn

    class Named(StandIn):
        def ask(self, image, prompt):
            word, _, path = prompt.partition(" ")
            if word == "wait":
                wait_for(Path(path))
            if word == "crash":
                raise RuntimeError("something broke")
            if word == "leave":
                sys.exit(7)
            answer = super().ask(image, prompt)
            return replace(answer, text=f"{answer.text} (process {os.getpid()})")

    return Named()


def wait_for(path: Path) -> None:
    path.with_suffix(".started").touch()
    try:
        while not path.exists():
            time.sleep(0.02)
    except KeyboardInterrupt:
        path.with_suffix(".interrupted").touch()
        raise


if __name__ == "__main__":
    lisa_micro.load_assistant = load  # type: ignore[assignment]
    main()
