"""Tables of the comparison as Markdown: a file of results, and the tables within the page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from competitors.networks import NETWORKS
from competitors.processes import middle
from competitors.segmenting import METHODS
from competitors.trackers import TRACKERS

SOURCE_NAMES = {"emps": "EMPS, validation part", "simulated": "simulated scenes"}
REFERENCE = "sam-vit-b"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def images_table(part: dict[str, Any]) -> str:
    """Accuracy, time and memory of the methods on micrographs, one table for each source."""
    head = ["method", "mask IoU", "TP / (TP + FP + FN)", "precision", "recall", "mean diameter: error (bias)"]
    head += ["within 10 %", "count: error (bias)", "s an image", "processor s an image"]
    head += ["peak memory, GB"]
    pieces = []
    for source, rows in part["rows"].items():
        if not rows:
            continue
        cells = [
            [
                METHODS[name].title,
                f"{row['iou']:.3f}",
                f"{row['ap']:.3f} ({row['ap_low']:.3f} to {row['ap_high']:.3f})",
                f"{row['precision']:.3f}",
                f"{row['recall']:.3f}",
                f"{row['diameter_error']:.1%} ({row['diameter_bias']:+.1%})".replace("%", " %"),
                f"{row['diameter_within_10']:.0%}".replace("%", " %"),
                f"{row['count_error']:.0%} ({row['count_bias']:+.0%})".replace("%", " %"),
                f"{row['seconds']:.3f}",
                "-" if row["processor_s"] is None else f"{row['processor_s']:.3f}",
                f"{row['peak_gb']:.2f}",
            ]
            for name, row in rows.items()
        ]
        first = next(iter(rows.values()))
        title = f"**{SOURCE_NAMES[source]}**: {first['images']} images, {first['particles']} particles"
        pieces.append(f"{title}\n\n{table(head, cells)}")
    return "\n\n".join(pieces)


def settings_table(part: dict[str, Any]) -> str:
    """The settings that were chosen, and on how many images."""
    rows = [
        [
            METHODS[name].title,
            SOURCE_NAMES[source],
            ", ".join(f"{key} {value}" for key, value in chosen["setting"].items()),
            str(chosen["tried"]),
            f"{chosen['ap']:.3f}",
        ]
        for source, methods in part["chosen"].items()
        for name, chosen in methods.items()
    ]
    return table(["method", "for", "setting", "tried", "TP / (TP + FP + FN) on training images"], rows)


def networks_table(part: dict[str, Any]) -> str:
    """Times and memory of the networks, and the ratios of SAM ViT-B's encoder in the same run to them."""
    reference = [middle(one) for one in split(part["rows"].get(REFERENCE, {}).get("times", {}).get("encode", []))]
    rows = []
    for name, row in part["rows"].items():
        for what, times in row["times"].items():
            wall, worked = split(times)
            ratios = [f"{whole / middle(one):.1f}" for whole, one in zip(reference, (wall, worked), strict=True)]
            if what == "one box" or REFERENCE not in part["rows"]:
                ratios = ["", ""]
            rows.append(
                [
                    NETWORKS[name][0],
                    {"encode": "the image"}.get(what, what),
                    f"{middle(wall):.3f} ({min(wall):.3f} to {max(wall):.3f})",
                    f"{middle(worked):.3f} ({min(worked):.3f} to {max(worked):.3f})",
                    str(len(times)),
                    *ratios,
                    f"{row['peak_gb']:.2f}",
                ]
            )
    head = [
        "network",
        "what",
        "s (range)",
        "processor s (range)",
        "times",
        "SAM ViT-B's encoder / this",
        "processor time",
    ]
    return table([*head, "peak memory, GB"], rows)


def split(times: list[list[float]]) -> tuple[list[float], list[float]]:
    """Wall times, and processor times."""
    return [wall for wall, _ in times], [worked for _, worked in times]


