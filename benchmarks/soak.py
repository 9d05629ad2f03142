"""The app with several users in mixed work for hours: does its memory stay flat, and does it leave no file behind?

Half of the visits are those of programs, which use the API: requests and follow-ups, measurements, comparisons with
boxes, corrections and their undoing, downloads, videos and questions about them. The other half are those of pages,
which send the events of their script: requests, undo, downloads, batches. The memory of the server's process, its open
files and threads, and the files in its temporary folder are sampled. At the end all users leave; then no file of theirs
may be there, and after the server has stopped none at all::

    python benchmarks/soak.py --users 4 --minutes 120 --out soak.md
    python benchmarks/soak.py --users 2 --minutes 10 --preset FOLDER
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from app_client import AppError, Page, Program
from app_users import ASKED, app, film

FLAT_MB = 100.0
"""The median memory of the last quarter may exceed that of the second quarter by this much, 1e6 bytes."""
LEFT_S = 60.0
"""Time in which the app ends the sessions of pages that were closed."""
FOLLOW_UPS = ("only those in the left half", "how many are there?", "only the largest", "what is their mean diameter?")
FRAMES = 4


@dataclass(frozen=True)
class Sample:
    """The server at one time.

    Attributes:
        seconds: since the start.
        memory_mb: resident, 1e6 bytes. files: in its temporary folder.
        descriptors: open files and connections. threads: number of threads.
    """

    seconds: float
    memory_mb: float
    files: int
    descriptors: int
    threads: int


@dataclass
class Tally:
    """What all users did.

    Attributes:
        done: action -> how often. faults: sentences.
    """

    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, action: str) -> None:
        """Count an action that worked."""
        with self.lock:
            self.done[action] += 1

    def fault(self, text: str) -> None:
        """Note what went wrong."""
        print(text, file=sys.stderr, flush=True)
        with self.lock:
            self.faults.append(text)


@dataclass(frozen=True)
class User:
    """One user: a number, random numbers, and files to work on."""

    number: int
    rng: np.random.Generator
    image: bytes
    video: bytes

    @classmethod
    def make(cls, number: int, seed: int) -> User:
        """A user whose micrograph and video are simulated."""
        from lisa_micro.sim import simulate_sintering

        video = simulate_sintering(seed=seed + number, frames=FRAMES, shape=(128, 160), n_particles=5)
        frames = video.frames().astype(np.float32)
        return cls(number, np.random.default_rng((seed, number)), _tiff(film(number)), _tiff(frames, finterval=0.5))

    def draw(self, options: tuple[str, ...]) -> str:
        """One of several, at random."""
        return options[int(self.rng.integers(len(options)))]


def _tiff(pixels: np.ndarray, **more: object) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    axes = {"axes": "TYX"} if pixels.ndim == 3 else {}
    metadata = {"unit": "nm", **axes, **more}
    tifffile.imwrite(buffer, pixels, imagej=True, resolution=(5.0, 5.0), metadata=metadata)
    return buffer.getvalue()


# -------------------------------------------------------------------------------------------------------- visits


def visit_program(url: str, user: User, tally: Tally) -> None:
    """Visit as a program."""
    program = Program(url)
    try:
        image = program.send(program.upload, "image", f"user {user.number}.tif", user.image)
        answer = program.ask("segment", image, user.draw(ASKED))
        tally.count("request")
        image = answer["image"]  # the key of an upload is used once
        for _ in range(int(user.rng.integers(1, 4))):
            program.ask("segment", image, user.draw(FOLLOW_UPS))
            tally.count("follow-up")
        whole = program.ask("segment", image, "segment all particles")
        tally.count("request")
        for segment in whole["segments"][:1]:
            program.fetch(segment["labels"])
            program.fetch(whole["overlay"])
            program.fetch(program.ask("measure", whole["answer"])["csv"])
            tally.count("download")
            actions = [{"action": "add", "box": [4, 4, 12, 12]}, {"action": "remove", "instances": [1]}]
            try:
                program.ask("correct", whole["answer"], actions)
                program.ask("correct", whole["answer"], [])  # all actions are given each time: this undoes them
                tally.count("undo")
            except AppError as error:
                if "Nothing was changed" not in str(error):  # the box is drawn blindly
                    raise
        boxes = [[20.0, 20.0, 60.0, 60.0], [90.0, 40.0, 140.0, 90.0]]
        program.ask("compare", image, "segment all particles", boxes)
        tally.count("boxes")
        if user.rng.random() < 0.5:
            video = program.send(program.upload, "video", "film.tif", user.video)
            followed = program.ask("track", video, "follow all particles", None, None, bool(user.rng.random() < 0.5))
            tally.count("video")
            for address in followed["files"].values():
                program.fetch(address)
            program.ask("ask_video", "how many particles are there at the end?")
            tally.count("question about a video")
    finally:
        program.close()


def visit_page(url: str, user: User, tally: Tally) -> None:
    """Visit as a page."""
    page = Page(url)
    try:
        upload = page.load("lm-viewer")["upload"]["url"]
        key = page.send(upload, "image", f"user {user.number}.tif", user.image)
        page.trigger("lm-viewer", "uploaded", detail={"key": key})
        for words in (user.draw(ASKED), user.draw(FOLLOW_UPS)):
            page.trigger("lm-send", "click", [words])
            tally.count("request")
        page.trigger("lm-undo", "click")
        tally.count("undo")
        page.trigger("lm-send", "click", ["segment all particles"])
        tally.count("request")
        page.fetch(page.trigger("lm-save", "click")[0]["url"])
        tally.count("download")
        if user.rng.random() < 0.5:
            upload = page.load("lm-batch")["upload"]["url"]
            for k in range(3):
                page.send(upload, "batch", f"film {k}.tif", user.image)
            page.trigger("lm-batch", "uploaded", detail={})
            page.trigger("lm-batchstart", "click", ["segment all particles", ""])
            tally.count("batch")
            for part in ("lm-batchreport", "lm-batchsave"):
                page.fetch(page.trigger(part, "click")[0]["url"])
                tally.count("download")
    finally:
        page.close()


def live(url: str, user: User, until: float, tally: Tally) -> None:
    """Visit the app again and again until a time."""
    while time.monotonic() < until:
        visit = visit_program if user.rng.random() < 0.5 else visit_page
        try:
            visit(url, user, tally)
        except Exception as error:  # any failure counts, and the user comes again
            tally.fault(f"user {user.number}, {visit.__name__}: {type(error).__name__}: {' '.join(str(error).split())}")
            time.sleep(1)


# ------------------------------------------------------------------------------------------------------ measuring


def sample(process: int, folder: Path, began: float) -> Sample:
    """Measure the server."""
    place = Path("/proc") / str(process)
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    memory = int(status["VmRSS"].split()[0]) * 1024 / 1e6
    return Sample(
        time.monotonic() - began, memory, count_files(folder), len(os.listdir(place / "fd")), int(status["Threads"])
    )


def count_files(folder: Path) -> int:
    """Number of files below a folder; folders that vanish meanwhile are left out."""
    return sum(len(files) for _, _, files in os.walk(folder))


def growth_mb(samples: list[Sample]) -> float:
    """Median memory of the last quarter less that of the second, 1e6 bytes."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return float(np.median([one.memory_mb for one in late]) - np.median([one.memory_mb for one in early]))


