"""Convert a table of sentences with the columns ``image``, ``mask``, ``sentence`` and, optionally, ``concept``."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.bounds import shown
from lisa_micro.datasets.custom_concepts import ConceptMap, concept_map
from lisa_micro.datasets.derive import from_semantic
from lisa_micro.datasets.formats.detect import COLUMNS, Images, delimiter_of, sentence_files
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, answered, part_of, same_size
from lisa_micro.datasets.readers import LABEL_FOLDERS
from lisa_micro.datasets.records import SEG, Target
from lisa_micro.io import read_label_image
from lisa_micro.types import InputError, Micrograph


@dataclass(frozen=True)
class Row:
    """One line: the request, the mask file of what it refers to (None: the image shows none), and its concept."""

    where: str
    sentence: str
    mask: Path | None
    concept: str


def from_sentences(source: Path, given: Mapping[str, str]) -> Found:
    """Find images with sentences; every line of the table becomes one conversation.

    Paths are relative to the table's folder, to ``images/`` or to a folder of masks in it. A line without a mask, or
    with an empty mask, requests something that the image does not show. Where a concept is named, the mask must show
    all of it; two masks of one concept in one image are an error.

    Args:
        source: the CSV file, or its folder. given: the table's concept -> concept, see
            :func:`~lisa_micro.datasets.custom_concepts.concept_map`.

    Raises:
        InputError: no table with these columns, or a name that cannot be a concept.
    """
    tables = sentence_files(source)
    if not tables:
        raise InputError(f"{source} has no CSV file with the columns {', '.join(COLUMNS)}")
    root = source if source.is_dir() else source.parent
    images = Images(root)
    faults: list[str] = []
    rows: dict[Path, list[Row]] = {}
    for table in tables:
        for where, cells in _lines(table, faults):
            try:
                image, row = _row(table, where, cells, images)
                rows.setdefault(image, []).append(row)
            except InputError as error:
                faults.append(f"{where}: {error}")
    if not rows and not faults:
        raise InputError(f"{tables[0]} has no line below its column names")
    names = dict.fromkeys(row.concept for of_image in rows.values() for row in of_image if row.concept)
    named = concept_map(names, given)
    drafts = [
        Draft(image, said[0].where, partial(_load, tuple(said), named), part=part_of(image, root))
        for image, said in rows.items()
    ]
    return Found(tuple(drafts), named.custom, tuple(faults), named.notes)


def _lines(table: Path, faults: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place (file and line), and the cells by lower-case column name."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{table}: it cannot be read as UTF-8 text ({error})")
        return
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=delimiter_of(lines[0]))
    header = [name.strip().lower() for name in next(reader)]
    while True:
        first = reader.line_num + 1  # a sentence in quotes may run over several lines
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.append(f"{table} line {first}: {error}")
            return
        if len(cells) > len(header):
            faults.append(f"{table} line {first}: {len(cells)} cells for {len(header)} columns; quote the sentence")
        elif any(cell.strip() for cell in cells):
            yield f"{table} line {first}", dict(zip(header, (cell.strip() for cell in cells), strict=False))


def _row(table: Path, where: str, cells: dict[str, str], images: Images) -> tuple[Path, Row]:
    sentence = " ".join(cells.get("sentence", "").split())
    if not sentence:
        raise InputError("there is no sentence")
    if SEG in sentence:
        raise InputError(f"{SEG} belongs into the reply, not into the sentence")
    image = images.find(cells.get("image", ""), table.parent)
    name, mask = cells.get("mask", ""), None
    if name:
        places = [table.parent, *(table.parent / folder for folder in LABEL_FOLDERS)]
        mask = next((place / name for place in places if os.path.isfile(place / name)), None)
        if mask is None:
            raise InputError(f"there is no mask {shown(name)}")
    return image, Row(where, sentence, mask, cells.get("concept", ""))


def _load(rows: tuple[Row, ...], named: ConceptMap, image: Micrograph) -> Content:
    faults: list[str] = []
    files: dict[str, Path] = {}
    read: dict[Path, tuple[np.ndarray, bool]] = {}
    masks: dict[str, np.ndarray] = {}
    said = []
    for row in rows:
        concept = named.concepts.get(row.concept)
        try:
            if row.mask is not None and row.mask not in read:
                found = read_label_image(row.mask)
                read[row.mask] = same_size(row.mask.name, found.image.pixels, image), found.is_mask
            there = row.mask is not None and bool(read[row.mask][0].any())
            if concept and row.mask and files.setdefault(concept, row.mask) != row.mask:
                raise InputError(f"{concept} has the mask {files[concept].name} already; leave the concept out")
        except InputError as error:
            faults.append(f"{row.where}: {error}")
            continue
        target = Target(concept=concept) if concept else Target(mask=str(row.mask))
        said.append((answered(row.sentence, concept, there, named.custom, target),))
        if row.mask is not None and there and concept is None:
            labels, is_mask = read[row.mask]
            masks[str(row.mask)] = labels > 0 if is_mask else labels
    if faults:
        raise Faults("these sentences cannot be used", faults)
    drawn = {concept: read[path] for concept, path in files.items()}
    particles, semantic = drawn.pop("particle", (None, False))
    pieces = {c: from_semantic(labels)["particle"] if mask else labels for c, (labels, mask) in drawn.items()}
    return Content(particles, semantic, pieces, tuple(said), masks)
