"""How well scale bars and data bars are read: simulated pictures with and without them, and real ones read by eye.

    python benchmarks/scale_bars.py --pictures 500 --without 200 --out scale_bars.json

What is read of the simulated pictures is kept beside the report (``scale_bars.jsonl``); the same command continues from
there, and a changed reader needs another ``--out``. ``--first`` chooses other pictures, such as some whose failures may
be looked at before the reader is changed. A pixel size is right within 2 % of the one that the bar states, wrong
beyond, and otherwise not given. Real pictures are used where ``LISA_MICRO_DATA`` names the folder of data sets
(``scalebars`` and ``emps``); what those of EMPS show was read by eye (``scale_bars_emps.csv``: file, length in nm, ends
of the bar in px).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from lisa_micro.io import read_micrograph
from lisa_micro.io.formats.pictures import read_picture
from lisa_micro.io.scalebar.banner import find_covered, grey_levels
from lisa_micro.io.scalebar.reading import Reading, read_scale_bar
from lisa_micro.io.scalebar.text import TextReader, text_reader
from lisa_micro.results.summary import summarise_segments
from lisa_micro.sim.burnt_in import simulate_burnt_in

TOLERANCE = 0.02
AREA_TOLERANCE = 0.01
FIRST_SEED = 700_000
BY_EYE = Path(__file__).with_name("scale_bars_emps.csv")
ReadBar = dict[str, float]


def verdict(reading: Reading, truth_nm: float | None) -> str:
    """``right``, ``wrong``, ``none`` or, where there is nothing to read, ``invented``."""
    if reading.scale is None:
        return "none"
    if truth_nm is None:
        return "invented"
    return "right" if abs(reading.scale.pixel_size_nm / truth_nm - 1) <= TOLERANCE else "wrong"


Row = dict[str, object]


def simulated(seeds: range, reader: TextReader, deadline: float, journal: Path) -> dict[str, object]:
    """Simulated pictures with a bar; those in the journal are not read again.

    Args:
        seeds: one for each picture. deadline: of ``time.monotonic()``, after which no picture is begun.
        journal: JSON Lines, one picture each, to which what is read is appended.
    """
    rows: dict[int, Row] = {}
    if journal.is_file():
        rows = {int(row["seed"]): row for row in map(json.loads, journal.read_text().splitlines())}
    for seed in seeds:
        if time.monotonic() > deadline:
            break
        if seed not in rows:
            rows[seed] = _row(seed, reader)
            with journal.open("a") as file:
                file.write(json.dumps(rows[seed]) + "\n")
    return _summary([rows[seed] for seed in seeds if seed in rows])


def _row(seed: int, reader: TextReader) -> Row:
    """What is drawn in a simulated picture, and what was read."""
    picture = simulate_burnt_in(seed)
    start = time.process_time()
    grey = grey_levels(picture.pixels)
    field = find_covered(grey).field
    reading = read_scale_bar(grey, reader)
    seconds = time.process_time() - start
    there, found = picture.field[3] < picture.pixels.shape[0], field[3] < picture.pixels.shape[0]
    scale = reading.scale
    return {
        "seed": seed, "style": picture.style, "text": picture.text, "letter px": round(picture.letter_px, 1),
        "font": picture.font, "ends": list(picture.ends), "result": verdict(reading, picture.pixel_size_nm),
        "read": None if scale is None else [scale.text, scale.x0, scale.x1], "notes": list(reading.notes),
        "banner": "found" if there and found else "missed" if there else "claimed" if found else "none",
        "seconds": round(seconds, 3),
    }  # fmt: skip


def _summary(rows: list[Row]) -> dict[str, object]:
    styles: dict[str, Counter[str]] = {}
    for row in rows:
        styles.setdefault(str(row["style"]), Counter())[str(row["result"])] += 1
    return {
        "results": Counter(str(row["result"]) for row in rows),
        "styles": styles,
        "wrong": [row for row in rows if row["result"] == "wrong"],
        "not read": [row["seed"] for row in rows if row["result"] == "none"],
        "banners": Counter(str(row["banner"]) for row in rows),
        "CPU seconds, median and 90 %": _spread([float(str(row["seconds"])) for row in rows]),
    }


def without(count: int, reader: TextReader, deadline: float) -> dict[str, object]:
    """Pictures without a bar: simulated ones, and those of the sintering film."""
    total, seconds, claimed = Counter(), [], 0
    folder = _data("tem-sintering")
    files = sorted((folder / "images").glob("*.png")) if folder else []
    for k in range(count):
        if time.monotonic() > deadline:
            break
        pixels = read_picture(files[k], 0).pixels if k < len(files) else _bare(k)
        start = time.process_time()
        grey = grey_levels(pixels)
        claimed += find_covered(grey).field[3] < grey.shape[0]
        reading = read_scale_bar(grey, reader)
        seconds.append(time.process_time() - start)
        total[verdict(reading, None)] += 1
    return {
        "results": total,
        "banners claimed": claimed,
        "CPU seconds, median and 90 %": _spread(seconds),
    }


def _spread(seconds: list[float]) -> list[float]:
    return np.percentile(seconds, (50, 90)).round(3).tolist() if seconds else []


def _bare(k: int) -> np.ndarray:
    return simulate_burnt_in(FIRST_SEED + 100_000 + k, bar=False, banner=False).pixels


def real(reader: TextReader) -> dict[str, object]:
    """The four SEM pictures with a known pixel size, and those of EMPS that were read by eye."""
    out: dict[str, object] = {}
    folder = _data("scalebars")
    if folder:
        truth = {row["name"]: float(row["nm_per_px"]) for row in csv.DictReader((folder / "truth.csv").open())}
        found = Counter(verdict(_read(folder / name, reader), nm) for name, nm in truth.items())
        out["scalebars"] = found
    folder = _data("emps")
    if folder and BY_EYE.is_file():
        rows = list(csv.DictReader(BY_EYE.open()))
        found, details = Counter(), []
        for row in rows:
            nm = float(row["length_nm"]) / (float(row["x1"]) - float(row["x0"]))
            reading = _read(folder / "images" / row["name"], reader)
            result = verdict(reading, nm)
            found[result] += 1
            if result != "right":
                scale = reading.scale
                read = None if scale is None else [scale.text, scale.x0, scale.x1]
                details.append([row["name"], result, row["length_nm"], row["x0"], row["x1"], read])
        out["emps"], out["emps not right"] = found, details
    return out


def areas(count: int) -> dict[str, object]:
    """Area fractions of the particles of pictures with a data bar against those of the same pictures cut by hand."""
    from lisa_micro import load_assistant

    assistant = load_assistant("micro")
    differences, skipped = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(FIRST_SEED + 200_000, FIRST_SEED + 200_000 + count):
            picture = simulate_burnt_in(seed, bar=False, banner=True)
            fractions = []
            for name, pixels in (("whole", picture.pixels), ("cut", picture.pixels[: picture.field[3]])):
                path = Path(folder) / f"{name}.png"
                Image.fromarray(pixels).save(path)
                answer = assistant.ask(read_micrograph(path), "segment all particles")
                fractions.append(summarise_segments(answer.segments)[0].area_fraction if answer.segments else 0.0)
            if fractions[1] == 0:  # no particles in this picture
                skipped += fractions[0] == 0
                differences += [] if fractions[0] == 0 else [1.0]
            else:
                differences.append(abs(fractions[0] / fractions[1] - 1))
    within = int(np.count_nonzero(np.array(differences) <= AREA_TOLERANCE))
    return {"within 1 %": within, "of": len(differences), "without particles": skipped,
            "largest difference": max(differences, default=0.0)}  # fmt: skip


def _read(path: Path, reader: TextReader) -> Reading:
    return read_scale_bar(grey_levels(read_picture(path, 0).pixels), reader)


def _data(name: str) -> Path | None:
    root = os.environ.get("LISA_MICRO_DATA")
    folder = Path(root) / name if root else None
    return folder if folder is not None and folder.is_dir() else None


def main() -> None:
    """Run all parts and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500, help="simulated pictures with a bar")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first simulated picture")
    parser.add_argument("--without", type=int, default=200, help="pictures without a bar")
    parser.add_argument(
        "--areas", type=int, default=0, help="pictures with a data bar whose area fractions are compared"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="stop each part after this time")
    parser.add_argument("--out", type=Path, default=Path("scale_bars.json"))
    options = parser.parse_args()
    reader = text_reader()
    if reader is None:
        raise SystemExit('Reading scale bars needs rapidocr and onnxruntime; run: pip install "lisa-micro[scalebar]"')
    report: dict[str, object] = {"real": real(reader)}
    report["without"] = without(options.without, reader, time.monotonic() + 60 * options.minutes)
    if options.areas:
        report["areas"] = areas(options.areas)
    journal = options.out.with_suffix(".jsonl")
    seeds = range(options.first, options.first + options.pictures)
    report["simulated"] = simulated(seeds, reader, time.monotonic() + 60 * options.minutes, journal)
    options.out.write_text(json.dumps(report, indent=1, default=list) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
