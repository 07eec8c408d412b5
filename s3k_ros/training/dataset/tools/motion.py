"""Whether a place in an image moved, stayed, or cannot be seen, between two images of one camera.

A patch around the place is looked for in the other image by normalised correlation, which a change
of brightness or contrast does not touch. Where the patch has too little texture to tell, it grows.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

# What `grey` smooths by, and what it makes of independent noise: the standard deviation of a step
# between neighbours of the difference of two images, in multiples of that in one image.
_SMOOTHING_PX = 0.8
_STEP_STD = float(np.sqrt(4.0 * (1.0 - np.exp(-0.25 / _SMOOTHING_PX**2))))

Array = npt.NDArray[np.float64]
Grey = npt.NDArray[np.float32]


class Seen(enum.Enum):
    """What a patch shows in the other image."""

    SAME = "same"
    MOVED = "moved"
    UNKNOWN = "unknown"
    """Hidden, changed, moved out of reach, or without texture."""


@dataclass(frozen=True)
class Settings:
    """How places are compared; lengths are shares of the image's width.

    Attributes:
        tolerance: a shift up to this is none; at least ``min_tolerance_px``.
        radius: half the side of the smallest patch, and ``max_radius`` of the largest.
        reach: how far a patch is looked for.
        match: least correlation of a patch that is found again.
        gain: by how much a place must correlate better than the old one does, and than it did
            before, to count as motion.
        distinct: a patch tells motion when its correlation with itself, shifted by twice the
            tolerance in any direction, is at most this.
        contrast: least standard deviation of a patch in multiples of the noise.
    """

    tolerance: float = 0.003
    min_tolerance_px: float = 1.5
    radius: float = 0.025
    max_radius: float = 0.05
    min_radius_px: int = 8
    reach: float = 0.12
    match: float = 0.8
    gain: float = 0.02
    distinct: float = 0.97
    contrast: float = 3.0

    def tolerance_px(self, width: int) -> float:
        """Largest shift, px, that is none in an image of this width."""
        return max(self.min_tolerance_px, self.tolerance * width)


DEFAULTS = Settings()


def grey(image: npt.NDArray[np.uint8]) -> Grey:
    """A BGR image as it is compared: grey, a little smoothed, float32."""
    light = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), _SMOOTHING_PX), np.float32)


def noise(first: Grey, second: Grey) -> float:
    """Standard deviation of the noise in each of two images, grey levels, at least 0.5.

    From the median step between neighbours of the difference, so neither what moved nor a change of
    light counts.
    """
    difference = first - second
    steps = np.abs(difference[:, 1:] - difference[:, :-1])
    return max(0.5, float(np.median(steps)) * 1.4826 / _STEP_STD)


def compare(
    before: Grey, after: Grey, place: Array, noise_level: float, settings: Settings = DEFAULTS
) -> Seen:
    """What became of a place (2,) px of ``before`` in ``after``, images of one size."""
    return locate(before, after, place, noise_level, settings)[0]


def locate(
    before: Grey, after: Grey, place: Array, noise_level: float, settings: Settings = DEFAULTS
) -> tuple[Seen, Array]:
    """As ``compare``, with the shift (2,) px at which the patch was found; NaN: nowhere."""
    nowhere = np.full(2, np.nan)
    width = before.shape[1]
    tolerance = settings.tolerance_px(width)
    patch, corner = _telling_patch(before, place, noise_level, settings)
    if patch is None:
        return Seen.UNKNOWN, nowhere
    reach = int(np.ceil(max(settings.reach * width, 3 * tolerance)))
    scores, (x, y) = _scores(patch, after, corner, reach)
    known, _ = _scores(patch, before, corner, reach)
    rows, columns = np.indices(scores.shape)
    near = np.hypot(rows - y, columns - x) <= tolerance
    here = float(scores[near].max())
    # Something alike that was there before has not come from here.
    arrived = np.where(near | (scores - known <= settings.gain), -1.0, scores)
    best = np.unravel_index(int(np.argmax(arrived)), arrived.shape)
    if arrived[best] >= settings.match and arrived[best] - here > settings.gain:
        return Seen.MOVED, np.array([best[1] - x, best[0] - y], float)
    if here < settings.match:
        return Seen.UNKNOWN, nowhere
    best = np.unravel_index(int(np.argmax(np.where(near, scores, -1.0))), scores.shape)
    return Seen.SAME, np.array([best[1] - x, best[0] - y], float)


def _telling_patch(
    image: Grey, place: Array, noise_level: float, settings: Settings
) -> tuple[Grey | None, tuple[int, int]]:
    """The smallest patch around a place that would show a shift, with its upper left corner."""
    height, width = image.shape
    u, v = (round(float(value)) for value in place)
    if not (0 <= u < width and 0 <= v < height):
        return None, (0, 0)
    radius = max(settings.min_radius_px, round(settings.radius * width))
    largest = max(radius, round(settings.max_radius * width))
    step = int(np.ceil(2 * settings.tolerance_px(width)))
    while radius <= largest:
        left, top = max(0, u - radius), max(0, v - radius)
        patch = image[top : v + radius + 1, left : u + radius + 1]
        if patch.std() >= settings.contrast * noise_level:
            ring = _self_correlation(image, patch, (left, top), step)
            if ring <= settings.distinct:
                return patch, (left, top)
        radius = radius + max(2, radius // 3)
    return None, (0, 0)


def _self_correlation(image: Grey, patch: Grey, corner: tuple[int, int], step: int) -> float:
    """Largest correlation of a patch with the image ``step`` px away, in any direction."""
    scores, (x, y) = _scores(patch, image, corner, step)
    rows, columns = np.indices(scores.shape)
    away = np.hypot(rows - y, columns - x)
    return float(scores[np.abs(away - step) <= 0.75].max(initial=-1.0))


def _scores(
    patch: Grey, image: Grey, corner: tuple[int, int], reach: int
) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """Correlations of a patch with an image around its place, and the index (x, y) of no shift."""
    left, top = max(0, corner[0] - reach), max(0, corner[1] - reach)
    right = min(image.shape[1], corner[0] + patch.shape[1] + reach)
    bottom = min(image.shape[0], corner[1] + patch.shape[0] + reach)
    scores = cv2.matchTemplate(image[top:bottom, left:right], patch, cv2.TM_CCOEFF_NORMED)
    return np.nan_to_num(np.asarray(scores)), (corner[0] - left, corner[1] - top)
