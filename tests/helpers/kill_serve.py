"""The server of the command line, killed while commands use it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from batch_images import disc_image, write_image
from kill_works import Work, difference, files_of, run_command
from killing import NEVER, PATIENCE_S, Child, Ending, Moment

CLIENTS = 2
MODEL = ("--preset", "stand-in")
RESULTS = Work(lambda folder: None, lambda inputs, out, again: [], dropped=frozenset(("seconds", "command_line")))
NOT_USED = "do not use it"
"""What the server's status says if a file of the package was changed since it started."""


class Place:
    """A runtime folder with a server, and commands that use it.

    Args:
        image: what the commands segment.
        folder: for their results and all output.
    """

    def __init__(self, image: Path, folder: Path):
        self.image, self.folder = image, folder
        self.runtime = Path(tempfile.mkdtemp(prefix="lm-"))  # the path of a socket must be short

    def start(self, name: str, words: list[object], moment: Moment = NEVER, client: bool = False) -> Child:
        """Start a command; ``client``: one that looks for the server."""
        watched = [self.runtime, self.folder]
        return Child(self._work([str(word) for word in words], client), watched, self.folder / f"{name}.txt", moment)

    def _work(self, words: list[str], client: bool) -> Callable[[], int]:
        def work() -> int:
            os.environ["XDG_RUNTIME_DIR"] = str(self.runtime)
            os.environ.pop("LISA_MICRO_NO_SERVER", None)
            os.chdir(self.folder)
            if client:
                from lisa_micro.cli.server.client import run_on_server

                code = run_on_server(words)
                if code is not None:
                    return code
            return run_command(words)

        return work

    def serve(self, name: str, moment: Moment = NEVER) -> Child:
        """Start a server and wait until it serves, or has ended."""
        server = self.start(name, ["serve", *MODEL], moment)
        said = self.folder / f"{name}.txt"
        until = time.monotonic() + PATIENCE_S
        while server.running() and time.monotonic() < until:
            # the socket says nothing: that of a server that was killed is still there
            if said.exists() and "Serving" in said.read_text(encoding="utf-8"):
                break
            time.sleep(0.002)
        return server

    def segment(self, name: str, force: bool = False) -> Child:
        """Start a command that the server may run."""
        words = ["segment", self.image, "all particles", "--out", self.folder / name, *MODEL]
        return self.start(f"{name}-output", [*words, "--force"] if force else words, client=True)

    def close(self) -> None:
        """Remove the runtime folder."""
        shutil.rmtree(self.runtime, ignore_errors=True)


def serve_reference(inputs: Path, home: Path) -> tuple[float, int]:
    """Segment without a server into ``home/reference``; then measure a server that answers.

    Returns:
        seconds from the start of the server to the last answer, and operations on files in that time.
    """
    write_image(inputs / "film.tif", disc_image(1))
    (home / "reference").mkdir()
    place = Place(inputs / "film.tif", home / "reference")
    try:
        ending = place.segment("client").end()
        if ending.code != 0:
            raise SystemExit(f"segment fails without a server: {ending.output[-3000:]}")
        (home / "measured").mkdir()
        place.folder = home / "measured"
        began = time.monotonic()
        server = place.serve("server")
        endings = [client.end() for client in [place.segment(f"client-{k}") for k in range(CLIENTS)]]
        took = time.monotonic() - began
        server.kill()
        if any(ending.code for ending in endings):
            raise SystemExit(f"segment fails with a server: {endings[0].output[-3000:]}")
        return took, server.end().operations
    finally:
        place.close()


def serve_round(inputs: Path, home: Path, folder: Path, moment: Moment) -> tuple[Ending, list[str], int]:
    """Kill a server while commands use it, then start another one.

    Args:
        inputs: folder of the image.
        home: folder with the reference.
        folder: of the round.
        moment: when the server is killed; one that has not been killed when all commands have ended is killed then.

    Returns:
        how the server ended; what went wrong; how many commands asked for --force.
    """
    place = Place(inputs / "film.tif", folder)
    try:
        return _round(place, home / "reference" / "client", moment)
    finally:
        place.close()


def _round(place: Place, reference: Path, moment: Moment) -> tuple[Ending, list[str], int]:
    problems, told = [], 0
    server = place.serve("server", moment)
    clients = {f"client-{k}": place.segment(f"client-{k}") for k in range(CLIENTS)}
    while any([child.running() for child in (*clients.values(), server)][:-1]):
        time.sleep(0.005)
    server.kill()
    ending = server.end()
    for name, client in clients.items():
        code, output = client.end().code, client.end().output
        if code == 2 and "--force" in output:
            told += 1
            again = place.segment(name, force=True).end()
            code, output = again.code, again.output
        if code != 0:
            problems.append(f"{name} ended with code {code}: {' '.join(output.split())[-300:]}")
        else:
            problems += _compared(place.folder / name, reference, name)
    second = place.serve("second-server")
    if not second.running():
        return ending, [*problems, f"no server starts after the kill: {second.end().output[-300:]}"], told
    later = place.segment("client-later").end()
    status = place.start("status", ["serve", "--status"]).end().output
    problems += (
        _compared(place.folder / "client-later", reference, "client-later") if later.code == 0 else [later.output]
    )
    if " 1 requests" not in status and NOT_USED not in status:
        problems.append(f"the new server did not answer: {' '.join(status.split())[:300]}")
    stopped = place.start("stop", ["serve", "--stop"]).end()
    if stopped.code or second.end().code:
        problems.append(f"the new server does not stop: {stopped.output[-300:]}")
    left = sorted(files_of(place.runtime))
    if left != ["lisa-micro/lock"]:
        problems.append(f"left behind in the runtime folder: {', '.join(left)}")
    return ending, problems, told


def _compared(out: Path, reference: Path, name: str) -> list[str]:
    found, whole = files_of(out), files_of(reference)
    problems = [f"{name}: {file} is missing" for file in whole if file not in found]
    problems += [f"{name}: {file} was left behind" for file in found if file not in whole]
    for file in whole.keys() & found.keys():
        problem = difference(RESULTS, found[file], whole[file])
        if problem:
            problems.append(f"{name}: {file} {problem}")
    return problems
