"""Whether a GPU, or fp16, finds what the CPU finds in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT_PX = 0.1
"""Largest distance of a confident keypoint, full-resolution px."""
CONFIDENT = 0.5
"""Keypoints as sure as this, on both, are compared."""
_SETS = 5


class Keypoints(Protocol):
    """What is compared of a view: pixels (K, 2) and confidences (K,)."""

    @property
    def pixels(self) -> Array:
        """(K, 2) u, v, px."""

    @property
    def confidences(self) -> Array:
        """(K,) probabilities."""


def distances(views: Sequence[Keypoints], expected: Sequence[Keypoints]) -> Array:
    """Distances, px, of all keypoints that both find confidently."""
    found = [np.zeros(0)]
    for view, other in zip(views, expected, strict=True):
        sure = np.minimum(view.confidences, other.confidences) >= CONFIDENT
        found.append(np.linalg.norm(view.pixels - other.pixels, axis=-1)[sure])
    return np.concatenate(found)


class ParityCheck:
    """Compares the first sets that show something, then no more.

    A file holds no images on which its keypoints would be sure, so a model is judged by what it
    sees first.

    Attributes:
        fault: what is wrong; empty as long as nothing is.
        largest_px: largest distance so far.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.largest_px = 0.0
        self._left = _SETS

    def wants(self, views: Sequence[Keypoints]) -> bool:
        """Whether this set shall be compared."""
        return self._left > 0 and any((view.confidences >= CONFIDENT).any() for view in views)

    def compare(self, views: Sequence[Keypoints], expected: Sequence[Keypoints]) -> None:
        """One set, of both; a keypoint that only one of them is sure of is not compared."""
        apart = distances(views, expected)
        if not apart.size:
            return
        self._left -= 1
        self.largest_px = max(self.largest_px, float(apart.max()))
        if not self.largest_px <= LIMIT_PX:
            self.fault = (
                f"a keypoint is {self.largest_px:.2g} px from that of the CPU in fp32, allowed: "
                f"{LIMIT_PX}"
            )
