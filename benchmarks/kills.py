"""Kill commands with SIGKILL at random moments, start them again, and compare the results with those of a run that was
never killed.

Half of the kills come at a random time, half before a random operation on a file of the results (see
``tests/helpers/killing.py``). A round begins with an empty folder, has one to three kills, and ends with a run that is
not killed. Models are stand-ins, except for `finetune`, which trains a tiny model::

    python benchmarks/kills.py --times 100
    python benchmarks/kills.py --times 20 --only track --seed 7
    python benchmarks/kills.py --only track --seed 7 --round 12       # one round again; its folder is kept
    python benchmarks/kills.py --times 100 --full      # the disk fills up before an operation; nothing is killed
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import numpy as np
from kill_serve import serve_reference, serve_round
from kill_works import WORKS, Work, differences, unfinished
from killing import Child, Ending, Moment

from lisa_micro.batch.engines.base import THREAD_VARIABLES

SERVE = "serve"
MOST_KILLS = 3
"""Largest number of kills of a round."""


@dataclass(frozen=True)
class Place:
    """Folders of a command: its inputs, and the results of a run that was never killed."""

    inputs: Path
    reference: Path


@dataclass
class Record:
    """What the rounds of one command came to.

    Attributes:
        kills: before an operation on a file, and at a time.
        too_late: runs that had ended before their moment.
        told: restarts that asked for --force, and got it.
        faults: sentences; each names its round.
    """

    rounds: int = 0
    at_operation: int = 0
    at_time: int = 0
    too_late: int = 0
    told: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reference_s: float = 0.0
    operations: int = 0

    @property
    def kills(self) -> int:
        """All kills."""
        return self.at_operation + self.at_time

    def count(self, moment: Moment, ending: Ending) -> None:
        """Count a run that was to be killed."""
        if ending.code is not None:
            self.too_late += 1
        elif moment.operation is not None:
            self.at_operation += 1
        else:
            self.at_time += 1


def draw(rng: np.random.Generator, seconds: float, operations: int) -> Moment:
    """A random moment of a run that takes some seconds and does some operations on files."""
    if rng.random() < 0.5:
        return Moment(operation=int(rng.integers(1, operations + 1)))
    return Moment(seconds=float(rng.uniform(0, seconds)))


def fill(work: Work, place: Place, folder: Path, rng: np.random.Generator, record: Record) -> list[str]:
    """One round in which the disk fills up; returns what went wrong."""
    out, log = folder / "out", folder / "log.txt"
    moment = Moment(operation=int(rng.integers(1, record.operations + 1)), full=True)
    ending = Child(lambda: work.run(place.inputs, out, False), [out], log, moment).end()
    record.at_operation += 1
    errors = [line for line in ending.output.splitlines() if line.startswith("error: ")]
    problems = []
    if ending.code not in (0, 2) or "Traceback" in ending.output or len(errors) != (ending.code == 2):
        problems.append(f"code {ending.code}, and not one sentence: {_last(ending)} (full from {moment})")
    if out.exists():
        problems += [f"{problem} (full from {moment})" for problem in unfinished(work, out, place.reference)]
    ending = Child(lambda: work.run(place.inputs, out, True), [out], log).end()
    if ending.code:
        problems.append(f"the second start ended with code {ending.code}: {_last(ending)} (full from {moment})")
    elif out.exists():
        problems += [f"{problem} (full from {moment})" for problem in differences(work, out, place.reference)]
    return problems


def play(work: Work, place: Place, folder: Path, rng: np.random.Generator, record: Record) -> list[str]:
    """One round; returns what went wrong."""
    out, log = folder / "out", folder / "log.txt"
    problems: list[str] = []
    for number in range(int(rng.integers(1, MOST_KILLS + 1))):
        moment = draw(rng, record.reference_s, record.operations)
        ending = Child(lambda again=number > 0: work.run(place.inputs, out, again), [out], log, moment).end()
        record.count(moment, ending)
        if ending.code:
            problems.append(f"start {number + 1} ended with code {ending.code}: {_last(ending)}")
        if out.exists():
            problems += [f"{problem} (killed at {moment})" for problem in unfinished(work, out, place.reference)]
        if ending.code is not None:
            break
    ending = Child(lambda: work.run(place.inputs, out, True), [out], log).end()
    if ending.code:
        problems.append(f"the last start ended with code {ending.code}: {_last(ending)}")
    elif out.exists():
        problems += differences(work, out, place.reference)
    return problems


def _last(ending: Ending) -> str:
    lines = [line for line in ending.output.splitlines() if line.strip()]
    return " ".join(lines[-2:])[:400]


def rounds(name: str, options: argparse.Namespace, home: Path) -> Record:
    """All rounds of one command."""
    record, inputs = Record(), home / "inputs"
    inputs.mkdir(parents=True)
    began = time.monotonic()
    if name == SERVE:
        record.reference_s, record.operations = serve_reference(inputs, home)
    else:
        work = WORKS[name]
        _prepare(work, inputs, home)
        reference = home / "reference"
        _measure(work, inputs, reference, home)
        ending = _measure(work, inputs, home / "again", home)
        record.reference_s, record.operations = ending.seconds, ending.operations
        problems = differences(work, home / "again", reference)
        if problems:
            raise SystemExit(f"two runs of {name} differ without any kill: {'; '.join(problems)}")
    number = 0
    while record.kills < options.times:
        number = options.round or number + 1
        rng = np.random.default_rng((options.seed, *name.encode(), number))
        folder = home / f"round-{number}"
        folder.mkdir()
        try:
            if name == SERVE:
                moment = draw(rng, record.reference_s, record.operations)
                ending, problems, told = serve_round(inputs, home, folder, moment)
                record.count(moment, ending)
                record.told += told
                problems = [f"{problem} (killed at {moment})" for problem in problems]
            else:
                problems = (fill if options.full else play)(work, Place(inputs, reference), folder, rng, record)
        except TimeoutError as error:
            problems = [str(error)]
        record.rounds += 1
        record.faults += [f"round {number}: {problem}" for problem in problems]
        for problem in problems:
            print(f"{name}, round {number}: {problem}", flush=True)
        if options.round:
            print(f"the folder of the round is {folder}")
            break
        if not problems:
            shutil.rmtree(folder)
    record.seconds = time.monotonic() - began
    return record


def _measure(work: Work, inputs: Path, out: Path, home: Path) -> Ending:
    """A run that is not killed. What it imports is imported here, so that later kills do not hit imports."""
    listed = home / "modules.txt"

    def run() -> int:
        code = work.run(inputs, out, False)
        listed.write_text("\n".join(sys.modules), encoding="utf-8")
        return code

    ending = Child(run, [out], home / "log.txt").end()
    if ending.code != 0:
        raise SystemExit(f"it fails without any kill: {ending.output[-3000:]}")
    for name in listed.read_text(encoding="utf-8").splitlines():
        try:
            importlib.import_module(name)
        except Exception:  # a module that is only meant for another one
            continue
    return ending


def _prepare(work: Work, inputs: Path, home: Path) -> None:
    """Write the inputs in a process of its own, so that this one starts no threads."""

    def prepare() -> int:
        work.prepare(inputs)
        return 0

    ending = Child(prepare, [], home / "log.txt").end()
    if ending.code:
        raise SystemExit(ending.output[-3000:])


KILLED = (
    "Each command was killed with SIGKILL at a random time or before a random operation on a file of its results, "
    f"up to {MOST_KILLS} times in a round, and started again with `--resume` where it has that option. At the "
    "end of each round its results are compared with those of a run that was never killed: byte for byte, JSON "
    "without times, trained weights within 1e-6. After each kill, no file may be there that is half-written and "
    "not named or hidden as such."
)
FILLED = (
    "The disk was full from a random operation on a file of the results on: each command must end with one sentence, "
    "or do without the file, and give the results of an undisturbed run when it is started again. `kills` are rounds."
)


def report(records: dict[str, Record], options: argparse.Namespace) -> str:
    """The results as Markdown."""
    from lisa_micro.evaluate.provenance import commit, hardware

    lines = [
        "# A full disk" if options.full else "# Killed and started again",
        "",
        FILLED if options.full else KILLED,
        "",
        "| command | rounds | kills | of them before an operation on a file | ended before its moment | told to use "
        "`--force` | one run, s | operations | faults |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        cells = [record.rounds, record.kills, record.at_operation, record.too_late, record.told]
        cells += [f"{record.reference_s:.1f}", record.operations, len(record.faults)]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    faults = [f"- {name}, {fault}" for name, record in records.items() for fault in record.faults]
    lines += ["", *(["Faults:", "", *faults, ""] if faults else [])]
    seconds = sum(record.seconds for record in records.values())
    lines.append(
        f"Seed {options.seed}; {seconds / 60:.0f} min. {hardware()}; load average {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}; commit {commit() or 'unknown'}. {options.remark}".rstrip()
    )
    return "\n".join([*lines, ""])


def main() -> int:
    """Kill; the exit code is 1 if anything was lost."""
    names = (*WORKS, SERVE)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="kills of each command (default: 100)")
    parser.add_argument("--only", action="append", default=[], choices=names, help="commands; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--round", type=int, help="do this round alone, and keep its folder")
    parser.add_argument("--full", action="store_true", help="fill the disk instead of killing")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    parser.add_argument("--remark", default="", help="a sentence about the machine, for the record")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="lisa-micro-kills-"))
    records = {}
    for name in options.only or (tuple(WORKS) if options.full else names):
        records[name] = rounds(name, options, home / name.replace(" ", "-"))
        print(f"{name}: {records[name].kills} kills, {len(records[name].faults)} faults", flush=True)
    text = report(records, options)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    found = any(record.faults for record in records.values())
    if not (found or options.round):
        shutil.rmtree(home)
    return 1 if found else 0


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        # libraries read these when they are loaded; forks must not inherit pools of threads
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")})
    sys.exit(main())
