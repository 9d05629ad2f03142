"""Summarise the report of a check in lines of text and in pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.preparation.checking import Report
from lisa_micro.datasets.readers import Example, record_example
from lisa_micro.datasets.records import Record
from lisa_micro.io import read_plain
from lisa_micro.viz import draw_overlay

PICTURES = 8
"""Number of records that are drawn."""
PICTURE_NAMES = "record-*.png"
_WIDE = 110


def summary(report: Report) -> list[str]:
    """Summarise a data set in lines: records, images, concepts, conversations."""
    images = sum(report.sizes.values())
    parts = ", ".join(f"{n} {part or 'without a part'}" for part, n in sorted(report.parts.items(), key=_part_order))
    lines = [f"{'records':16}{sum(report.parts.values())} ({parts or 'none'})", f"{'images':16}{images}"]
    if images:
        lines.append(f"{'sizes':16}{_sizes(report)}")
        lines.append(f"{'pixel sizes':16}{_pixel_sizes(report)}")
        lines.append(f"{'modalities':16}" + ", ".join(f"{m} ({n})" for m, n in report.modalities.most_common()))
    for concept, count in report.instances.items():
        custom = ", custom concept" if concept in report.custom_concepts else ""
        what = "connected regions" if concept in report.masked else "instances"
        what = what if count != 1 else what.removesuffix("s")
        lines.append(f"{concept:16}{count} {what} in {report.images_with[concept]} images{custom}")
    lines.append(f"{'conversations':16}{report.conversations} with {report.turns} turns")
    targets = ", ".join(f"{name} ({n})" for name, n in report.targets.most_common())
    lines.append(f"{'targets':16}{sum(report.targets.values())}" + (f": {targets}" if targets else ""))
    return lines


def _part_order(entry: tuple[str, int]) -> int:
    return ("train", "validation", "test", "").index(entry[0])


def _sizes(report: Report) -> str:
    if len(report.sizes) <= 3:
        return ", ".join(f"{w} x {h} px ({n})" for (h, w), n in report.sizes.most_common())
    sides = np.array(list(report.sizes))
    (h0, w0), (h1, w1) = sides.min(0), sides.max(0)
    return f"{w0} to {w1} px wide, {h0} to {h1} px high"


def _pixel_sizes(report: Report) -> str:
    known = sorted(nm for nm in report.pixel_sizes if nm is not None)
    unknown = report.pixel_sizes[None]
    if not known:
        return "unknown"
    if len(known) <= 3:
        text = ", ".join(f"{nm:g} nm ({report.pixel_sizes[nm]})" for nm in known)
    else:
        text = f"{known[0]:g} to {known[-1]:g} nm"
    return text + (f", unknown ({unknown})" if unknown else "")


def chosen_lines(report: Report, most: int = PICTURES) -> list[int]:
    """Choose the lines to draw: the first of every concept and part, then others spread over the set."""
    faulty = {finding.where for finding in report.faults}
    base = report.folder if report.folder.is_dir() else report.folder.parent
    usable: list[int] = []
    kinds: dict[tuple[str, str], int] = {}
    for k, (file, number, part, record) in enumerate(report.lines):
        if f"{file.relative_to(base)} line {number}" in faulty:
            continue
        usable.append(k)
        asked = {t.concept or "mask" for turn in record.conversations for t in turn.targets} or {""}
        for concept in asked:
            kinds.setdefault((part, concept), k)
    first = list(dict.fromkeys(kinds.values()))
    spread = [usable[round(x)] for x in np.linspace(0, len(usable) - 1, min(most, len(usable)))]
    return sorted(list(dict.fromkeys([*first, *spread]))[:most])


def pictures(report: Report, most: int = PICTURES) -> dict[str, Callable[[Path], None]]:
    """File names of pictures of some records, and functions that write them: the image with the targets marked, and the
    conversation below."""
    several = len({file for file, *_ in report.lines}) > 1
    writers: dict[str, Callable[[Path], None]] = {}
    for k in chosen_lines(report, most):
        file, number, part, record = report.lines[k]
        name = f"record-{f'{file.parent.name}-' if several else ''}{number:05}.png"
        writers[name] = partial(_draw, file.parent, record, f"line {number}, {part or 'no part'}")
    return writers


def _draw(folder: Path, record: Record, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    micrograph = read_plain(folder / record.file_name, record.pixel_size_nm)
    example = record_example(folder, record, micrograph)
    shown, names = _segments(example)
    picture = draw_overlay(example.micrograph.pixels, shown, example.micrograph.pixel_size_nm, names)
    lines = _conversation(example)
    height = min(8 * picture.shape[0] / picture.shape[1], 12)  # inches; a tall image is shown narrower
    below = 0.24 * (len(lines) + 1)
    figure = Figure(figsize=(8, height + below + 0.4))
    axes = figure.add_axes((0, below / (height + below + 0.4), 1, height / (height + below + 0.4)))
    axes.imshow(picture)
    axes.set_axis_off()
    figure.text(0.01, 1 - 0.3 / (height + below + 0.4), f"{example.name}: {title}", fontsize=10, parse_math=False)
    for k, (line, bold) in enumerate(lines):
        y = (below - 0.24 * (k + 1)) / (height + below + 0.4)
        figure.text(0.01, y, line, fontsize=9, weight="bold" if bold else "normal", parse_math=False)
    figure.savefig(path, dpi=110, format="png")


def _segments(example: Example) -> tuple[list[np.ndarray], list[str]]:
    """Labels and names of the targets of a conversation, each once; all labels if it has no target."""
    found: dict[str, np.ndarray] = {}
    for number, turn in enumerate(example.turns, start=1):
        for place, target in enumerate(turn.targets, start=1):
            name = target.concept or f"turn {number}, [SEG] {place}"
            found.setdefault(name, example.target_labels(target))
    if not found:
        drawn = dict(example.concept_labels)
        found = drawn if example.labels is None else {"particle": example.labels, **drawn}
    if not found:
        return [np.zeros(example.micrograph.shape, np.int32)], [""]
    return list(found.values()), list(found)


def _conversation(example: Example) -> list[tuple[str, bool]]:
    lines: list[tuple[str, bool]] = []
    for turn in example.turns:
        lines += [(line, True) for line in _wrapped(f"User: {turn.user}")]
        lines += [(line, False) for line in _wrapped(f"Assistant: {turn.assistant}")]
    return lines or [("no conversation", False)]


def _wrapped(text: str) -> Sequence[str]:
    return textwrap.wrap(text, _WIDE, subsequent_indent="    ", max_lines=4) or [""]
