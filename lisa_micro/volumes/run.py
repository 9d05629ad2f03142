"""A request about a stack: every slice is segmented, and the slices are linked into 3-D instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lisa_micro.execution import Instances
from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.io import LabelStack, LabelStackWriter
from lisa_micro.io.lazy import Plane, Stack, read_stack
from lisa_micro.io.lazy.opening import StackLike
from lisa_micro.language import DEFAULT_VOCABULARY, Vocabulary
from lisa_micro.language.program import parse_program
from lisa_micro.protocols import Assistant, FrameDetector, Progress, TilingMode
from lisa_micro.types import InputError
from lisa_micro.volumes.detect import SliceDetector, slice_detector
from lisa_micro.volumes.dividing import divided
from lisa_micro.volumes.measures import VolumeMeasures, sphere_diameter, with_units
from lisa_micro.volumes.sections import WAIST, SliceLinker
from lisa_micro.volumes.volume import Slices, Volume, paint

COMPACT = ("particle", "satellite", "core", "precipitate")
"""Concepts whose objects have no waist, so that one tells where two of them meet."""


@dataclass(frozen=True)
class VolumeOptions:
    """How slices are chosen and linked.

    Attributes:
        page: place along axes other than z, such as ``"t=3"``.
        channel: name or number.
        gap: number of slices in which an object may be missed.
        waist: see :data:`lisa_micro.volumes.sections.WAIST`; 0: objects are not divided; ``None``: chosen by the
            concept.
        least_slices: objects in fewer slices are left out.
        tiling: how large slices are segmented, see :class:`lisa_micro.protocols.TilingMode`.
        scratch: folder for label files; ``None``: the system's folder for temporary files.
    """

    page: str | None = None
    channel: int | str | None = None
    gap: int = 1
    waist: float | None = None
    least_slices: int = 2
    tiling: TilingMode | str = TilingMode.AUTO
    scratch: Path | None = None


def segment_volume(
    assistant: Assistant,
    stack: StackLike,
    words: str,
    options: VolumeOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Volume:
    """Segment every slice of a stack and link the slices into 3-D instances.

    The words are read once. A condition, such as "the largest three" or "larger than 20 nm", is applied to the 3-D
    instances: their size is the diameter of the sphere of the same volume.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        stack: from :func:`lisa_micro.read_stack`, which also takes pixel size and distance of slices; or its source.
        words: the request.
        options: how slices are chosen and linked.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        the volume. One slice is in memory at a time; labels are in a temporary file until they are saved.

    Raises:
        InputError: an empty request, a stack of a single slice, a damaged slice, or an option out of range.
    """
    how, opened = options or VolumeOptions(), read_stack(stack)
    planes = opened.slices(how.page, how.channel)
    detector = slice_detector(assistant, words, how.tiling)
    folder = TemporaryDirectory(prefix=".lisa-micro-volume-", dir=how.scratch)
    linker, temporary = SliceLinker(how.gap), Path(folder.name)
    found = _detected(detector, planes, progress)
    sections: Slices = _stored(found, temporary / "sections.tif")
    concept = detector.state.concept
    waist = (WAIST if concept in COMPACT else None) if how.waist is None else how.waist or None
    if waist is not None:
        forwards = _stored(divided(_each(sections)), temporary / "forwards.tif")
        backwards = _stored(divided(_each(_Backwards(forwards))), temporary / "backwards.tif")
        sections = _Backwards(backwards)
    for labels in _each(sections):
        linker.add(labels)
    links = linker.finish(waist, how.least_slices)
    measures = VolumeMeasures(links.count)
    path = temporary / "objects.tif"
    _stored(measures.watch(paint(links, sections)), path)
    properties, notes = measures.finish(), list(detector.state.notes)
    keep, more = _selected(assistant, detector, properties, opened, planes[0].shape)
    notes += more
    if not keep.all():
        path = _renumbered(LabelStack(path), keep, Path(folder.name) / "selected.tif")
        properties = {name: values[keep] for name, values in properties.items()}
        properties["label"] = np.arange(1, int(keep.sum()) + 1)
    if opened.pixel_size_nm is None:
        notes.append("The pixel size is unknown, so volumes are in voxels; give it (--pixel-size NM).")
    elif opened.step_nm is None:
        notes.append("The distance of the slices is unknown, so volumes are in voxels; give it (--step NM).")
    volume = Volume(
        slices=LabelStack(path),
        properties=properties,
        shape=(len(planes), *planes[0].shape),
        pixel_size_nm=opened.pixel_size_nm,
        step_nm=opened.step_nm,
        concept=concept,
        notes=tuple(dict.fromkeys((*opened.notes, *notes))),
        planes=tuple(planes),
        folder=folder,
        record={
            "prompt": words,
            "raw": detector.state.raw,
            "where": detector.state.where,
            "source": opened.source,
            "pixel_size_origin": opened.pixel_size_origin,
            "place": dict(zip(planes[0].layout.axes, planes[0].place, strict=True)),
            "gap": how.gap,
            "waist": waist,
            "least_slices": how.least_slices,
            "preset": assistant.preset,
            "weights_sha256": assistant.weights_sha256,
        },
    )
    return replace(volume, text=_text(volume, detector))


class _Backwards:
    """Slices in reverse order."""

    def __init__(self, slices: Slices):
        self._slices = slices

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, k: int) -> np.ndarray:
        return self._slices[len(self._slices) - 1 - k]


def _each(slices: Slices) -> Iterator[np.ndarray]:
    return (slices[k] for k in range(len(slices)))


def _detected(detector: FrameDetector, planes: Sequence[Plane], progress: Progress | None) -> Iterator[np.ndarray]:
    for number, plane in enumerate(planes):
        yield detector.detect(plane.micrograph(), number).labels
        if progress:
            progress("Segmenting slices", number + 1, len(planes))


def _stored(slices: Iterable[np.ndarray], path: Path) -> LabelStack:
    with LabelStackWriter(path) as writer:
        for labels in slices:
            writer.append(labels)
    return LabelStack(path)


def _renumbered(labels: LabelStack, keep: np.ndarray, path: Path) -> Path:
    """Write the objects that are kept, numbered 1..n."""
    numbers = np.zeros(len(keep) + 1, np.int32)
    numbers[1:][keep] = np.arange(1, int(keep.sum()) + 1)
    _stored((numbers[one] for one in labels), path)
    return path


class _Objects:
    """3-D instances for the conditions of a request. It is a :class:`lisa_micro.execution.Measures`.

    Their diameter is that of the sphere of the same volume in px, their area that of its largest section.
    """

    def __init__(self, concept: str, properties: dict[str, np.ndarray], stack: Stack, shape: tuple[int, int]):
        import pandas as pd

        self.shape, self.pixel_size_nm, self._concept = shape, stack.pixel_size_nm, concept
        table = with_units(properties, stack.pixel_size_nm, stack.step_nm)
        if "diameter_nm" in table and stack.pixel_size_nm is not None:
            diameter = table["diameter_nm"] / stack.pixel_size_nm
        else:
            diameter = sphere_diameter(properties["voxels"])
        names = ("label", "x", "y", "x0", "y0", "x1", "y1", "touches_border")
        columns = {name: properties[name] for name in names}
        self._table = pd.DataFrame(columns | {"diameter": diameter, "area": np.pi / 4 * diameter**2})

    def instances_of(self, concept: str) -> Instances:
        """All 3-D instances; none of another concept."""
        return Instances(self._table if concept == self._concept else self._table.iloc[:0])


def _selected(
    assistant: Assistant,
    detector: FrameDetector,
    properties: dict[str, np.ndarray],
    stack: Stack,
    shape: tuple[int, int],
) -> tuple[np.ndarray, list[str]]:
    """``(n,)`` bool: the 3-D instances that fulfil the condition of the request, and notes."""
    everything = np.ones(len(properties["label"]), bool)
    if not isinstance(detector, SliceDetector) or not detector.understood:
        return everything, []
    vocabulary: Vocabulary = detector.assistant.engine.vocabulary
    targets = parse_program(detector.state.raw, vocabulary).targets
    if not targets or not targets[detector.target].pipeline:
        return everything, []
    concept = detector.state.concept
    executor = Executor(_Objects(concept, properties, stack, shape), targets, vocabulary)
    try:
        keep = executor.keep(concept, targets[detector.target].pipeline)
    except Impossible as error:
        return everything, [f"The condition was not applied to the volume: {error}."]
    return keep, executor.notes


def _text(volume: Volume, detector: FrameDetector) -> str:
    """What was found, in words."""
    if isinstance(detector, SliceDetector) and not detector.understood:
        return detector.state.reply or "Found nothing in the stack."
    if not volume.count:
        return f"Found no {_plural(volume.concept)} in the stack."
    table = volume.table()
    unit = "nm3" if "volume_nm3" in table else "voxels"
    volumes = table[f"volume_{unit}"].to_numpy(float)
    noun = _plural(volume.concept) if volume.count > 1 else volume.concept.replace("_", " ")
    text = f"Found {volume.count} {noun} in {volume.shape[0]} slices; "
    text += f"mean volume {volumes.mean():.4g} {unit}, median {np.median(volumes):.4g} {unit}"
    if "diameter_nm" in table:
        text += f", mean diameter {table['diameter_nm'].mean():.4g} nm (sphere of the same volume)"
    cut = int(table["touches_border"].sum())
    return f"{text}; {cut} cut by the border of the stack." if cut else f"{text}."


def _plural(concept: str) -> str:
    return DEFAULT_VOCABULARY.nouns(concept)[1] if concept in DEFAULT_VOCABULARY.names else f"{concept}s"


def check_volume(planes: Sequence[Plane]) -> None:
    """Check that slices can be segmented, before a model is loaded.

    Raises:
        InputError: a slice above the limit of micrographs in memory.
    """
    from lisa_micro.io.arrays import MAX_SIDE

    if max(planes[0].shape) > MAX_SIDE:
        height, width = planes[0].shape
        raise InputError(f"Slices of {width} x {height} px are above the limit of {MAX_SIDE} px for volumes; bin them.")
