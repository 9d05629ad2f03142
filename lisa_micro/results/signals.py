"""Results on HyperSpy signals: labels as a signal with the same axes, and outlines as markers.

HyperSpy is not imported; a signal is recognised by its interface, see :mod:`lisa_micro.io.memory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from lisa_micro.io.memory import AxesManager, SignalAxis
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.formats.outlines import instance_rings
from lisa_micro.types import InputError
from lisa_micro.viz.overlay import instance_colours


@runtime_checkable
class PlottedSignal(Protocol):
    """What is used of a HyperSpy signal."""

    data: Any
    metadata: Any
    axes_manager: AxesManager

    def deepcopy(self) -> Any:
        """A copy of the signal with its axes and metadata."""


AnySignal = TypeVar("AnySignal")
Result = Answer | Segmentation | np.ndarray | Iterable[np.ndarray]


def labels_signal(signal: AnySignal, result: Result) -> AnySignal:
    """The instances as a signal with the axes and the metadata of the one that was segmented.

    Parameters
    ----------
    signal
        HyperSpy signal of one image, or, for the labels of a video, of a stack with one navigation axis.
    result
        An answer, whose segments are numbered one after another; a segmentation; labels ``(H, W)``; or, for a stack,
        the labels of each frame, such as ``tracks.labels``.

    Returns
    -------
    signal
        Of the same class, with int32 labels, 0 = background, k = instance k.

    Raises
    ------
    InputError
        No signal, or a result of another size.
    """
    known = _checked(signal)
    x, y, frames = _axes(known)
    shape = known.data.shape[y.index_in_array], known.data.shape[x.index_in_array]
    if frames is None:
        labels = np.asarray(_plane(result, shape))
        labels = labels if y.index_in_array < x.index_in_array else labels.T
    else:
        stack = np.stack([np.asarray(frame) for frame in _frames(result)])
        order = [frames.index_in_array, y.index_in_array, x.index_in_array]
        if stack.shape != tuple(known.data.shape[k] for k in order):
            raise InputError(f"The labels have the shape {stack.shape}, the signal {tuple(known.data.shape)}.")
        labels = np.moveaxis(stack, [0, 1, 2], order)
    copy = known.deepcopy()
    copy.data = np.ascontiguousarray(labels, np.int32)
    title = str(known.metadata.get_item("General.title", "") or "")
    copy.metadata.set_item("General.title", f"{title}: {_name(result)}" if title else _name(result))
    return copy


def outline_markers(signal: object, result: Answer | Segmentation | np.ndarray) -> dict[str, Any]:
    """The outlines of the instances, as keyword arguments of ``hyperspy.api.plot.markers.Polygons``.

    ``film.add_marker(hs.plot.markers.Polygons(**lm.outline_markers(film, answer)))`` draws them on the signal's plot.

    Parameters
    ----------
    signal
        HyperSpy signal of one image.
    result
        An answer, a segmentation, or labels ``(H, W)``.

    Returns
    -------
    dict
        ``verts``: the corners of each outline ``(n, 2)``, x and y in the units of the signal's axes, along the edges of
        pixels, holes included; ``edgecolor``: their colours, one for each instance; ``facecolor`` and ``linewidth``.

    Raises
    ------
    InputError
        No signal, a stack, or a result of another size.
    """
    known = _checked(signal)
    x, y, frames = _axes(known)
    if frames is not None:
        raise InputError(
            "Outlines are drawn on a signal of one image; select it first, for example with signal.inav[0]."
        )
    shape = known.data.shape[y.index_in_array], known.data.shape[x.index_in_array]
    labels = np.asarray(_plane(result, shape))
    colours = instance_colours(labels)
    # corner c of a pixel lies half a pixel before its centre, where the axis has its value
    scale = np.array([float(x.scale), float(y.scale)])
    offset = np.array([_offset(x), _offset(y)]) - scale / 2
    verts, edges = [], []
    for label, polygons in instance_rings(labels):
        colour = "#{:02x}{:02x}{:02x}".format(*colours[label])
        for ring in (ring for polygon in polygons for ring in polygon):
            verts.append(offset + scale * np.asarray(ring, float))
            edges.append(colour)
    return {"verts": verts, "edgecolor": edges, "facecolor": "none", "linewidth": 1.5}


def _checked(signal: object) -> PlottedSignal:
    if not isinstance(signal, PlottedSignal):
        raise InputError(f"Results go onto a HyperSpy signal, not {type(signal).__name__}.")
    return signal


def _axes(signal: PlottedSignal) -> tuple[SignalAxis, SignalAxis, SignalAxis | None]:
    """Axes x and y of the image, and that of the frames of a stack.

    Raises:
        InputError: more or fewer axes.
    """
    plane, stack = list(signal.axes_manager.signal_axes), list(signal.axes_manager.navigation_axes)
    if len(plane) != 2 and len(plane) + len(stack) == 2:  # a map of single values, such as a STEM scan
        plane, stack = sorted((*plane, *stack), key=lambda axis: -axis.index_in_array), []
    if len(plane) != 2 or len(stack) > 1:
        raise InputError(
            f"A signal must hold images, not {len(stack)} navigation and {len(plane)} signal dimensions; select one "
            "first, for example with signal.inav[0]."
        )
    return plane[0], plane[1], stack[0] if stack else None


def _offset(axis: object) -> float:
    return float(getattr(axis, "offset", 0.0))


def _plane(result: Result, shape: tuple[int, int]) -> np.ndarray:
    """Labels ``(H, W)`` of a result, of the size of the signal."""
    if isinstance(result, Answer):
        sizes = {np.asarray(segment.labels).shape for segment in result.segments}
        labels = result.labels(shape) if sizes <= {shape} else np.zeros(sizes.pop(), np.int32)
    else:
        labels = np.asarray(result.labels if isinstance(result, Segmentation) else result)
    if labels.shape != shape or labels.dtype.kind not in "biu":
        raise InputError(f"The labels have the shape {labels.shape}, the signal {shape}; they must be alike.")
    return labels.astype(np.int32)


def _frames(result: Result) -> Sequence[np.ndarray]:
    if isinstance(result, Answer | Segmentation):
        raise InputError("The answer is about one image, and the signal is a stack; select its image with signal.inav.")
    return list(result)


def _name(result: Result) -> str:
    """What the labels are, for the title."""
    if isinstance(result, Answer):
        return ", ".join(segment.phrase or segment.concept for segment in result.segments) or "nothing"
    return (result.phrase or result.concept) if isinstance(result, Segmentation) else "labels"
