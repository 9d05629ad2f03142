"""ImageJ's Analyze Particles after an automatic threshold, run by a macro.

ImageJ is a program of its own (public domain; ``apt-get install imagej``). Its commands need a display even if they
show nothing; without one, the virtual display Xvfb is started. One Java process segments all pictures, and its start
is not part of the time of a picture.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from competitors.found import Found
from competitors.pictures import Picture
from competitors.processes import peak_gb
from lisa_micro.types import InputError

JAR = Path(os.environ.get("IMAGEJ_JAR", "/usr/share/java/ij.jar"))
HEAP = "1g"
WARM_UP = 3
"""Times that the first picture is segmented before any time is taken: Java compiles what runs often."""

MACRO = """
setBatchMode(true);
setOption("BlackBackground", true);
run("Set Measurements...", "area redirect=None decimal=3");
rows = split(File.openAsString(getArgument()), "\\n");
File.saveString(getVersion(), File.getParent(getArgument()) + "/version.txt");
for (i = 0; i < rows.length; i++) {
  field = split(rows[i], "\\t");
  open(field[0]);
  run("Set Scale...", "distance=0 known=0 unit=pixel");
  start = parseFloat(call("java.lang.System.nanoTime"));
  run("Gaussian Blur...", "sigma=" + field[3]);
  setAutoThreshold(field[2]);
  run("Convert to Mask");
  if (field[6] == "1") run("Fill Holes");
  if (field[5] == "1") run("Watershed");
  run("Analyze Particles...", "size=" + field[4] + "-Infinity pixel show=[Count Masks] display clear");
  end = parseFloat(call("java.lang.System.nanoTime"));
  saveAs("Tiff", field[1] + ".tif");
  if (nResults > 0) saveAs("Results", field[1] + ".csv");
  File.saveString(d2s((end - start) / 1000000, 3), field[1] + ".ms");
  while (nImages > 0) close();
}
"""
"""Columns of a row: picture, stem of results, threshold, sigma, least area, Watershed or not, Fill Holes or not."""


@dataclass(frozen=True)
class ImageJSetting:
    """Settings of the macro.

    Attributes:
        method: of ``setAutoThreshold``: ``"Default"`` (IsoData), ``"Otsu"`` or ``"Li"``.
        sigma: px, of Gaussian Blur.
        smallest: px^2, of Analyze Particles.
        watershed: whether Watershed separates particles that touch.
        fill: whether Fill Holes fills holes; in a packing of particles these are gaps.
    """

    method: str
    sigma: float
    smallest: int
    watershed: bool
    fill: bool


GRID = [
    ImageJSetting(*one)
    for one in product(("Default", "Otsu", "Li"), (1.0, 3.0), (20, 100), (True, False), (True, False))
]


def segment(jobs: Sequence[tuple[Picture, ImageJSetting]], work: Path) -> Iterator[Found]:
    """Segment each picture with its setting, all in one Java process.

    Args:
        work: folder for the macro and its results, which is created.

    Raises:
        InputError: ImageJ or Java is missing, or the macro fails.
    """
    check_installed()
    work.mkdir(parents=True, exist_ok=True)
    rows = [row(picture, work / str(k), setting) for k, (picture, setting) in enumerate(jobs)]
    rows = [*rows[:1] * WARM_UP, *rows]
    (work / "macro.ijm").write_text(MACRO, encoding="utf-8")
    (work / "pictures.txt").write_text("\n".join(rows), encoding="utf-8")
    peak = run_macro(work / "macro.ijm", work / "pictures.txt")
    for k, (picture, _) in enumerate(jobs):
        areas = np.array(read_areas(work / f"{k}.csv"))
        seconds = float((work / f"{k}.ms").read_text()) / 1000
        diameters = np.sqrt(4 * areas / np.pi).tolist()
        yield Found(picture.name, read_count_mask(work / f"{k}.tif"), diameters, seconds, peak_gb=peak)


def check_installed() -> None:
    """Check that ImageJ can be run.

    Raises:
        InputError: it cannot.
    """
    if shutil.which("java") is None or not JAR.is_file():
        raise InputError(
            f"ImageJ needs java and {JAR}; run: apt-get install imagej, or set IMAGEJ_JAR to the path of ij.jar."
        )
    if not has_display() and shutil.which("Xvfb") is None:
        raise InputError("ImageJ needs a display, and there is none; run: apt-get install xvfb")


def has_display() -> bool:
    """Whether windows could be shown here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY"))


@contextmanager
def display() -> Iterator[dict[str, str]]:
    """The environment with a display: the one there is, or a virtual one that ends with the block."""
    if has_display():
        yield dict(os.environ)
        return
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        yield {**os.environ, "DISPLAY": f":{server.stdout.readline().strip()}"}
    finally:
        server.terminate()
        server.wait()


def row(picture: Picture, stem: Path, setting: ImageJSetting) -> str:
    """One line of the macro's list; a dark background means bright particles."""
    level = f"{setting.method} dark" if picture.bright else setting.method
    separate, fill = int(setting.watershed), int(setting.fill)
    fields = (picture.image, stem, level, f"{setting.sigma:g}", setting.smallest, separate, fill)
    return "\t".join(map(str, fields))


def run_macro(macro: Path, argument: Path) -> float:
    """Run a macro in a new Java process; returns its peak memory in 1e9 bytes.

    Raises:
        InputError: it ends with an error.
    """
    command = ["java", f"-Xmx{HEAP}", "-cp", str(JAR), "ij.ImageJ", "-batch", str(macro), str(argument)]
    log = macro.with_suffix(".log")
    with display() as environment, log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        peak = float("nan")
        while process.poll() is None:
            seen = peak_gb(process.pid)
            peak = seen if np.isfinite(seen) else peak  # the last value before the process is gone
            time.sleep(0.02)
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    if process.returncode or "Exception" in text or "Macro Error" in text:
        raise InputError(f"ImageJ's macro failed: {text.splitlines()[-1] if text else process.returncode}")
    return peak


def read_count_mask(path: Path) -> np.ndarray:
    """``(H, W)`` int32 from the picture that Analyze Particles draws: particle k has the value k."""
    import tifffile

    return tifffile.imread(path).astype(np.int32)


def read_areas(path: Path) -> list[float]:
    """Areas in px^2 from ImageJ's results table, in its order; none if it wrote no table.

    Raises:
        InputError: the table has no column of areas, or a value that is no number.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [float(one["Area"]) for one in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name} is no results table of ImageJ with a column Area.") from error
