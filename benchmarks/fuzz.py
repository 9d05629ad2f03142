"""Fuzz every reader of files for as long as there is time; each input that is not handled is kept.

Valid files of each kind are changed by a generator with a fixed seed and read in a process with bounded memory and
processor time. Expected is a result, or an ``InputError`` of one sentence. Everything else is a finding: its files go
to a folder of the output, with ``problem.txt``::

    python benchmarks/fuzz.py --minutes 60 --out fuzzed
    python benchmarks/fuzz.py --minutes 5 --only zarr --only mrc --seed 7 --out fuzzed
    python benchmarks/fuzz.py --again fuzzed/0000123-mrc          # reads one finding again
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from fuzz_seeds import TARGETS
from fuzzing import Reader, fuzz

PROBLEM = "problem.txt"


def main() -> int:
    """Fuzz; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("fuzzed"), help="folder for findings (default: fuzzed)")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="kinds whose names hold this word")
    parser.add_argument("--seed", type=int, default=None, help="of the generator (default: another one at each run)")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="read one finding again")
    options = parser.parse_args()
    if options.again:
        return again(options.again)
    names = [
        name
        for name, target in TARGETS.items()
        if target.available and (not options.only or any(word in name for word in options.only))
    ]
    if not names:
        parser.error(f"no kind is called so; there are: {', '.join(TARGETS)}")
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"seed {seed}; {len(names)} kinds: {', '.join(names)}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    found = 0
    with tempfile.TemporaryDirectory() as work:
        for finding in fuzz(names, seed, Path(work), seconds=60 * options.minutes):
            found += 1
            kept = options.out / f"{seed}-{finding.folder.name}-{finding.target.replace(' ', '_')}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(finding.folder, kept)
            (kept / PROBLEM).write_text(f"{finding.target}\n{finding.problem}\n", encoding="utf-8")
            print(f"{kept}: {finding.problem}", flush=True)
    print(f"{found} findings in {options.out}" if found else "nothing found")
    return 1 if found else 0


def again(folder: Path) -> int:
    """Read a finding in a process of its own; the exit code is 1 if it is still not handled."""
    target = (folder / PROBLEM).read_text(encoding="utf-8").splitlines()[0]
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "input"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(PROBLEM))
        reader = Reader()
        problem = reader.problem(target, copy)
        reader.close()
    print(problem or "handled")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