def trackers_table(part: dict[str, Any]) -> str:
    """Scores of the trackers, one table for each kind of video."""
    head = ["tracker", "HOTA", "IDF1", "TRA", "identity switches", "coalescences, F1", "ms a frame"]
    head += ["processor ms a frame", "peak memory, GB"]
    pieces = []
    for kind in part["kinds"].values():
        cells = []
        for name, row in kind["rows"].items():
            scores = [f"{row[key]:.3f}" for key in ("hota", "idf1", "tra")]
            cells.append(
                [
                    TRACKERS[name].title,
                    *scores,
                    f"{row['switches']:.0f}",
                    f"{row['merge_f1']:.2f}",
                    f"{1000 * row['seconds']:.1f}",
                    f"{1000 * row['processor_s']:.1f}",
                    f"{row['peak_gb']:.2f}",
                ]
            )
        about = f"**{kind['title']}**: {kind['videos']} videos of {kind['frames']} frames, {kind['detections']:.0f} "
        about += f"detections a frame, {kind['coalescences']} true coalescences"
        pieces.append(f"{about}\n\n{table(head, cells)}")
    return "\n\n".join(pieces)


def tracker_settings_table(part: dict[str, Any]) -> str:
    """The settings of the trackers."""
    rows = [
        [
            TRACKERS[name].title,
            kind["title"],
            ", ".join(f"{key} {value:g}" for key, value in chosen["setting"].items()),
            str(chosen["tried"]),
            f"{chosen['hota']:.3f}",
        ]
        for kind in part["kinds"].values()
        for name, chosen in kind["chosen"].items()
        if chosen
    ]
    return table(["tracker", "for", "setting", "tried", "HOTA on other videos"], rows)


def machine_text(part: dict[str, Any]) -> str:
    """Machine, load, versions and seeds of a part, and what was skipped."""
    machine = part["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    lines = [
        f"- {machine['hardware']}; load average {machine['load'][0]:.1f} at the beginning and {machine['load'][1]:.1f} "
        f"at the end. {machine['remark']}".rstrip(),
        f"- Commit {machine['commit'] or 'unknown'}; LISA-micro {machine['release'] or 'not installed'}; {versions}.",
        f"- Seeds: {machine['seeds']}.",
    ]
    return "\n".join([*lines, *(f"- Skipped: {name}. {reason}" for name, reason in part["skipped"].items())])


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "images": ("images", images_table),
    "settings": ("images", settings_table),
    "images machine": ("images", machine_text),
    "networks": ("networks", networks_table),
    "networks machine": ("networks", machine_text),
    "trackers": ("trackers", trackers_table),
    "tracker settings": ("trackers", tracker_settings_table),
    "trackers machine": ("trackers", machine_text),
}
"""Name of a table -> the part of the results that it shows, and what writes it."""

MARKED = re.compile(r"(<!-- table: ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def fill(page: str, results: dict[str, Any]) -> str:
    """Put the tables into a page, between ``<!-- table: NAME -->`` and ``<!-- end -->``. Of a part without results, the
    page tells how to get them.

    Raises:
        KeyError: the page asks for a table that does not exist.
    """

    def filled(match: re.Match[str]) -> str:
        part, write = TABLES[match[2]]
        if part in results:
            return f"{match[1]}\n{write(results[part])}\n\n{match[4]}"
        missing = f"Not measured yet: `python benchmarks/peers.py --part {part}` writes the table here."
        return f"{match[1]}\n{missing}\n\n{match[4]}" if match[2] == part else f"{match[1]}{match[4]}"

    return MARKED.sub(filled, page)


def markdown(results: dict[str, Any]) -> str:
    """The file of results."""
    titles = {"images": "Micrographs", "networks": "Networks", "trackers": "Trackers"}
    pieces = ["# LISA-micro beside other tools", "`python benchmarks/peers.py`; what it means is in `docs/peers.md`."]
    for part, title in titles.items():
        if part in results:
            pieces.append(f"## {title}")
            pieces += [write(results[part]) for one, write in TABLES.values() if one == part]
    return "\n\n".join(pieces) + "\n"


def write_pages(results: dict[str, Any], file: Path, page: Path | None) -> None:
    """Write the file of results, and the tables of a page if there is one."""
    file.write_text(markdown(results), encoding="utf-8")
    if page is not None and page.is_file():
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")
