"""LISA-micro beside other tools in one run: segmentation, networks and trackers, with accuracy, time and memory.

    python benchmarks/peers.py                          # everything; writes peers.json, peers.md and docs/peers.md
    python benchmarks/peers.py --part networks          # one part; the others keep their results
    python benchmarks/peers.py --images 6 --scenes 6 --training 4 --rounds 1 --frames 20 --videos 1 --out /tmp/peers
    python benchmarks/peers.py --tables                 # only write the tables again

Each peer runs in a process of its own. What is not installed is named with the command that installs it, and left out:
``pip install "lisa-micro[peers]"`` for laptrack and trackpy, ``apt-get install imagej`` for ImageJ, and see
``competitors/networks.py`` for Cellpose. EMPS is read from ``LISA_MICRO_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from competitors import networks, pictures, segmenting, trackers, videos
from competitors.processes import alone, serve_step
from competitors.scores import score, summary

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "peers.md"
PARTS = ("images", "networks", "trackers")
NOT_TOLD = ("step", "tables", "data", "out", "work")
"""Arguments that the results do not repeat: those that do not change them, and folders of the machine."""
STEPS = {
    "prepare": pictures.prepare,
    "choose": segmenting.choose,
    "segment": segmenting.segment,
    "network": networks.measure_network,
    "detect": videos.detect,
    "choose_tracker": trackers.choose_tracker,
    "track": trackers.track,
}
KINDS = {
    "slow": ("slow", "truth", "Slow particles, disturbed truth"),
    "fast": ("fast", "truth", "Fast particles on a drifting sample, disturbed truth"),
    "micro": ("slow", "micro", "Slow particles, segmented by LISA-micro"),
}
"""Kind of video -> motion, detections, title."""


def say(text: str) -> None:
    """Tell how far the run is."""
    print(text, file=sys.stderr, flush=True)


class Part:
    """The results of one part while it runs: rows, and what was skipped."""

    def __init__(self, cores: int, without: list[str]):
        self.cores = cores
        self.without = without
        self.skipped: dict[str, str] = {}

    def run(self, name: str, step: str, /, **settings: Any) -> dict[str, Any] | None:
        """Run a step for a peer; ``None`` if it cannot run, which is told and recorded."""
        if name in self.without:
            found: dict[str, Any] = {"skipped": "Left out of this run by --without."}
        else:
            found = alone(step, settings, self.cores)
        if "skipped" in found:
            self.skipped[name] = found["skipped"]
            say(f"{name} is left out: {found['skipped']}")
            return None
        return found


def images(part: Part, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Segment the pictures of all sources with all methods, and score what they find."""
    chosen: dict[str, dict] = {}
    rows: dict[str, dict] = {}
    for source in pictures.SOURCES:
        count = args.images if source == "emps" else args.scenes
        made = {}
        for name, choosing, number in (("training", True, args.training), ("scored", False, count)):
            folder = str(work / f"{source}-{name}")
            made[name] = part.run(
                source, "prepare", folder=folder, source=source, choosing=choosing, count=number, data=args.data
            )
        if made["training"] is None or made["scored"] is None:
            continue
        chosen[source], rows[source] = {}, {}
        for method, entry in segmenting.METHODS.items():
            here = str(work / f"{source}-{method}")
            setting = None
            if entry.grid:
                best = part.run(method, "choose", method=method, pictures=made["training"]["pictures"], work=here)
                if best is None:
                    continue
                chosen[source][method] = {key: best[key] for key in ("setting", "ap", "tried")}
                setting = best["setting"]
            scored = made["scored"]["pictures"]
            found = part.run(method, "segment", method=method, pictures=scored, setting=setting, work=here)
            if found is None:
                continue
            truths = {one["name"]: one["truth"] for one in scored}
            scores = [
                score(
                    one["name"],
                    np.load(one["labels"]),
                    np.load(truths[one["name"]]),
                    one["diameters"],
                    one["seconds"],
                    one["processor_s"],
                )
                for one in found["found"]
            ]
            rows[source][method] = {**summary(scores), "peak_gb": found["peak_gb"]}
            say(f"{source}, {method}: TP / (TP + FP + FN) {rows[source][method]['ap']:.3f}")
    return {"rows": rows, "chosen": chosen}


