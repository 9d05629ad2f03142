"""Edge correction: large particles are cut by the frame more often than small ones.

Particles that touch the frame are left out, and each of the others counts as often as it takes to make up for those
left out (Miles 1974; Lantuejoul 1980; ISO 13322-1, 8.3): 1 / probability that a particle of its box lies wholly inside
the frame. On a pixel grid, a box of w x h px has (W - 1 - w) (H - 1 - h) places in a frame of W x H px at which it does
not touch the border.
"""

from __future__ import annotations

import numpy as np

from lisa_micro.types import InputError


def edge_weights(
    widths: np.ndarray, heights: np.ndarray, touches: np.ndarray, frame_widths: np.ndarray, frame_heights: np.ndarray
) -> np.ndarray:
    """Weights that make whole particles stand for those that the frame cuts.

    Means, percentiles and number densities with these weights are unbiased for particles that are placed at random,
    as long as none is larger than the frame.

    Parameters
    ----------
    widths, heights
        ``(n,)`` px, of the box of each particle.
    touches
        ``(n,)`` bool: whether it touches the frame.
    frame_widths, frame_heights
        ``(n,)`` px, of the frame of each particle.

    Returns
    -------
    numpy.ndarray
        ``(n,)``: 0 for a particle that touches the frame, otherwise at least 1.

    Raises
    ------
    InputError
        A box that does not fit into its frame although the particle does not touch it.

    Examples
    --------
    >>> edge_weights(np.array([49, 9]), np.array([49, 9]), np.array([False, True]), np.full(2, 100), np.full(2, 100))
    array([4., 0.])
    """
    whole = ~np.asarray(touches, bool)
    across = np.asarray(frame_widths, float) - 1 - np.asarray(widths, float)
    down = np.asarray(frame_heights, float) - 1 - np.asarray(heights, float)
    if ((across <= 0) | (down <= 0))[whole].any():
        raise InputError("A particle that does not touch the frame has a box as large as the frame.")
    places = np.where(whole, across * down, 1.0)
    area = np.asarray(frame_widths, float) * np.asarray(frame_heights, float)
    return np.where(whole, area / places, 0.0)
