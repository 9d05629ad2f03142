"""Merge folders of records, such as the app writes of corrected answers, into one data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.custom_concepts import FILE_NAME as CONCEPT_FILE
from lisa_micro.datasets.custom_concepts import custom_concept, read_vocabulary
from lisa_micro.datasets.formats.detect import record_folders
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found, same_size
from lisa_micro.datasets.readers import read_concept_labels
from lisa_micro.datasets.records import DERIVED, FILE_NAME, Record, Turn, file_faults, parse_line
from lisa_micro.io import read_label_image
from lisa_micro.language import Concept
from lisa_micro.types import InputError, Micrograph


def from_corrections(source: Path, given: Mapping[str, str]) -> Found:
    """Find the records of a folder and of folders up to two levels below.

    Records with the same image, labels and conversations are taken once. Custom concepts come from the ``dataset.yaml``
    of each folder.

    Args:
        source: the folder. given: must be empty, since records name their concepts already.

    Raises:
        InputError: no record, ``given`` not empty, a broken ``dataset.yaml``, or a concept with different nouns in two
            folders.
    """
    if given:
        raise InputError("--concept is for labels of other programs; these records name their concepts already")
    folders = record_folders(source)
    if not folders:
        raise InputError(f"{source} holds no {FILE_NAME}")
    custom: dict[str, Concept] = {}
    faults: list[str] = []
    places: dict[tuple, list[tuple[str, Record]]] = {}
    seen: dict[str, str] = {}
    twice = 0
    for folder in folders:
        for concept in read_vocabulary(folder).own:
            if custom.setdefault(concept.name, concept) != concept:
                raise InputError(
                    f"{folder / CONCEPT_FILE} has other nouns for {concept.name} than another folder; make them agree"
                )
        with (folder / FILE_NAME).open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                where = f"{folder / FILE_NAME} line {number}"
                record, errors = parse_line(raw)
                errors = errors or ([] if record is None else file_faults(record, folder))
                faults += [f"{where}: {error}" for error in errors]
                if record is None or errors:
                    continue
                mark = _fingerprint(record, folder)
                if seen.setdefault(mark, where) != where:
                    twice += 1
                    continue
                marks = (record.labels, *sorted(record.concept_labels.items()))
                places.setdefault((folder, record.file_name, marks), []).append((where, record))
    for records in places.values():
        for name in records[0][1].concept_labels:
            if name not in DERIVED and name not in custom:
                custom[name] = custom_concept(name)
    drafts = []
    for (folder, name, _), records in places.items():
        where, first = records[0]
        draft = Draft(
            folder / name,
            where,
            partial(_load, folder, tuple(records)),
            pixel_size_nm=first.pixel_size_nm,
            modality=first.modality,
            source=first.source,
            part=first.split,
        )
        drafts.append(draft)
    notes = (f"records that occur twice, left out once: {twice}",) if twice else ()
    return Found(tuple(drafts), custom, tuple(faults), notes, derive=False)


def _fingerprint(record: Record, folder: Path) -> str:
    """A hash that is equal for records with the same content, whatever their files are called."""
    plain = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in record.files}
    fields = record.model_dump(mode="json", exclude={"source", "split"})
    fields["file_name"], fields["labels"] = plain[record.file_name], plain.get(record.labels or "")
    fields["concept_labels"] = {k: plain[v] for k, v in record.concept_labels.items()}
    for turn in fields["conversations"]:
        for target in turn["targets"]:
            target["mask"] = plain.get(target["mask"] or "")
    return hashlib.sha256(repr(fields).encode()).hexdigest()


def _load(folder: Path, records: tuple[tuple[str, Record], ...], image: Micrograph) -> Content:
    first = records[0][1]
    particles, semantic = None, False
    if first.labels is not None:
        found = read_label_image(folder / first.labels)
        particles, semantic = found.image.pixels, found.is_mask
        same_size(first.labels, particles, image)
    drawn = {name: read_concept_labels(folder / path, image.shape) for name, path in first.concept_labels.items()}
    masks: dict[str, np.ndarray] = {}
    faults: list[str] = []
    said: list[tuple[Turn, ...]] = []
    for where, record in records:
        try:
            for name in {t.mask for turn in record.conversations for t in turn.targets if t.mask}:
                found = read_label_image(folder / name)
                labels = same_size(name, found.image.pixels, image)
                masks[name] = labels > 0 if found.is_mask else labels
        except InputError as error:
            faults.append(f"{where}: {error}")
        if record.conversations:
            said.append(record.conversations)
    if faults:
        raise Faults("these records cannot be used", faults)
    return Content(particles, semantic, drawn, tuple(said), masks)