def report(samples: list[Sample], tally: Tally, problems: list[str], options: argparse.Namespace) -> str:
    """The results as Markdown."""
    from lisa_micro.evaluate.provenance import commit, hardware

    done = ", ".join(f"{number} x {action}" for action, number in tally.done.most_common())
    lines = [
        "# Soak of the app",
        "",
        f"{options.users} users for {options.minutes:g} minutes, preset `{options.preset}`, seed {options.seed}:",
        f"{done}.",
        "",
        "| minute | memory, MB | files in the temporary folder | open files and connections | threads |",
        "|---|---|---|---|---|",
    ]
    for one in samples[:: max(1, len(samples) // 12)] + samples[-1:]:
        cells = (f"{one.seconds / 60:.1f}", f"{one.memory_mb:.0f}", one.files, one.descriptors, one.threads)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        f"Median memory of the last quarter less that of the second: {growth_mb(samples):+.0f} MB (bound: "
        f"{FLAT_MB:.0f} MB). Largest: {max(one.memory_mb for one in samples):.0f} MB.",
        "",
        *([f"- {problem}" for problem in (*problems, *tally.faults)] or ["No fault, and no file left behind."]),
        "",
        f"{hardware()}; load average {os.getloadavg()[0]:.1f}; Python {platform.python_version()}; commit "
        f"{commit() or 'unknown'}. {options.remark}".rstrip(),
        "",
    ]
    return "\n".join(lines)


def run(options: argparse.Namespace, folder: Path) -> tuple[list[Sample], Tally, list[str]]:
    """Let the users work; returns samples, what was done, and what is wrong in the end."""
    samples, tally, problems = [], Tally(), []
    users = [User.make(number, options.seed) for number in range(options.users)]
    with app(options.preset, folder) as server:
        before = count_files(folder)
        began = time.monotonic()
        until = began + 60 * options.minutes
        threads = [threading.Thread(target=live, args=(server.url, user, until, tally)) for user in users]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            samples.append(sample(server.process, folder, began))
            time.sleep(options.every)
        left = time.monotonic() + LEFT_S
        while count_files(folder) > before and time.monotonic() < left:
            time.sleep(1)
        samples.append(sample(server.process, folder, began))
        if samples[-1].files > before:
            problems.append(f"{samples[-1].files - before} files of sessions that have ended are left")
    files = count_files(folder)
    if files:
        problems.append(f"{files} files are left after the server has stopped")
    if growth_mb(samples) > FLAT_MB:
        problems.append(f"memory grew by {growth_mb(samples):.0f} MB")
    return samples, tally, problems


def main() -> int:
    """Run the soak; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples (default: 5)")
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument("--remark", default="", help="a sentence about the machine, for the record")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lisa-micro-soak-") as folder:
        samples, tally, problems = run(options, Path(folder))
    text = report(samples, tally, problems, options)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 1 if problems or tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
