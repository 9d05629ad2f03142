"""Files with one strange value each, read in a process whose memory and processor time are bounded.

Run as a script (``python strange_values.py FOLDER``) it reads the file of each kind in ``FOLDER/KIND`` once for each of
its leaves and each of :data:`STRANGE`, and writes one JSON line per reading: what was changed, and the error, if any.
"""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

MEMORY = 2**30
"""Bytes that a reading may take beyond what the imports take."""
SECONDS = 5.0
"""Processor time that a reading may take."""
LONGEST = 500
"""Characters of an error message, beyond the path of its file."""


def nested(depth: int) -> list:
    """Lists within lists."""
    content: list = []
    for _ in range(depth):
        content = [content]
    return content


STRANGE: tuple[object, ...] = (
    None,
    True,
    "",
    "x",
    -1,
    0,
    1,
    0.5,
    1e308,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    "a" * 10_000,
    nested(200),
)


def leaves(content: Any, way: tuple = ()) -> Iterator[tuple]:
    """Paths to all values in a JSON content that are neither lists nor dictionaries."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from leaves(value, (*way, key))
    else:
        yield way


def changed(content: Any, way: tuple, value: object) -> Any:
    """A copy of a JSON content with another value at one place."""
    content = copy.deepcopy(content)
    inner = content
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = copy.deepcopy(value)
    return content


def read_converted(folder: Path, out: Path) -> None:
    """Convert a source and check the result."""
    from lisa_micro.datasets.preparation.checking import check_folder
    from lisa_micro.datasets.preparation.converting import Choices, convert

    kind = "coco" if (folder / "coco.json").is_file() else (folder / "kind.txt").read_text()
    convert(folder, out, Choices(kind=kind, conversations=0, validation=0), force=True)
    assert not check_folder(out).faults


def read_coco_examples(folder: Path, out: Path) -> None:
    """Read a COCO file as particles."""
    from lisa_micro.datasets.formats.coco import read_coco

    for example in read_coco(folder / "coco.json"):
        assert example.labels.shape == example.micrograph.shape


def read_record_set(folder: Path, out: Path) -> None:
    """Read a record file, its images, labels and targets."""
    from lisa_micro.datasets.preparation.checking import check_folder
    from lisa_micro.datasets.readers import read_record_folder
    from lisa_micro.datasets.records import read_records
    from lisa_micro.types import InputError

    read_records(folder)
    for fault in check_folder(folder).faults:
        raise InputError(str(fault))
    for example in read_record_folder(folder):
        for turn in example.turns:
            for target in turn.targets:
                assert example.target_labels(target).shape == example.micrograph.shape


def read_concepts(folder: Path, out: Path) -> None:
    """Read ``dataset.yaml``."""
    from lisa_micro.datasets.custom_concepts import read_vocabulary

    read_vocabulary(folder)


def read_corrections(folder: Path, out: Path) -> None:
    """Replay a correction log on the labels beside it."""
    import tifffile

    from lisa_micro.correction.replay import read_log, replay, replay_log
    from lisa_micro.types import InputError

    labels = tifffile.imread(folder / "labels.tif").astype("int32")
    log = read_log(folder / "log.json")
    with contextlib.suppress(InputError):
        replay(labels, log.actions)  # even if the log was made for other labels
    replay_log(labels, log, "log.json")


def read_box_file(folder: Path, out: Path) -> None:
    """Read a file of boxes for ``lisa-micro compare``."""
    from lisa_micro.evaluate.comparison.boxes import read_boxes
    from lisa_micro.geometry import check_boxes
    from lisa_micro.types import InputError

    boxes = read_boxes(folder / "boxes.json")
    try:
        check_boxes(boxes, (24, 32))
    except InputError as error:
        raise InputError(f"boxes.json: {error}") from error


READERS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "coco": ("coco.json", read_converted),
    "coco particles": ("coco.json", read_coco_examples),
    "labelme": ("one.json", read_converted),
    "reasonseg": ("one.json", read_converted),
    "records": ("metadata.jsonl", read_record_set),
    "concepts": ("dataset.yaml", read_concepts),
    "corrections": ("log.json", read_corrections),
    "boxes": ("boxes.json", read_box_file),
}
"""Kind -> name of its file, and what reads the folder that holds it."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Bound memory (:data:`MEMORY` more than now) and processor time (:data:`SECONDS`) of this process for a while.

    Raises:
        MemoryError, TimeoutError: the limit is reached.
    """

    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGVTALRM, too_long)
    size = Path("/proc/self/statm")
    if size.exists():  # Linux
        pages = int(size.read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, previous)


def error_of(read: Callable[[Path, Path], None], folder: Path, out: Path) -> str | None:
    """The message of a reading, None where nothing is wrong.

    Raises:
        Exception: another error than :class:`~lisa_micro.types.InputError`, or too much memory or time.
    """
    from lisa_micro.types import InputError

    with bounded():
        try:
            read(folder, out)
        except InputError as error:
            return str(error)
    return None


def write_content(file: Path, content: Any) -> None:
    """Write a content as JSON, or as YAML where the file is called so."""
    if file.suffix == ".yaml":
        file.write_text(yaml.safe_dump(content, default_flow_style=None))
    else:
        file.write_text(json.dumps(content) + "\n")


def import_readers() -> None:
    """Import everything that the readings need, since imports do not count."""
    import lisa_micro.correction.replay
    import lisa_micro.datasets.formats.coco
    import lisa_micro.datasets.preparation.checking
    import lisa_micro.datasets.preparation.converting
    import lisa_micro.evaluate.comparison.boxes  # noqa: F401


def main(folder: Path) -> None:
    """Read the file of every kind with every leaf set to every strange value."""
    import_readers()
    for kind in READERS:
        vary(folder / kind, kind)


def vary(folder: Path, kind: str) -> None:
    """Read the file of one kind with every leaf set to every strange value."""
    name, read = READERS[kind]
    file = folder / name
    good = yaml.safe_load(file.read_text())
    for way in leaves(good):
        for number, value in enumerate(STRANGE):
            write_content(file, changed(good, way, value))
            line = {"kind": kind, "way": list(way), "number": number, "done": False, "said": None, "broke": None}
            print(json.dumps(line), flush=True)  # the last line if the process dies
            try:
                line["said"] = error_of(read, folder, folder.parent / "out")
            except BaseException as error:
                line["broke"] = f"{type(error).__name__}: {error}"[:300]
            print(json.dumps(line | {"done": True}), flush=True)
    write_content(file, good)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
