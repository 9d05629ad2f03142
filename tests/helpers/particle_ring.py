"""A ring of touching particles, with known labels."""

from __future__ import annotations

import numpy as np


def ring(number=8, size=200, radius=60, particle=25):
    """Particles in a ring, each in contact with its neighbours, around one pore."""
    rows, columns = np.mgrid[:size, :size]
    labels, nearest = np.zeros((size, size), np.int32), np.full((size, size), np.inf)
    for k in range(number):
        angle = 2 * np.pi * k / number
        distance = np.hypot(columns - size / 2 - radius * np.cos(angle), rows - size / 2 - radius * np.sin(angle))
        inside = (distance < particle) & (distance < nearest)
        labels[inside], nearest[inside] = k + 1, distance[inside]
    return labels