def time_networks(part: Part, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measure the networks in turn, several rounds, so that slow moments of the machine meet all of them."""
    rows: dict[str, dict] = {}
    for number in range(args.rounds):
        for name in networks.NETWORKS:
            if name in part.skipped:
                continue
            found = part.run(name, "network", name=name, repeats=args.repeats, cores=part.cores)
            if found is None:
                continue
            row = rows.setdefault(name, {"times": {}, "peak_gb": 0.0, "parameters": found.get("parameters")})
            row["peak_gb"] = max(row["peak_gb"], found["peak_gb"])
            for what, seconds in found["times"].items():
                row["times"].setdefault(what, []).extend(seconds)
            say(f"round {number + 1}, {name}: {found['times']}")
    return {"rows": rows}


def track_videos(part: Part, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Link the detections of all videos with all trackers."""
    kinds: dict[str, dict] = {}
    for kind, (motion, by, title) in KINDS.items():
        folders: dict[str, list[str]] = {"scored": [], "choosing": []}
        about: list[dict] = []
        number = args.videos if by == "truth" else 1
        for use, seed in (("scored", videos.FIRST_SEED), ("choosing", videos.CHOOSING_SEED)):
            for k in range(number if use == "scored" else 1):
                folder = str(work / f"{kind}-{use}-{k}")
                made = part.run(title, "detect", folder=folder, motion=motion, seed=seed + k, frames=args.frames, by=by)
                if made is None:
                    continue
                folders[use].append(folder)
                if use == "scored":
                    about.append(made)
        if not all(folders.values()):
            continue
        entry: dict[str, Any] = {
            "title": title,
            "videos": len(about),
            "frames": args.frames,
            "detections": float(np.mean([one["detections"] for one in about])),
            "coalescences": sum(one["coalescences"] for one in about),
            "chosen": {},
            "rows": {},
        }
        for name in trackers.TRACKERS:
            if name in part.skipped:
                continue
            best = part.run(name, "choose_tracker", name=name, folders=folders["choosing"])
            if best is None:
                continue
            setting = best.get("setting", {})
            entry["chosen"][name] = {key: best[key] for key in ("setting", "hota", "tried") if key in best}
            runs = [part.run(name, "track", name=name, folder=one, setting=setting) for one in folders["scored"]]
            done = [run for run in runs if run is not None]
            if done:
                entry["rows"][name] = mean_scores(done)
                say(f"{kind}, {name}: HOTA {entry['rows'][name]['hota']:.3f}")
        kinds[kind] = entry
    return {"kinds": kinds}


def mean_scores(runs: list[dict[str, float]]) -> dict[str, float]:
    """Means over videos; switches are summed, and the peak memory is the largest."""
    means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    means["switches"] = float(sum(run["switches"] for run in runs))
    means["peak_gb"] = max(run["peak_gb"] for run in runs)
    return means


def machine(args: argparse.Namespace, load: tuple[float, float]) -> dict[str, Any]:
    """What a part ran on."""
    from importlib.metadata import PackageNotFoundError, version

    from lisa_micro.evaluate.provenance import commit, hardware
    from lisa_micro.extras import release

    versions = {"Python": sys.version.split()[0]}
    for name in ("numpy", "scikit-image", "torch", "laptrack", "trackpy", "cellpose"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    seeds = (
        f"scenes from {pictures.FIRST_SEED}, for choosing from {pictures.CHOOSING_SEED}; videos from "
        f"{videos.FIRST_SEED}, for choosing from {videos.CHOOSING_SEED}; networks' micrograph {networks.SEED}"
    )
    return {
        "hardware": hardware(),
        "load": load,
        "commit": commit(),
        "release": release(),
        "versions": versions,
        "seeds": seeds,
        "remark": args.remark,
        "arguments": {key: str(value) for key, value in vars(args).items() if key not in NOT_TOLD},
    }


def limit_cores(wanted: int) -> int:
    """Keep to the first cores that this process may use; returns their number."""
    if not hasattr(os, "sched_setaffinity"):
        return wanted
    cores = sorted(os.sched_getaffinity(0))[:wanted]
    os.sched_setaffinity(0, cores)
    return len(cores)


def main() -> None:
    """Parse the arguments and run all parts, or one step of them with ``--step``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--images", type=int, default=0, help="EMPS images that are scored; 0: all 60")
    parser.add_argument("--scenes", type=int, default=40, help="simulated scenes that are scored")
    parser.add_argument("--training", type=int, default=12, help="images of each source to choose settings on")
    parser.add_argument("--rounds", type=int, default=3, help="of the networks")
    parser.add_argument("--repeats", type=int, default=3, help="of each network in a round, after one not counted")
    parser.add_argument("--videos", type=int, default=3, help="of each kind with disturbed truth")
    parser.add_argument("--frames", type=int, default=60, help="of a video")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave a peer out, by its key")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--data", default=os.environ.get("LISA_MICRO_DATA"), help="folder that holds emps")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for peers.json and peers.md")
    parser.add_argument("--work", type=Path, help="folder to keep pictures, labels and tracks in")
    parser.add_argument("--remark", default="", help="a sentence about the machine, for the record")
    parser.add_argument("--tables", action="store_true", help="only write the tables again")
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        serve_step(STEPS, args.step)
        return
    from competitors.report import markdown, write_pages

    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "peers.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    cores = limit_cores(args.cores)
    runners = {"images": images, "networks": time_networks, "trackers": track_videos}
    for name in () if args.tables else args.part or PARTS:
        part, before = Part(cores, args.without), os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as temporary:
            found = runners[name](part, args, args.work or Path(temporary))
        results[name] = {**found, "skipped": part.skipped, "machine": machine(args, (before, os.getloadavg()[0]))}
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_pages(results, args.out / "peers.md", PAGE if args.out == HERE else None)
    print(markdown(results))


if __name__ == "__main__":
    main()
