"""Batches: wall time of the engines, what the driver and the scheduler cost, memory against the number of items.

    python benchmarks/batch.py engines --images 1000      # the preset micro on simulated micrographs of 512 px
    python benchmarks/batch.py driver --items 1000 10000 100000   # a stand-in model: what a run costs besides the model
    python benchmarks/batch.py figure                     # draws docs/images/batch.png from the results

Each run is a process of its own, so that its peak memory is its own; that of the workers is told apart. Results go to
``--out`` (default: ``benchmarks/batch.json``), where later calls replace rows of the same name.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_micro.measure import measure_particles
from lisa_micro.protocols import Capabilities
from lisa_micro.results.answer import Answer, Segmentation

WORDS = "segment all particles"
HERE = Path(__file__).resolve().parent
TARGETS = {"processes, 2 workers / 1 worker": 0.55, "processes, 2 workers / 1 worker of 2 threads": 0.9,
           "dask / processes, 2 workers": 1.10, "serial / bare ask": 1.05}  # fmt: skip


# ------------------------------------------------------------------------------------------------ a stand-in model


class StandIn:
    """Answers with the same squares, whatever the image: what is left is the cost of the run itself."""

    preset, weights_sha256, device = "stand-in", "00" * 32, "cpu"
    capabilities = Capabilities(words=True)

    def __init__(self, instances: int, seconds: float):
        self.seconds = seconds
        labels = np.zeros((64, 64), np.int32)
        for k in range(instances):
            y, x = 3 + 9 * (k // 7), 1 + 9 * (k % 7)
            labels[y : y + 6, x : x + 6] = k + 1
        table = measure_particles(labels)
        segment = Segmentation(labels, 0.9, 0.9, "particle", "particles", "", None, table, target=1)
        self.answer = Answer("Squares.", (segment,) if instances else (), WORDS)

    def open_conversation(self, image: object, tiling: object = "auto", **_: object) -> StandIn:
        return self

    def ask(self, words: str) -> Answer:
        time.sleep(self.seconds)
        return self.answer


@dataclass(frozen=True)
class StandInSource:
    instances: int = 20
    seconds: float = 0.0

    def __call__(self) -> StandIn:
        return StandIn(self.instances, self.seconds)


# ---------------------------------------------------------------------------------------------- one run, alone


def run_one(settings: dict, pipe: object) -> None:
    """Run a batch in this process and send its figures."""
    from lisa_micro.batch import BatchOptions, EngineOptions, PresetSource, run_batch

    source = StandInSource(settings["instances"], settings["seconds"]) if settings["stand_in"] else PresetSource(
        "micro", "cpu"
    )  # fmt: skip
    stages: dict[str, float] = {}
    marks: list[tuple[str, float]] = []
    cpu = [0.0]
    from lisa_micro.batch import Callbacks

    def begin(name: str) -> None:
        marks.append((name, time.perf_counter()))
        if name == "Segmenting":
            cpu[0] = time.process_time()
        elif name == "Collecting the tables":
            cpu[0] = time.process_time() - cpu[0]

    result = run_batch(
        settings["images"],
        WORDS,
        settings["folder"],
        settings["engine"],
        assistant=source,
        options=BatchOptions(
            engine=EngineOptions(workers=settings["workers"], threads=settings["threads"]),
            overlays="none",
            report=settings["report"],
        ),
        callbacks=Callbacks(stage=begin),
    )
    marks.append(("end", time.perf_counter()))
    for (name, start), (_, end) in zip(marks, marks[1:], strict=False):
        stages[name] = round(end - start, 3)
    pipe.send(
        {
            "done": result.counts.done,
            "failed": result.counts.failed,
            "stages_s": stages,
            "segmenting_s": stages["Segmenting"],
            "driver_cpu_s": round(cpu[0], 3),
            "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            "workers": json.loads((Path(settings["folder"]) / "run.json").read_text())["workers"],
        }
    )


def bare_ask(settings: dict, pipe: object) -> None:
    """Read and answer each image in a loop, without writing anything."""
    import torch

    from lisa_micro import load_assistant, read_micrograph

    torch.set_num_threads(settings["threads"])
    assistant = load_assistant("micro", device="cpu")
    paths = sorted(Path(settings["images"]).glob("*.tif"))
    start, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        assistant.open_conversation(read_micrograph(path)).ask(WORDS)
    pipe.send(
        {
            "done": len(paths),
            "segmenting_s": round(time.perf_counter() - start, 3),
            "driver_cpu_s": round(time.process_time() - cpu, 3),
        }
    )


def alone(target: object, settings: dict) -> dict:
    """Run a function in a fresh process and return what it sends."""
    threads = settings.get("threads") or 1
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(settings, theirs))
    process.start()
    theirs.close()
    try:
        figures = ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{settings['name']}: the run ended with code {process.exitcode}.") from None
    process.join()
    return {"name": settings["name"], **figures}


# ------------------------------------------------------------------------------------------------------ what is run


def engines(args: argparse.Namespace) -> list[dict]:
    """The preset ``micro`` on simulated micrographs, with each engine."""
    images = args.work / f"images-{args.images}"
    if not images.is_dir():
        simulate(images, args.images)
    runs = [
        ("bare ask, 1 thread", bare_ask, "", 1, 1),
        ("serial, 1 thread", run_one, "serial", 1, 1),
        ("processes, 1 worker of 1 thread", run_one, "processes", 1, 1),
        ("processes, 2 workers of 1 thread", run_one, "processes", 2, 1),
        ("processes, 1 worker of 2 threads", run_one, "processes", 1, 2),
        ("dask, 2 workers of 1 thread", run_one, "dask", 2, 1),
    ]
    rows = []
    for name, target, engine, workers, threads in runs:
        if args.only and args.only not in name:
            continue
        folder = args.work / name.replace(" ", "_").replace(",", "")
        shutil.rmtree(folder, ignore_errors=True)
        settings = {
            "name": name, "images": str(images), "folder": str(folder), "engine": engine, "workers": workers,
            "threads": threads, "stand_in": False, "report": False,
        }  # fmt: skip
        rows.append(alone(target, settings) | {"items": args.images})
        print(rows[-1], flush=True)
    print_ratios(rows)
    compare_tables(args.work, [row["name"] for row in rows if row["name"] != "bare ask, 1 thread"])
    return rows


def simulate(folder: Path, number: int) -> None:
    """Write simulated micrographs of 512 px with a pixel size."""
    import tifffile

    from lisa_micro.sim import simulate_scene

    folder.mkdir(parents=True)
    for k in range(number):
        scene = simulate_scene(seed=k, shape=(512, 512))
        nm, pixels = scene.pixel_size_nm or 1.0, scene.pixels
        scaled = (255 * (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1e-9)).astype(np.uint8)
        tifffile.imwrite(
            folder / f"film_{k:05}.tif", scaled, imagej=True, resolution=(1 / nm, 1 / nm), metadata={"unit": "nm"}
        )


def print_ratios(rows: list[dict]) -> None:
    """Print the ratios that matter, beside what they should be."""
    seconds = {row["name"]: row["segmenting_s"] for row in rows}
    pairs = {
        "processes, 2 workers / 1 worker": ("processes, 2 workers of 1 thread", "processes, 1 worker of 1 thread"),
        "processes, 2 workers / 1 worker of 2 threads": (
            "processes, 2 workers of 1 thread", "processes, 1 worker of 2 threads",
        ),
        "dask / processes, 2 workers": ("dask, 2 workers of 1 thread", "processes, 2 workers of 1 thread"),
        "serial / bare ask": ("serial, 1 thread", "bare ask, 1 thread"),
    }  # fmt: skip
    for name, (one, other) in pairs.items():
        if one in seconds and other in seconds:
            print(f"{name:48} {seconds[one] / seconds[other]:.3f} (at most {TARGETS[name]})")


def compare_tables(work: Path, names: list[str]) -> None:
    """Print whether the runs with one thread a worker have the same tables, byte for byte."""
    folders = [work / name.replace(" ", "_").replace(",", "") for name in names if "2 threads" not in name]
    for table in ("images.csv", "instances.csv", "instances.parquet", "failed.csv"):
        contents = {(folder / table).read_bytes() for folder in folders}
        print(f"{table:20} {'equal' if len(contents) == 1 else 'DIFFERENT'} in {len(folders)} runs")


def driver(args: argparse.Namespace) -> list[dict]:
    """A stand-in model on many items: throughput, and memory of the driver."""
    rows = []
    for engine in args.engines:
        for number in args.items:
            images = args.work / f"items-{number}"
            if not images.is_dir():
                link_items(images, number)
            name = f"driver, {engine}, {number} items, {args.workers} worker(s)"
            folder = args.work / "driver"
            shutil.rmtree(folder, ignore_errors=True)
            settings = {
                "name": name, "images": str(images), "folder": str(folder), "engine": engine, "workers": args.workers,
                "threads": 1, "stand_in": True, "instances": args.instances, "seconds": args.seconds,
                "report": args.report,
            }  # fmt: skip
            more = {"items": number, "instances": args.instances}
            rows.append(alone(run_one, settings) | more)
            print(rows[-1], flush=True)
    return rows


def link_items(folder: Path, number: int) -> None:
    """Many names of one small picture, 1000 in each folder."""
    from PIL import Image

    folder.mkdir(parents=True)
    picture = folder.parent / "picture.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(picture)
    for k in range(number):
        place = folder / f"{k // 1000:04}"
        if k % 1000 == 0:
            place.mkdir()
        if k % 50_000 == 0:  # file systems bound the number of links of a file
            shutil.copyfile(picture, source := folder.parent / f"picture-{number}-{k}.png")
        os.link(source, place / f"{k:07}.png")


def figure(args: argparse.Namespace) -> None:
    """Draw throughput and memory from the results."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in json.loads(args.out.read_text())["rows"] if row["name"].startswith("driver")]
    made = Figure(figsize=(9, 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(made)
    speed, memory = made.subplots(1, 2)
    for engine in sorted({row["name"].split(", ")[1] for row in rows}):
        mine = sorted((row for row in rows if f", {engine}," in row["name"]), key=lambda row: row["items"])
        items = [row["items"] for row in mine]
        speed.plot(items, [1e3 * row["segmenting_s"] / row["items"] for row in mine], "o-", label=engine)
        memory.plot(items, [row["driver_peak_mb"] for row in mine], "o-", label=engine)
    for axes, title, y in (
        (speed, "Cost of an item besides the model", "ms"),
        (memory, "Peak memory of the driver", "MB"),
    ):
        axes.set_xscale("log")
        axes.set_ylim(0)
        axes.set_xlabel("items")
        axes.set_ylabel(y)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    memory.axhline(500, color="#c0392b", lw=1, ls=":")
    made.savefig(HERE.parent / "docs" / "images" / "batch.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("engines", "driver", "figure"))
    parser.add_argument("--images", type=int, default=1000, help="simulated micrographs for `engines`")
    parser.add_argument("--only", default="", help="runs of `engines` whose name contains this")
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 10_000, 100_000], help="for `driver`")
    parser.add_argument("--engines", nargs="+", default=["processes", "dask"], help="for `driver`")
    parser.add_argument("--workers", type=int, default=1, help="for `driver`")
    parser.add_argument("--instances", type=int, default=20, help="instances of the stand-in, at most 42")
    parser.add_argument("--seconds", type=float, default=0.0, help="that the stand-in takes for an image")
    parser.add_argument("--report", action="store_true", help="with statistics and report")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lisa-micro-batch")
    parser.add_argument("--out", type=Path, default=HERE / "batch.json")
    args = parser.parse_args()
    if args.what == "figure":
        figure(args)
        return
    rows = engines(args) if args.what == "engines" else driver(args)
    from lisa_micro.evaluate.provenance import commit, hardware  # not in the processes that are measured

    known = json.loads(args.out.read_text())["rows"] if args.out.is_file() else []
    kept = [row for row in known if row["name"] not in {one["name"] for one in rows}]
    content = {"commit": commit(), "hardware": hardware(), "rows": [*kept, *rows]}
    args.out.write_text(json.dumps(content, indent=1, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
